// Command.swift — what a client can ask, as values.

package import Mail

/// One command line, understood and checked.
///
/// What could not be understood is a refusal with its reply.
package enum Command: Hashable, Sendable {
    case ehlo(String)
    case helo(String)
    case mail(ReversePath, MailParameters)
    case rcpt(Recipient)
    case data
    /// `BDAT size [LAST]` (RFC 3030).
    case bdat(size: Int, isLast: Bool)
    case rset
    case noop
    case vrfy
    case help
    case quit
    case startTLS
    /// `AUTH mechanism [initial response]`, the part behind the verb.
    case auth(String)
    /// `XCLIENT` or `XFORWARD`, the part behind the verb: what a trusted client tells of another one.
    case claim(String, ClientClaim.Kind)
    /// Not to be obeyed; the reply says why.
    case refused(Refusal)
}

extension Command {
    /// What it asks for; nil where the line has to be looked at.
    var verb: Turnaway.Verb? {
        switch self {
        case .ehlo: .ehlo
        case .helo: .helo
        case .mail: .mail
        case .rcpt: .rcpt
        case .data: .data
        case .bdat: .bdat
        case .rset: .rset
        case .noop: .noop
        case .vrfy: .vrfy
        case .help: .help
        case .quit: .quit
        case .startTLS: .startTLS
        case .auth: .auth
        case .claim: .unknown
        case .refused: nil
        }
    }
}

/// Why a line is not obeyed.
package struct Refusal: Hashable, Sendable {
    /// What becomes of the session.
    package enum Then: Hashable, Sendable {
        case goOn
        /// What follows cannot be told from commands, or is no SMTP at all.
        case close
        /// Announced octets follow that must not be read as commands.
        case swallow(Int)
    }

    package let reply: CannedReply
    package let then: Then

    init(_ reply: CannedReply, then: Then = .goOn) {
        self.reply = reply
        self.then = then
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(reply.description) }
}

/// The parameters of `MAIL`.
package struct MailParameters: Hashable, Sendable {
    /// `SIZE=`, octets (RFC 1870); a number that fits nowhere is `Int.max`.
    package var size: Int?
    /// `BODY=8BITMIME` (RFC 6152).
    package var isEightBit = false
    /// `SMTPUTF8` (RFC 6531).
    package var needsUTF8 = false
    /// `RET=` (RFC 3461 §4.3).
    package var returns: ReturnContent?
    /// `ENVID=` as it came (RFC 3461 §4.4).
    package var envelopeID: String?
    /// `REQUIRETLS` (RFC 8689).
    package var requiresTLS = false

    package init() {}
}
