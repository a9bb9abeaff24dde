// HookReply.swift — what a program answers: the document's codes, and what belongs to them.
//
//     {"code": "CONT"}                                   every hook; an empty body or 204 says the same
//     {"code": "OK"}                                     queue_outbound, deferred (drop), bounce (no report)
//     {"code": "DENY", "message": "no"}                  queue_outbound (550), get_mx (bounce)
//     {"code": "DENYSOFT", "message": "later"}           queue_outbound (450), get_mx (try later)
//     {"code": "DENYSOFT", "delay": 300}                 deferred
//     {"code": "DELAY", "delay": 300}                    send_email
//     {"code": "OK", "mx": "host:25" | {…} | […]}        get_mx

import Config
import FoundationEssentials
import Hooks
import Mail

/// A parsed answer.
struct HookReply: Decodable, Sendable {
    enum Code: String, Decodable, Sendable {
        case CONT, OK, DENY, DENYSOFT, DENYDISCONNECT, DENYSOFTDISCONNECT, DELAY

        var refuses: Bool { self == .DENY || self == .DENYDISCONNECT }
        var refusesForNow: Bool { self == .DENYSOFT || self == .DENYSOFTDISCONNECT }
    }

    var code: Code
    var message: String?
    /// Seconds.
    var delay: Double?
    var mx: MXValue?
    /// `queue_outbound`: notes to set; null takes one away.
    var notes: [String: NoteValue?]?

    /// Reads a body.
    ///
    /// - Throws: ``HookTrouble`` in words for the log.
    static func read(_ body: [UInt8]) throws(HookTrouble) -> HookReply {
        if body.allSatisfy({ $0 <= 0x20 }) { return HookReply(code: .CONT) }
        do {
            return try JSONDecoder().decode(HookReply.self, from: Data(body))
        } catch {
            throw HookTrouble("the answer is not the JSON that is expected: \(Self.words(error))")
        }
    }

    init(code: Code) { self.code = code }

    private static func words(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return "unreadable" }
        func place(_ context: DecodingError.Context) -> String {
            context.codingPath.map(\.stringValue).joined(separator: ".")
        }
        return switch error {
        case .keyNotFound(let key, _): "\(key.stringValue) is missing"
        case .typeMismatch(_, let context): "\(place(context)) is of another type"
        case .valueNotFound(_, let context): "\(place(context)) is null"
        case .dataCorrupted(let context): "\(place(context)) cannot be read"
        @unknown default: "unreadable"
        }
    }
}

/// Why a program's answer cannot be used, or did not come.
struct HookTrouble: Error, Hashable, Sendable {
    let reason: String
    init(_ reason: String) { self.reason = reason }
}

/// A text, number or truth.
enum NoteValue: Decodable, Sendable {
    case text(String)

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let text = try? container.decode(String.self) {
            self = .text(text)
        } else if let truth = try? container.decode(Bool.self) {
            self = .text(truth ? "true" : "false")
        } else if let number = try? container.decode(Int.self) {
            self = .text(String(number))
        } else {
            self = .text(String(try container.decode(Double.self)))
        }
    }

    var word: String {
        switch self {
        case .text(let text): text
        }
    }
}

/// The hosts of a `get_mx` answer: a string, an object or a list of them.
enum MXValue: Decodable, Sendable {
    /// More are a mistake.
    private static let mostHosts = 100

    case hosts([MX.Written])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard (try? decoder.unkeyedContainer()) != nil else {
            self = .hosts([try container.decode(One.self).written])
            return
        }
        let list = try container.decode([One].self)
        guard list.count <= Self.mostHosts else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "more than 100 hosts")
        }
        self = .hosts(list.map(\.written))
    }

    var written: [MX.Written] {
        switch self {
        case .hosts(let hosts): hosts
        }
    }

    private struct One: Decodable {
        let written: MX.Written

        init(from decoder: any Decoder) throws {
            if let text = try? decoder.singleValueContainer().decode(String.self) {
                written = MX.Written(exchange: text)
                return
            }
            let members = try decoder.singleValueContainer().decode([String: NoteValue?].self)
            guard let exchange = members["exchange"] ?? members["path"] ?? nil else {
                throw DecodingError.keyNotFound(
                    Name("exchange"),
                    DecodingError.Context(codingPath: decoder.codingPath, debugDescription: "")
                )
            }
            var properties: [(name: String, value: String)] = []
            for (name, value) in members.sorted(by: { $0.key < $1.key }) {
                // Where a host comes from is Haraka's business.
                guard name != "exchange", name != "path", name != "from_dns", let value else { continue }
                properties.append((name, value.word))
            }
            written = MX.Written(exchange: exchange.word, properties: properties)
        }
    }

    private struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(_ name: String) { stringValue = name }
        init?(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }
}
