// CannedReply.swift — what the server says, as bytes that are ready to send.
//
// Every reply but the few that carry a number or a name is a constant: it is copied into the output as it stands.

import Mail
import NIOCore

/// A reply of one line with its CRLF.
package struct CannedReply: Sendable, CustomStringConvertible {
    private let text: StaticString

    init(_ text: StaticString) { self.text = text }

    /// The first digit: 2…5.
    package var severityDigit: UInt8 { text.utf8Start.pointee &- 0x30 }

    /// Without its CRLF.
    package var description: String { String(text.description.dropLast(1)) }

    /// The same as a value.
    var reply: Reply {
        let words = description.utf8.split(octet: " ", maxSplits: 2).map { Substring($0) }
        let numbers = words.count > 1 ? words[1].utf8.split(octet: ".") : []
        let digits = numbers.compactMap { UInt16(Substring($0)) }
        guard words.count == 3, let code = UInt16(words[0]), digits.count == 3 else {
            return Reply(451, EnhancedStatus(4, 3, 0), description)
        }
        let status = EnhancedStatus(UInt8(truncatingIfNeeded: digits[0]), digits[1], digits[2])
        return Reply(code, status, String(words[2]))
    }

    func write(to output: inout ByteBuffer) { output.writeStaticString(text) }
}

extension CannedReply: Equatable {
    package static func == (a: CannedReply, b: CannedReply) -> Bool { a.description == b.description }
}

// Computed and not stored: a stored constant of a type costs a check for its initialisation at every use.
extension CannedReply {
    // MARK: Success
    static var ok: CannedReply { .init("250 2.0.0 Ok\r\n") }
    static var senderOK: CannedReply { .init("250 2.1.0 Ok\r\n") }
    static var recipientOK: CannedReply { .init("250 2.1.5 Ok\r\n") }
    static var authOK: CannedReply { .init("235 2.7.0 Authentication successful\r\n") }
    static var startMail: CannedReply { .init("354 End data with <CR><LF>.<CR><LF>\r\n") }
    static var startTLS: CannedReply { .init("220 2.0.0 Ready to start TLS\r\n") }
    static var bye: CannedReply { .init("221 2.0.0 Bye\r\n") }
    static var cannotVerify: CannedReply {
        .init("252 2.5.2 Cannot VRFY user, but will accept message and attempt delivery\r\n")
    }
    static var help: CannedReply {
        .init("214 2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT (RFC 5321)\r\n")
    }

    // MARK: Later
    static var tooManyErrors: CannedReply { .init("421 4.7.0 Too many errors\r\n") }
    static var tooManyIdleCommands: CannedReply { .init("421 4.7.0 Too many commands without a message\r\n") }
    static var tooManyConnections: CannedReply { .init("421 4.7.0 Too many connections, try again later\r\n") }
    static var tooManyAuthFailures: CannedReply { .init("421 4.7.0 Too many authentication failures\r\n") }
    static var authUnavailable: CannedReply { .init("454 4.7.0 Temporary authentication failure\r\n") }
    static var timeout: CannedReply { .init("421 4.4.2 Timeout\r\n") }
    static var shuttingDown: CannedReply { .init("421 4.3.2 Shutting down\r\n") }
    static var tooManyRecipients: CannedReply { .init("452 4.5.3 Too many recipients\r\n") }
    static var noRoom: CannedReply { .init("452 4.3.1 Insufficient system storage\r\n") }
    static var tlsUnavailable: CannedReply { .init("454 4.7.0 TLS not available due to temporary reason\r\n") }
    static var storageFailed: CannedReply { .init("451 4.3.0 Cannot store the message now\r\n") }
    static var commitTimeout: CannedReply { .init("451 4.3.0 Storage is too slow, try again later\r\n") }

    // MARK: Never
    static var lineTooLong: CannedReply { .init("500 5.5.6 Line too long\r\n") }
    static var bareLineEnding: CannedReply { .init("500 5.5.2 Lines end in CRLF, without bare CR, LF or NUL\r\n") }
    static var unknownCommand: CannedReply { .init("500 5.5.2 Command not recognized\r\n") }
    static var controlCharacter: CannedReply { .init("501 5.5.2 Control character in command\r\n") }
    static var notUTF8: CannedReply { .init("501 5.5.2 Command is not valid UTF-8\r\n") }
    static var eightBitCommand: CannedReply { .init("501 5.5.2 8-bit character in command\r\n") }
    static var heloSyntax: CannedReply { .init("501 5.5.4 A host name is required\r\n") }
    static var noParameters: CannedReply { .init("501 5.5.4 No parameters allowed\r\n") }
    static var vrfySyntax: CannedReply { .init("501 5.5.4 VRFY needs a name\r\n") }
    static var mailSyntax: CannedReply { .init("501 5.5.4 Syntax: MAIL FROM:<address> [parameters]\r\n") }
    static var rcptSyntax: CannedReply { .init("501 5.5.4 Syntax: RCPT TO:<address> [parameters]\r\n") }
    static var badSender: CannedReply { .init("501 5.1.7 Bad sender address syntax\r\n") }
    static var badRecipient: CannedReply { .init("501 5.1.3 Bad recipient address syntax\r\n") }
    static var needsSMTPUTF8: CannedReply { .init("553 5.6.7 Address needs SMTPUTF8\r\n") }
    static var badParameter: CannedReply { .init("501 5.5.4 Bad parameter value\r\n") }
    static var repeatedParameter: CannedReply { .init("501 5.5.4 Parameter given twice\r\n") }
    static var unknownParameter: CannedReply { .init("555 5.5.4 Parameter not recognized\r\n") }
    static var badChunkSize: CannedReply { .init("501 5.5.4 Syntax: BDAT size [LAST]\r\n") }
    static var notImplemented: CannedReply { .init("502 5.5.1 Command not implemented\r\n") }
    static var notOffered: CannedReply { .init("502 5.5.1 Not offered\r\n") }
    static var authNotNow: CannedReply { .init("503 5.5.1 Authentication is not available\r\n") }
    static var authSyntax: CannedReply { .init("501 5.5.4 Syntax: AUTH mechanism [initial response]\r\n") }
    static var authMalformed: CannedReply { .init("501 5.5.2 Malformed authentication response\r\n") }
    static var authCancelled: CannedReply { .init("501 5.7.0 Authentication cancelled\r\n") }
    static var authMechanism: CannedReply { .init("504 5.5.4 Authentication mechanism not offered\r\n") }
    static var authTwice: CannedReply { .init("503 5.5.1 Already authenticated\r\n") }
    static var authInTransaction: CannedReply { .init("503 5.5.1 AUTH is not allowed in a transaction\r\n") }
    static var authNeedsTLS: CannedReply { .init("538 5.7.11 Encryption required for authentication\r\n") }
    static var authRefused: CannedReply { .init("535 5.7.8 Authentication credentials invalid\r\n") }
    static var tlsTwice: CannedReply { .init("503 5.5.1 TLS is active already\r\n") }
    static var tlsInTransaction: CannedReply {
        .init("503 5.5.1 STARTTLS is not permitted during a mail transaction\r\n")
    }
    static var tlsPipelined: CannedReply { .init("554 5.5.0 Nothing may follow STARTTLS before the handshake\r\n") }
    static var claimInTransaction: CannedReply { .init("503 5.5.1 Not in a mail transaction\r\n") }
    static var needsTLS: CannedReply { .init("530 5.7.10 REQUIRETLS needs an encrypted session\r\n") }
    static var helloFirst: CannedReply { .init("503 5.5.1 Send EHLO or HELO first\r\n") }
    static var nestedMail: CannedReply { .init("503 5.5.1 Nested MAIL command\r\n") }
    static var mailFirst: CannedReply { .init("503 5.5.1 Send MAIL first\r\n") }
    static var noRecipients: CannedReply { .init("503 5.5.1 No valid recipients\r\n") }
    static var chunksBegun: CannedReply { .init("503 5.5.1 Message was begun with BDAT\r\n") }
    static var notYourSender: CannedReply { .init("553 5.7.1 Sender address does not belong to the login\r\n") }
    static var notYourAuthor: CannedReply { .init("550 5.7.1 From address does not belong to the login\r\n") }
    static var senderDomain: CannedReply { .init("550 5.7.1 Sender domain is not one of ours\r\n") }
    static var relayDenied: CannedReply { .init("550 5.7.1 Relaying denied\r\n") }
    static var bareInContent: CannedReply { .init("550 5.5.2 Bare CR, bare LF or NUL in message\r\n") }
    static var tooLarge: CannedReply { .init("552 5.3.4 Message too big\r\n") }
    static var headerTooLarge: CannedReply { .init("552 5.3.4 Message header too big\r\n") }
    static var tooManyHops: CannedReply { .init("554 5.4.6 Too many hops\r\n") }
    static var earlyTalker: CannedReply { .init("554 5.5.0 Wait for the greeting before you speak\r\n") }
    static var notSMTP: CannedReply { .init("554 5.5.0 This is an SMTP server\r\n") }
}
