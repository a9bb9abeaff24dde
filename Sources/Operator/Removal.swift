// Removal.swift — the work of `martlet drain`: message by message from one relay to another, and what is done with each answer.

import Glibc
import HTTPClient
import JSON
import Mail

/// One relay being emptied into another one.
final class Removal {
    /// What came of it.
    struct Tally {
        var sent = 0
        /// The other relay had them from an earlier run.
        var known = 0
        /// In words; they stay here and are delivered from here.
        var refused: [String] = []
        /// Messages that are here at the end.
        var left = 0
    }

    /// What became of one message.
    enum Fate {
        case sent, known, gone, busy
        case refused(String)
    }

    /// The form of messages that this program carries; it does not look into them.
    private static let type = "application/vnd.martlet.message"
    private static let page = 500
    /// Milliseconds between questions.
    private static let pause: UInt32 = 250
    /// Answers that tell of the other relay rather than of a message.
    private static let hopeless: Set<Int> = [401, 403, 404, 405, 415, 421]

    private let here: Relay
    private let peer: Relay
    let name: String
    private let me: String
    /// Milliseconds.
    private let patience: Int64
    private(set) var tally = Tally()
    /// What the other relay says of itself.
    private(set) var words = ""
    private let progress = Progress()

    /// - Parameters:
    ///   - name: what marks call the other relay.
    ///   - me: what the other relay is told that the mail comes from.
    ///   - patience: seconds.
    init(from here: Relay, to peer: Relay, called name: String, me: String, patience: Int) {
        (self.here, self.peer, self.name, self.me) = (here, peer, name, me)
        self.patience = Int64(patience) * 1000
    }

    /// Asks the other relay whether it would take mail.
    ///
    /// - Throws: why it would not.
    func look() throws {
        let answer = try toPeer("GET", "/v1/drain")
        guard answer.status != 404 else {
            throw OperatorError(
                "\(name) runs a martlet that takes no messages of other relays: bring it up to date first"
            )
        }
        guard answer.status == 200, let said = JSON(answer.body), said["form"]?.integer != nil else {
            throw Self.refusal(answer, of: name)
        }
        words = "martlet \(Printout.clean(said["version"]?.string ?? "?")), form \(said["form"]?.integer ?? 0)"
        if said["draining"]?.bool == true {
            throw OperatorError("\(name) is being drained itself", status: EX_TEMPFAIL)
        }
        guard said["has_room"]?.bool == true else {
            throw OperatorError("\(name) has no room for mail now", status: EX_TEMPFAIL)
        }
        // Nothing is brought: whoever may bring something hears that this is no message.
        let trial = try toPeer("PUT", "/v1/queue/0000000000000", raw: (Self.type, []))
        guard trial.status == 400, JSON(trial.body)?["taken"]?.bool == false else {
            throw Self.refusal(trial, of: name)
        }
    }

    /// Messages that are here.
    func waiting() throws -> Int {
        let answer = try here.ask("GET", "/v1/queue", query: [("limit", "1")])
        return Int(JSON(answer.body)?["total"]?.integer ?? 0)
    }

    /// Sends everything, and waits for what sessions have.
    func run() throws {
        try here.ask("POST", "/v1/drain")
        do {
            try carryAll()
        } catch let error as OperatorError {
            throw OperatorError(
                "\(error.description); this relay takes no mail until martlet drain --stop or its next start",
                status: error.status
            )
        }
    }

    private func carryAll() throws {
        var stuck: Set<String> = []
        var end = Uptime.now().adding(milliseconds: patience)
        while true {
            let ids = try self.ids().filter { !stuck.contains($0) }
            if ids.isEmpty { break }
            var hasMoved = false
            for id in ids {
                switch try carry(id) {
                case .sent: (tally.sent, hasMoved) = (tally.sent + 1, true)
                case .known: (tally.known, hasMoved) = (tally.known + 1, true)
                case .gone: hasMoved = true
                case .busy: break
                case .refused(let words):
                    stuck.insert(id)
                    tally.refused.append("\(id) stays here: \(words)")
                }
                progress.show(tally)
            }
            let now = Uptime.now()
            if hasMoved {
                end = now.adding(milliseconds: patience)
            } else if now >= end {
                break
            } else {
                usleep(Self.pause * 1000)
            }
        }
        progress.end()
        tally.left = try waiting()
        // What a session had to the end was marked; here it goes on.
        for id in try ids() where !stuck.contains(id) { try stay(id) }
    }

    private func ids() throws -> [String] {
        let answer = try here.ask("GET", "/v1/queue", query: [("limit", "\(Self.page)"), ("sort", "queued_at")])
        return (JSON(answer.body)?["items"]?.elements ?? []).compactMap { $0["id"]?.string }
    }

    // MARK: - One message

    private func carry(_ id: String) throws -> Fate {
        let path = "/v1/queue/\(id)"
        let left = try here.send("POST", "\(path)/departure", body: ["to": .string(name)], accept: Self.type)
        switch left.status {
        case 200: break
        case 404: return .gone
        case 409:
            guard let other = JSON(left.body)?["destination"]?.string else { return .busy }
            return .refused("it is on its way to \(Printout.clean(other)), which may have it")
        default: throw Self.refusal(left, of: "this relay")
        }
        let answer = try bring(id, left.body)
        guard answer.status == 200 || answer.status == 201 else {
            try stay(id)
            let error = Self.refusal(answer, of: name)
            if Self.hopeless.contains(answer.status) || answer.status == 503 { throw error }
            return .refused(error.description)
        }
        let ended = try here.send("DELETE", "\(path)/departure", query: [("to", name), ("arrived", "true")])
        guard ended.status == 204 || ended.status == 404 else { throw Self.refusal(ended, of: "this relay") }
        return JSON(answer.body)?["known"]?.bool == true ? .known : .sent
    }

    /// Gives the other relay a message, as often as it takes to know what it did with it.
    ///
    /// - Returns: that it has it, or that it has not.
    /// - Throws: when that cannot be known; the message keeps its mark, and another run asks again.
    private func bring(_ id: String, _ bytes: [UInt8]) throws -> HTTPResponse {
        let end = Uptime.now().adding(milliseconds: patience)
        while true {
            var words: String
            do {
                let answer = try toPeer("PUT", "/v1/queue/\(id)", query: [("from", me)], raw: (Self.type, bytes))
                let isTaken = answer.status == 200 || answer.status == 201
                let isRefused = JSON(answer.body)?["taken"]?.bool == false || Self.isCertain(answer.status)
                if isTaken || isRefused && (answer.status != 503 || Uptime.now() >= end) { return answer }
                words = Self.refusal(answer, of: name).description
            } catch let error as OperatorError {
                words = error.description
            }
            guard Uptime.now() < end else {
                throw OperatorError(
                    "\(words); whether \(name) has message \(id) is not known: it is held here until martlet drain is run again",
                    status: EX_TEMPFAIL
                )
            }
            usleep(Self.pause * 1000)
        }
    }

    /// Refusals that come before anything is done.
    private static func isCertain(_ status: Int) -> Bool {
        [400, 401, 403, 404, 405, 406, 413, 415, 421, 422].contains(status)
    }

    private func stay(_ id: String) throws {
        try here.send("DELETE", "/v1/queue/\(id)/departure", query: [("to", name)])
    }

    private func toPeer(
        _ method: String,
        _ path: String,
        query: [(String, String)] = [],
        raw: (type: String, bytes: [UInt8])? = nil
    ) throws -> HTTPResponse {
        try peer.send(method, path, query: query, raw: raw)
    }

    private static func refusal(_ answer: HTTPResponse, of whom: String) -> OperatorError {
        var words = Relay.refusal(answer)
        switch answer.status {
        case 401: words = OperatorError("a token is needed, see --to-token-file", status: EX_NOPERM)
        case 403:
            words = OperatorError(
                "the token lacks the scope queue:write (status:read for the first question)",
                status: EX_NOPERM
            )
        default: break
        }
        return OperatorError("\(whom): \(words.description)", status: words.status)
    }
}

/// How far it is, on standard error: one line that changes where that is a terminal, a line now and then elsewhere.
private final class Progress {
    private static let step: Int64 = 500
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private var next = Uptime.now().adding(milliseconds: 0)
    private var hasShown = false

    func show(_ tally: Removal.Tally) {
        let now = Uptime.now()
        guard now >= next else { return }
        next = now.adding(milliseconds: isTerminal ? Self.step : 20 * Self.step)
        let count = tally.sent + tally.known
        let bytes = Array((isTerminal ? "\r\(count) messages sent" : "\(count) messages sent\n").utf8)
        _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
        hasShown = true
    }

    func end() {
        if isTerminal, hasShown { _ = Glibc.write(STDERR_FILENO, [0x0A], 1) }
    }
}
