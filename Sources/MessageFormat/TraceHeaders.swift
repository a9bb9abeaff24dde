// TraceHeaders.swift — the lines that we put in front of a message: Received, and Message-ID and Date where they are
// missing (RFC 5321 §4.4, RFC 5322 §3.6, RFC 6409 §8).
//
// Guarantees: whatever a client called itself, a line stays one line of printable ASCII. Written straight into a
// buffer; nothing is formatted twice in one second.

package import Mail
package import NIOCore

/// Writes trace headers.
///
/// One per connection, because it keeps the text of the current second.
package struct TraceHeaders: Sendable {
    /// What a `Received` line tells.
    package struct Facts {
        package var id: QueueID
        package var at: Timestamp
        /// Our own name.
        package var me: String
        /// What the client called itself; nil for mail that was made inside.
        package var helo: String?
        /// The client's address as a literal with brackets (RFC 5321 §4.1.3).
        package var clientLiteral: String
        package var with: Transport
        /// Version and cipher of an encrypted session: letters, digits, `_`, `-`, `.` and blanks.
        package var tls: String?
        /// The only recipient; nil when there are several, which are nobody's business (RFC 5321 §7.2).
        package var onlyRecipient: EmailAddress?
        /// Further fields of ours, complete lines.
        package var added: [UInt8]

        package init(
            id: QueueID,
            at: Timestamp,
            me: String,
            helo: String?,
            clientLiteral: String,
            with: Transport,
            tls: String? = nil,
            onlyRecipient: EmailAddress?,
            added: [UInt8] = []
        ) {
            self.id = id
            self.at = at
            self.me = me
            self.helo = helo
            self.clientLiteral = clientLiteral
            self.with = with
            self.tls = tls
            self.onlyRecipient = onlyRecipient
            self.added = added
        }
    }

    /// The registered names of the ways in (RFC 3848, RFC 6531 §4.3).
    package struct Transport: Hashable, Sendable {
        /// The client said EHLO.
        package var isExtended: Bool
        /// The transaction was begun with SMTPUTF8.
        package var isUTF8: Bool
        /// The session was encrypted.
        package var isSecure: Bool
        /// The client authenticated.
        package var isAuthenticated: Bool

        package init(
            isExtended: Bool = true,
            isUTF8: Bool = false,
            isSecure: Bool = false,
            isAuthenticated: Bool = false
        ) {
            self.isExtended = isExtended
            self.isUTF8 = isUTF8
            self.isSecure = isSecure
            self.isAuthenticated = isAuthenticated
        }

        fileprivate func write(to output: inout OctetWriter) {
            // Encryption and AUTH come with EHLO; a client that went back to HELO behind them spoke ESMTP all the same.
            let isExtended = isExtended || isSecure || isAuthenticated
            output.put(isUTF8 ? "UTF8SMTP" : isExtended ? "ESMTP" : "SMTP")
            if isSecure { output.put(UInt8(ascii: "S")) }
            if isAuthenticated { output.put(UInt8(ascii: "A")) }
        }
    }

    /// What `Received` says of us (`received_header`); nil: there is no such line.
    package var comment: String?
    private var date = DateText()

    /// - Parameter comment: printable ASCII without parentheses and backslashes; nil for no `Received` line.
    package init(comment: String?) { self.comment = comment }

    /// Appends the lines that belong in front of a message.
    ///
    /// - Parameters:
    ///   - header: what the message has already.
    ///   - output: where to.
    package mutating func write(_ facts: Facts, header: HeaderBlock, to output: inout ByteBuffer) {
        let date = date.text(facts.at)
        output.compose(512) { output in
            if let comment { Self.writeReceived(facts, comment, date, to: &output) }
            if !header.hasMessageID {
                output.put("Message-ID: <")
                output.put(facts.id)
                output.put(UInt8(ascii: "@"))
                output.put(facts.me)
                output.put(">\r\n")
            }
            if !header.hasDate {
                output.put("Date: ")
                output.put(date)
                output.put("\r\n")
            }
        }
        if !facts.added.isEmpty { output.writeBytes(facts.added) }
        if header.isMissing {
            output.writeStaticString("\r\n")
        } else if header.beginsAsMailbox {
            output.writeStaticString(HeaderBlock.mailboxField)
        }
    }

    private static func writeReceived(
        _ facts: Facts,
        _ comment: String,
        _ date: String,
        to output: inout OctetWriter
    ) {
        output.put("Received: ")
        if let helo = facts.helo {
            output.put("from ")
            writeClean(helo, to: &output)
            output.put(" (")
            output.put(facts.clientLiteral)
            output.put(")\r\n\t")
        }
        output.put("by ")
        output.put(facts.me)
        output.put(" (")
        output.put(comment)
        output.put(")")
        if facts.helo != nil {
            output.put(" with ")
            facts.with.write(to: &output)
            if let tls = facts.tls {
                output.put("\r\n\t(")
                output.put(tls)
                output.put(")")
            }
        }
        output.put(" id ")
        output.put(facts.id)
        if let recipient = facts.onlyRecipient {
            output.put("\r\n\tfor <")
            output.put(recipient.local)
            output.put(UInt8(ascii: "@"))
            output.put(recipient.domain.name)
            output.put(">")
        }
        output.put(";\r\n\t")
        output.put(date)
        output.put("\r\n")
    }

    /// Letters, digits and what names and literals hold besides; anything else becomes a question mark.
    private static func writeClean(_ name: String, to output: inout OctetWriter) {
        for byte in name.utf8.prefix(255) {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"),
                UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "]"):
                output.put(byte)
            default: output.put(UInt8(ascii: "?"))
            }
        }
    }
}

/// The date of the last message, for the messages of the same second.
private struct DateText: Sendable {
    private var second = Int64.min
    private var text = ""

    mutating func text(_ time: Timestamp) -> String {
        let second = time.milliseconds / 1000
        if second != self.second {
            self.second = second
            text = MailDate.text(time)
        }
        return text
    }
}
