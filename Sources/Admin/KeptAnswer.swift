// KeptAnswer.swift — an answer that was given under an Idempotency-Key: in memory, and as one line of the file.

import JSON
import Mail

/// An answer as it is given again.
struct KeptAnswer: Hashable, Sendable {
    /// Bytes of a body; a larger answer is not kept, and none of ours is.
    static let largest = 64 << 10

    private static let replayed = HeaderField("Idempotency-Replayed", "true")

    let status: Int
    let headers: [HeaderField]
    let body: [UInt8]

    /// What it holds in memory, in bytes, as far as it depends on what was answered.
    var bytes: Int { headers.reduce(body.count) { $0 + $1.name.utf8.count + $1.value.utf8.count + 64 } }

    /// - Returns: nil for what is not kept: a stream, a secret, or a body that is too large or no UTF-8.
    init?(_ response: AdminResponse) {
        guard !response.holdsSecret else { return nil }
        switch response.body {
        case .none: body = []
        case .bytes(let bytes): body = bytes
        case .stream: return nil
        }
        guard body.count <= Self.largest, String(validating: body, as: UTF8.self) != nil else { return nil }
        status = response.status
        headers = response.headers.filter { !$0.name.isSame(octets: Self.replayed.name) }
    }

    /// Reads what ``json`` wrote; an answer is given to a client as it stands here, so that every part must make sense.
    init?(_ value: JSON) {
        guard case .integer(let status)? = value["status"], (200...599).contains(status),
            case .string(let body)? = value["body"], body.utf8.count <= Self.largest,
            case .object(let members)? = value["headers"]
        else { return nil }
        var headers: [HeaderField] = []
        for member in members {
            guard let field = Self.header(member) else { return nil }
            headers.append(field)
        }
        self.status = Int(status)
        self.headers = headers
        self.body = Array(body.utf8)
    }

    private static func header(_ member: JSON.Member) -> HeaderField? {
        guard case .string(let value) = member.value, !member.name.isEmpty,
            member.name.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: ":") }),
            value.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
        else { return nil }
        return HeaderField(member.name, value)
    }

    var json: JSON {
        [
            "status": .count(status), "headers": .object(headers.map { JSON.Member($0.name, .string($0.value)) }),
            "body": .string(String(decoding: body, as: UTF8.self)),
        ]
    }

    /// As it is given the second time.
    var response: AdminResponse {
        AdminResponse(
            status,
            headers: headers + [Self.replayed],
            body: body.isEmpty ? .none : .bytes(body)
        )
    }
}
