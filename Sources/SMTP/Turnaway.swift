// Turnaway.swift — what a client was refused, for whoever tells the operator; never more than a handful at once.

import Mail
import NIOCore

/// One refusal of a session.
package struct Turnaway: Hashable, Sendable {
    /// What the client asked for.
    package enum Verb: String, Hashable, Sendable {
        /// Nothing yet: it has just connected.
        case connect = "CONNECT"
        case helo = "HELO"
        case ehlo = "EHLO"
        case mail = "MAIL"
        case rcpt = "RCPT"
        case data = "DATA"
        case bdat = "BDAT"
        /// The message is complete.
        case endOfMessage = "END-OF-MESSAGE"
        case auth = "AUTH"
        case startTLS = "STARTTLS"
        case rset = "RSET"
        case noop = "NOOP"
        case vrfy = "VRFY"
        case help = "HELP"
        case quit = "QUIT"
        case unknown = "UNKNOWN"
        /// A line that could not be told from others: too long, or without its CRLF.
        case garbled = "LINE"

        /// Whether a refusal of it keeps mail out; others are slips of the tongue until there are too many.
        var matters: Bool {
            switch self {
            case .mail, .rcpt, .data, .bdat, .endOfMessage, .auth, .garbled: true
            case .connect, .helo, .ehlo, .startTLS, .rset, .noop, .vrfy, .help, .quit, .unknown: false
            }
        }

        /// The verb of a line, whatever stands behind it.
        init(_ line: Text) {
            var rest = line
            let word = rest.nextWord()
            self = Self.written.first { word.equals($0.0) }?.1 ?? .unknown
        }

        private static let written: [(StaticString, Verb)] = [
            ("MAIL", .mail), ("RCPT", .rcpt), ("DATA", .data), ("BDAT", .bdat), ("AUTH", .auth), ("EHLO", .ehlo),
            ("HELO", .helo), ("STARTTLS", .startTLS), ("RSET", .rset), ("NOOP", .noop), ("VRFY", .vrfy),
            ("HELP", .help), ("QUIT", .quit),
        ]
    }

    /// Octets of an address that could not be read, as far as they are kept.
    private static let longest = 320

    package let verb: Verb
    /// As the client heard it, its first line.
    package let reply: String
    /// As far as it is known; as it came, where it could not be read; empty for the null sender.
    package internal(set) var sender: String?
    package internal(set) var recipient: String?
    /// The session ends with it.
    package let ends: Bool

    /// What stands behind `FROM:` or `TO:` in a line, as far as it can be told: without brackets and parameters.
    static func address(in line: Text) -> String {
        guard let colon = line.firstOffset(of: UInt8(ascii: ":")) else { return "" }
        var rest = line.dropping(colon + 1)
        rest.trimStart()
        let isBracketed = rest.first == UInt8(ascii: "<")
        if isBracketed { rest = rest.dropping(1) }
        let end = rest.firstOffset(of: isBracketed ? UInt8(ascii: ">") : 0x20) ?? rest.count
        return rest.prefix(min(end, longest)).string
    }
}

extension ServerMachine {
    /// What was refused and has not been told yet.
    struct Turnaways {
        /// Kept of one piece of input: whoever tells them has a limit of its own.
        private static let most = 8

        private(set) var kept: [Turnaway] = []
        /// More of the same.
        private(set) var others = 0

        mutating func add(_ turnaway: @autoclosure () -> Turnaway) {
            if kept.count < Self.most { kept.append(turnaway()) } else { others += 1 }
        }
    }

    /// Notes a refusal, unless it is a slip of the tongue.
    ///
    /// - Parameters:
    ///   - reply: its first line.
    ///   - ends: the session ends with it.
    mutating func note(_ reply: @autoclosure () -> String, ends: Bool = false) {
        guard ends || asked.matters else { return }
        turnaways.add(
            Turnaway(
                verb: asked,
                reply: reply(),
                sender: asked == .mail ? subject ?? "" : transaction?.sender.description,
                recipient: asked == .rcpt ? subject : transaction?.first?.description,
                ends: ends
            )
        )
    }

    /// Notes what a line asks for that is refused for what it says.
    mutating func asks(_ line: UnsafeRawBufferPointer) {
        let line = Text(line)
        asked = Turnaway.Verb(line)
        if asked == .mail || asked == .rcpt { subject = Turnaway.address(in: line) }
    }

    /// Something was refused that is worth a line in the log.
    package var hasTurnaways: Bool { !turnaways.kept.isEmpty }

    /// What was refused since the last call, and how many more that were like it.
    package mutating func takeTurnaways() -> (kept: [Turnaway], others: Int) {
        defer { turnaways = Turnaways() }
        return (turnaways.kept, turnaways.others)
    }
}
