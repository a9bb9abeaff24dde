// HookReply.swift — what a program answers: the document's codes, and what belongs to them.
//
//     {"code": "CONT"}                                   every hook; an empty body or 204 says the same
//     {"code": "OK"}                                     queue_outbound, deferred (drop), bounce (no report)
//     {"code": "DENY", "message": "no"}                  queue_outbound (550), get_mx (bounce)
//     {"code": "DENYSOFT", "message": "later"}           queue_outbound (450), get_mx (try later)
//     {"code": "CONT", "add_header": {"X-Seen": "yes"}, "remove_header": ["X-Spam"], "change_sender": "a@b.example",
//      "add_recipient": ["c@d.example"], "hold": "why", "tag": "bulk"}            queue_outbound
//     {"code": "DENYSOFT", "delay": 300}                 deferred
//     {"code": "DELAY", "delay": 300}                    send_email
//     {"code": "OK", "mx": "host:25" | {…} | […]}        get_mx

import Config
import HTTPClient
import Hooks
import JSON
import Mail

/// A parsed answer; members that nobody knows are passed over.
struct HookReply: Sendable {
    enum Code: String, Sendable {
        case CONT, OK, DENY, DENYSOFT, DENYDISCONNECT, DENYSOFTDISCONNECT, DELAY

        var refuses: Bool { self == .DENY || self == .DENYDISCONNECT }
        var refusesForNow: Bool { self == .DENYSOFT || self == .DENYSOFTDISCONNECT }
    }

    /// What an answer may hold, whatever its length: 10 000 values, 4 MiB.
    private static let bounds = JSONBounds(values: 10_000, memory: 4 << 20)
    /// More hosts are a mistake.
    private static let mostHosts = 100

    var code: Code
    var message: String?
    /// Seconds.
    var delay: Double?
    /// The hosts of a `get_mx` answer.
    var mx: [MX.Written]?
    /// `queue_outbound`: what it changes.
    var edits = HookEdits()
    /// `queue_outbound`: notes to set; null takes one away.
    var notes: [(name: String, value: String?)] = []

    init(code: Code) { self.code = code }

    /// Reads a body.
    ///
    /// - Throws: ``HookFault`` in words for the log.
    static func read(_ body: [UInt8]) throws(HookFault) -> HookReply {
        if body.allSatisfy({ $0 <= 0x20 }) { return HookReply(code: .CONT) }
        let value: JSON
        do throws(JSONError) {
            value = try JSON(parsing: body, within: bounds)
        } catch {
            throw HookFault("the answer is no JSON: \(error)")
        }
        return try HookReply(ObjectReader(value, at: ""))
    }

    private init(_ object: ObjectReader<HookFault>) throws(HookFault) {
        var object = object
        guard let word = try object.text("code"), let code = Code(rawValue: word) else {
            throw HookFault(object.pointer("code"), "enum", "is missing or no code")
        }
        self.code = code
        message = try object.text("message")
        delay = try object.number("delay")
        mx = try object.take("mx").flatMap { value throws(HookFault) in try Self.hosts(value) }
        edits = try HookEdits(&object)
        guard let notes = try object.object("notes") else { return }
        for (name, value) in notes.rest { self.notes.append((name, try Self.word(value, notes.pointer(name)))) }
    }

    /// A string, an object or a list of them; nil for null.
    private static func hosts(_ value: JSON) throws(HookFault) -> [MX.Written]? {
        if value == .null { return nil }
        guard case .array(let list) = value else { return [try host(value, "/mx")] }
        guard list.count <= mostHosts else { throw HookFault("/mx", "length", "has more than \(mostHosts) hosts") }
        var hosts: [MX.Written] = []
        for (index, item) in list.enumerated() { hosts.append(try host(item, "/mx/\(index)")) }
        return hosts
    }

    private static func host(_ value: JSON, _ pointer: String) throws(HookFault) -> MX.Written {
        if let text = value.string { return MX.Written(exchange: text) }
        var object = try ObjectReader<HookFault>(value, at: pointer)
        // Where a host comes from is Haraka's business.
        _ = object.take("from_dns")
        let (exchange, path) = (try object.text("exchange"), try object.text("path"))
        guard let exchange = exchange ?? path else {
            throw HookFault("\(pointer)/exchange", "required", "is missing")
        }
        var properties: [(name: String, value: String)] = []
        for (name, value) in object.rest {
            guard let word = try word(value, object.pointer(name)) else { continue }
            properties.append((name, word))
        }
        return MX.Written(exchange: exchange, properties: properties)
    }

    /// A text, number or truth as a word; nil for null.
    private static func word(_ value: JSON, _ pointer: String) throws(HookFault) -> String? {
        switch value {
        case .null: nil
        case .string(let text): text
        case .bool, .integer, .number: value.text
        case .array, .object:
            throw HookFault(pointer, "type", "must be a text, a number or a truth, not \(value.kind)")
        }
    }
}

/// Why a program's answer cannot be used, or did not come.
struct HookFault: Error, Hashable, Sendable {
    let reason: String
    let kind: HookMetrics.Fault

    init(_ reason: String, _ kind: HookMetrics.Fault = .useless) {
        self.reason = reason
        self.kind = kind
    }

    init(_ error: HTTPError) {
        let kind: HookMetrics.Fault =
            switch error.kind {
            case .timedOut: .late
            case .invalidRequest, .cannotResolve, .cannotConnect, .tls, .broken: .unreachable
            case .tooLarge: .useless
            }
        self.init(error.text, kind)
    }
}

extension HookFault: JSONRefusal {
    init(_ issues: [JSONIssue]) {
        let words = issues.map { "\($0.pointer.isEmpty ? "it" : $0.pointer) \($0.message)" }.joined(separator: "; ")
        self.init("the answer is not the JSON that is expected: \(words)")
    }
}
