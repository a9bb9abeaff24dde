// JournalReport.swift — the copy of a message that an archive gets: the envelope in words, and the message as it is.
//
// Guarantees: the message stands in it octet for octet as its next hops get it; the envelope is complete, secret copies
// included; nothing that the message or its envelope holds can end a field or a part.
// Source: RFC 2045, RFC 2046 §5.2.1; the fields and words that archives know from Exchange's journal reports.

package import Mail
package import NIOCore

/// A copy for an archive.
package struct JournalReport: Sendable {
    /// The field that every copy has.
    package static let field = "X-Martlet-Archive"

    /// The copy's own name.
    package let id: QueueID
    /// The message's.
    package let original: QueueID
    package let me: Domain
    package let archives: [EmailAddress]
    package let envelope: Envelope
    package let at: Timestamp
    /// What is known of the message's header.
    package let glance: Glance
    /// Values of ``field``: ours, and those that the message came with.
    package let marks: [String]
    private let boundary: String

    /// What is known of a message's header.
    package struct Glance: Hashable, Sendable {
        /// `Message-ID` with its brackets; nil: none that can be told.
        package var messageID: String?
        /// Behind the colon; nil: none that can be told.
        package var subject: String?
        /// Values of ``JournalReport/field``, as they came; a few of them.
        package var marks: [String] = []

        package init() {}

        /// Reads a header.
        package init(of header: [UInt8]) {
            let name = JournalReport.field.lowercasedASCII
            for field in HeaderFields(header).fields {
                switch field.name {
                case "message-id": messageID = messageID ?? Self.text(field)
                case "subject": subject = subject ?? Self.text(field)
                case name where marks.count < 8: if let mark = Self.text(field) { marks.append(mark) }
                default: continue
                }
            }
        }

        /// A value in one line of printable ASCII; nil when it is none, or too long.
        private static func text(_ field: HeaderFields.Field) -> String? {
            let unfolded = field.value.filter { $0 != 0x0D && $0 != 0x0A }.map { $0 == 0x09 ? 0x20 : $0 }
            guard unfolded.count <= 900, unfolded.allSatisfy({ (0x20...0x7E).contains($0) }) else { return nil }
            return String(String(decoding: unfolded, as: UTF8.self).trimmed)
        }
    }

    package init(
        _ id: QueueID,
        of original: QueueID,
        me: Domain,
        to archives: [EmailAddress],
        _ envelope: Envelope,
        at: Timestamp,
        _ glance: Glance,
        marks: [String]
    ) {
        self.id = id
        self.original = original
        self.me = me
        self.archives = archives
        self.envelope = envelope
        self.at = at
        self.glance = glance
        self.marks = marks
        let random = (UInt64.random(in: 0 ... .max), UInt64.random(in: 0 ... .max))
        boundary = "=_\(String(random.0, radix: 36))\(String(random.1, radix: 36))"
    }

    /// Some octet of it is above 127, whatever the message holds.
    package var isEightBit: Bool { !words.utf8.allSatisfy { $0 < 0x80 } }

    /// What stands in front of the message.
    ///
    /// - Parameter prologue: the fields that the relay puts in front of the message itself.
    package func beginning(before prologue: ByteBuffer, isEightBit: Bool) -> ByteBuffer {
        let encoding = isEightBit || self.isEightBit ? "8bit" : "7bit"
        var out = ByteBuffer()
        for mark in marks { out.writeString("\(Self.field): \(mark)\r\n") }
        out.writeString("X-MS-Journal-Report: \r\n")
        out.writeString("From: <postmaster@\(me)>\r\nTo: ")
        out.writeString(archives.map { "<\($0)>" }.joined(separator: ",\r\n "))
        out.writeString("\r\nSubject: \(glance.subject ?? "")\r\nMessage-ID: <\(id)@\(me)>\r\n")
        out.writeString("Date: \(MailDate.text(at))\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n")
        out.writeString("Content-Type: multipart/mixed;\r\n boundary=\"\(boundary)\"\r\n")
        out.writeString("Content-Transfer-Encoding: \(encoding)\r\n\r\n--\(boundary)\r\n")
        out.writeString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: \(encoding)\r\n\r\n")
        out.writeString(words)
        out.writeString("\r\n--\(boundary)\r\n")
        out.writeString("Content-Type: message/\(envelope.needsUTF8 ? "global" : "rfc822")\r\n")
        out.writeString("Content-Transfer-Encoding: \(encoding)\r\n\r\n")
        out.writeImmutableBuffer(prologue)
        return out
    }

    /// What stands behind the message.
    package var ending: [UInt8] { Array("\r\n--\(boundary)--\r\n".utf8) }

    /// The envelope in words, a line for each recipient.
    private var words: String {
        var text = "Sender: \(envelope.sender)\r\n"
        text += "Message-Id: \(glance.messageID ?? "<\(original)@\(me)>")\r\n"
        for recipient in envelope.recipients { text += "Recipient: \(recipient.address)\r\n" }
        text += "Queue-Id: \(original)\r\n"
        if let client = envelope.notes.client { text += "Client: \(client)\r\n" }
        if let user = envelope.user { text += "Login: \(HarmlessText.line(user, limit: 255))\r\n" }
        return text
    }

    /// The envelope as fields in front of the message itself.
    ///
    /// - Parameter prologue: the fields that the relay puts in front of the message.
    package func fields(before prologue: ByteBuffer) -> ByteBuffer {
        var out = ByteBuffer()
        for mark in marks.prefix(1) { out.writeString("\(Self.field): \(mark)\r\n") }
        out.writeString("X-Envelope-From: <\(envelope.sender)>\r\n")
        for recipient in envelope.recipients { out.writeString("X-Envelope-To: <\(recipient.address)>\r\n") }
        out.writeImmutableBuffer(prologue)
        return out
    }
}
