// CommandParser.swift — the octets of one line into a command, or into the reply that refuses it (RFC 5321 §4.1).
//
// Guarantees: nothing in a line can trap; control characters are refused wherever they stand; octets above 127 are
// refused except in addresses of a transaction with SMTPUTF8, and must be valid UTF-8 there.

package import Mail

/// Parses command lines.
package struct CommandParser: Sendable {
    /// Our own name: the domain of `<postmaster>` (RFC 5321 §4.1.1.3).
    package let me: Domain

    package init(me: Domain) { self.me = me }

    /// Parses a line without its CRLF.
    ///
    /// - Parameters:
    ///   - line: the octets; only read while this runs.
    ///   - allowsUTF8: the transaction that is open was begun with SMTPUTF8.
    package func parse(_ line: UnsafeRawBufferPointer, allowsUTF8: Bool = false) -> Command {
        var line = Text(line)
        line.trimEnd()
        let kind = line.kind()
        if kind == .hasControl { return .refused(Refusal(.controlCharacter)) }
        let isASCII = kind == .ascii
        switch line.verb() {
        case Verb.mail: return mail(line.dropping(4), isASCII: isASCII)
        case Verb.rcpt: return rcpt(line.dropping(4), isASCII: isASCII, allowsUTF8: allowsUTF8)
        case Verb.data: return alone(.data, line)
        case Verb.rset: return alone(.rset, line)
        case Verb.quit: return alone(.quit, line)
        case Verb.bdat: return bdat(line.dropping(4))
        case Verb.ehlo: return hello(line.dropping(4), isASCII: isASCII) { .ehlo($0) }
        case Verb.helo: return hello(line.dropping(4), isASCII: isASCII) { .helo($0) }
        case Verb.noop: return .noop
        case Verb.help: return .help
        case Verb.vrfy: return line.count > 4 ? .vrfy : .refused(Refusal(.vrfySyntax))
        case Verb.auth: return isASCII ? .auth(line.dropping(4).trimmed.string) : .refused(Refusal(.eightBitCommand))
        case Verb.expn, Verb.turn, Verb.etrn, Verb.send, Verb.soml, Verb.saml:
            return .refused(Refusal(.notImplemented))
        default: return other(line)
        }
    }

    /// Whether a line is a `RCPT` command, however it goes on.
    static func isRecipient(_ line: UnsafeRawBufferPointer) -> Bool { Text(line).verb() == Verb.rcpt }

    private func alone(_ command: Command, _ line: Text) -> Command {
        line.count == 4 ? command : .refused(Refusal(.noParameters))
    }

    private func hello(_ rest: Text, isASCII: Bool, _ make: (String) -> Command) -> Command {
        var rest = rest.trimmed
        let name = rest.nextWord()
        guard !name.isEmpty else { return .refused(Refusal(.heloSyntax)) }
        guard isASCII else { return .refused(Refusal(.eightBitCommand)) }
        return make(name.prefix(255).string)
    }

    private func bdat(_ rest: Text) -> Command {
        var rest = rest.trimmed
        guard case .number(let size) = rest.nextWord().number() else {
            return .refused(Refusal(.badChunkSize, then: .close))
        }
        let word = rest.trimmed
        if word.isEmpty { return .bdat(size: size, isLast: false) }
        guard word.equals("LAST") else { return .refused(Refusal(.badChunkSize, then: .swallow(size))) }
        return .bdat(size: size, isLast: true)
    }

    private func other(_ line: Text) -> Command {
        var rest = line
        let word = rest.nextWord()
        if word.equals("STARTTLS") { return rest.isEmpty ? .startTLS : .refused(Refusal(.noParameters)) }
        if word.equals("XCLIENT") { return .claim(rest.trimmed.string, .client) }
        if word.equals("XFORWARD") { return .claim(rest.trimmed.string, .forward) }
        for verb: StaticString in [
            "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "TRACE", "PRI",
        ]
        where word.equals(verb) {
            return .refused(Refusal(.notSMTP, then: .close))
        }
        for header: StaticString in ["Host:", "User-Agent:", "Content-Type:", "Content-Length:"]
        where word.equals(header) {
            return .refused(Refusal(.notSMTP, then: .close))
        }
        return .refused(Refusal(.unknownCommand))
    }
}

/// The first four letters in lower case, as one number.
private enum Verb {
    static let mail: UInt32 = 0x6D61_696C
    static let rcpt: UInt32 = 0x7263_7074
    static let data: UInt32 = 0x6461_7461
    static let rset: UInt32 = 0x7273_6574
    static let quit: UInt32 = 0x7175_6974
    static let bdat: UInt32 = 0x6264_6174
    static let ehlo: UInt32 = 0x6568_6C6F
    static let helo: UInt32 = 0x6865_6C6F
    static let noop: UInt32 = 0x6E6F_6F70
    static let help: UInt32 = 0x6865_6C70
    static let vrfy: UInt32 = 0x7672_6679
    static let auth: UInt32 = 0x6175_7468
    static let expn: UInt32 = 0x6578_706E
    static let turn: UInt32 = 0x7475_726E
    static let etrn: UInt32 = 0x6574_726E
    static let send: UInt32 = 0x7365_6E64
    static let soml: UInt32 = 0x736F_6D6C
    static let saml: UInt32 = 0x7361_6D6C
}

extension Text {
    /// The verb's number, or 0 when the first word has not four letters.
    fileprivate func verb() -> UInt32 {
        guard count >= 4, count == 4 || self[4] == 0x20 else { return 0 }
        var value: UInt32 = 0
        for index in 0..<4 { value = value << 8 | UInt32(self[index] | 0x20) }
        return value
    }
}
