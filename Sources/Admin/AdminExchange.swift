// AdminExchange.swift — one request on its connection's thread, from its header to the end of its answer.

import CMicrohttpd
import Mail

/// What is known of a request while it comes in.
///
/// Bound to the connection's thread: the library calls nobody else with it.
final class AdminExchange {
    let connection: UInt64
    let startedAt: Uptime
    let opening: Opening
    let path: String
    let method: String
    private(set) var open: OpenRequest?
    private(set) var problem: Problem?
    /// Bytes of the body taken so far, those thrown away included.
    private(set) var received = 0
    var status = 0

    init(_ opening: Opening, connection: UInt64, head: RequestHead, at now: Uptime) {
        self.opening = opening
        self.connection = connection
        path = head.path
        method = head.method
        startedAt = now
        switch opening.result {
        case .success(let open): self.open = open
        case .failure(let problem): self.problem = problem
        }
    }

    /// Takes a piece of the body.
    ///
    /// What is beyond the limit is thrown away, so that the client hears why.
    /// - Returns: false when so much is beyond that the connection should end.
    func take(_ bytes: UnsafeRawBufferPointer) -> Bool {
        received += bytes.count
        guard let limit = open?.bodyLimit else { return received <= 1 << 20 }
        guard received > limit else {
            open?.request.body.append(contentsOf: bytes)
            return true
        }
        problem = AdminDesk.tooLarge(limit)
        open?.request.body = []
        return received - limit <= 4 << 20
    }
}

/// Reading what the library knows of a request.
enum AdminHead {
    /// The fields of the header or of the query, every copy of each.
    static func fields(_ connection: OpaquePointer, _ kind: MHD_ValueKind) -> [HeaderField] {
        var fields: [HeaderField] = []
        withUnsafeMutablePointer(to: &fields) { list in
            _ = MHD_get_connection_values_n(
                connection,
                kind,
                { context, _, name, nameSize, value, valueSize in
                    let list = context?.assumingMemoryBound(to: [HeaderField].self)
                    list?.pointee.append(HeaderField(AdminHead.text(name, nameSize), AdminHead.text(value, valueSize)))
                    return .YES
                },
                list
            )
        }
        return fields
    }

    /// Bytes that are no UTF-8 become U+FFFD: no name and no value of ours has one.
    fileprivate static func text(_ start: UnsafePointer<CChar>?, _ count: Int) -> String {
        guard let start, count > 0 else { return "" }
        return String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
    }
}
