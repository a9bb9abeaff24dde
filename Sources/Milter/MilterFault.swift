// MilterFault.swift — why a milter gave no verdict, and who answers in its place when it is none.

import NIOCore

/// No verdict.
package struct MilterFault: Error, Hashable, Sendable, CustomStringConvertible {
    /// What went wrong; the raw value is a metric's label.
    package enum Kind: String, CaseIterable, Sendable {
        /// Nobody is there.
        case unreachable
        /// No answer in time.
        case late
        /// The connection ended in the middle of a message.
        case lost
        /// Somebody answers who speaks something else.
        case foreign
        /// An answer that the protocol does not allow, or one that is beyond every bound.
        case garbled
        /// It failed again and again, and was not asked.
        case skipped
    }

    package let kind: Kind
    /// In words, printable.
    package let text: String

    package init(_ kind: Kind, _ text: String) {
        self.kind = kind
        self.text = text
    }

    package var description: String { text }
}

/// Tells who speaks at a port where a milter should.
enum WrongSpeaker {
    private static let known: [(prefix: [UInt8], name: String)] = [
        (Array("HTTP".utf8), "an HTTP server"), (Array("<!DO".utf8), "an HTTP server"),
        (Array("<htm".utf8), "an HTTP server"),
        (Array("SSH-".utf8), "an SSH server"), (Array("* OK".utf8), "an IMAP server"),
        (Array("+OK ".utf8), "a POP3 server"), (Array("-ERR".utf8), "a POP3 or Redis server"),
        (Array("UNKN".utf8), "clamd itself and not clamav-milter"),
        ([0x15, 0x03], "a server that wants TLS"), ([0x16, 0x03], "a server that wants TLS"),
    ]

    /// Octets that are enough to tell.
    static let enough = 4

    /// Who it is by the first octets; nil: they may begin a packet.
    ///
    /// - Parameter first: at least ``enough``; more are shown in words.
    static func name(_ first: some Collection<UInt8>) -> String? {
        let head = Array(first.prefix(60))
        guard head.count >= enough else { return nil }
        for (prefix, name) in known where head.starts(with: prefix) { return "\(name) answers" }
        let isReply = head.prefix(3).allSatisfy { (0x30...0x39).contains($0) } && (head[3] == 0x20 || head[3] == 0x2D)
        if isReply { return "an SMTP or LMTP server answers: \(shown(head))" }
        if head.prefix(enough).allSatisfy({ (0x20...0x7E).contains($0) }) {
            return "something that speaks no milter protocol answers: \(shown(head))"
        }
        return nil
    }

    private static func shown(_ octets: [UInt8]) -> String {
        let line = octets.prefix { $0 != 0x0D && $0 != 0x0A }
        return String(decoding: line.map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }
}
