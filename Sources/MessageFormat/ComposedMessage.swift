// ComposedMessage.swift — a message made from its parts: what `POST /v1/messages` takes as JSON becomes RFC 5322 and MIME.
//
// Guarantees: every line ends in CRLF and has at most 998 octets, the result is 7-bit ASCII, and nothing a part holds can
// begin a header field, a MIME part or another message.

import Mail
package import NIOCore

/// A message before it is text.
package struct ComposedMessage: Sendable {
    /// A file.
    package struct Attachment: Sendable {
        package let name: String
        /// Such as `application/pdf`.
        package let type: String
        package let bytes: [UInt8]
        /// For pictures that the HTML shows as `cid:…`.
        package let contentID: String?

        package init(name: String, type: String, bytes: [UInt8], contentID: String? = nil) {
            self.name = name
            self.type = type
            self.bytes = bytes
            self.contentID = contentID
        }
    }

    package var from: Mailbox
    package var to: [Mailbox] = []
    package var cc: [Mailbox] = []
    package var replyTo: [Mailbox] = []
    package var subject = ""
    package var text: String?
    package var html: String?
    /// Further fields; names and values were checked with ``isFieldName(_:)`` and hold no line ends.
    package var fields: [(name: String, value: String)] = []
    package var attachments: [Attachment] = []

    package init(from: Mailbox) { self.from = from }

    /// Whether a name may stand in front of a field, and is not one that the message makes itself.
    ///
    /// - Source: RFC 5322 §2.2
    package static func isFieldName(_ name: String) -> Bool {
        let own: Set<String> = [
            "from", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "mime-version", "content-type",
            "content-transfer-encoding", "content-disposition", "content-id", "received", "return-path", "sender",
            "dkim-signature",
        ]
        return (1...76).contains(name.utf8.count) && name.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x3A }
            && !own.contains(name.lowercasedASCII)
    }

    /// Whether a text is `type/subtype`.
    package static func isMediaType(_ text: String) -> Bool {
        let parts = text.split(octet: "/", omittingEmpty: false)
        return parts.count == 2 && text.utf8.count <= 100
            && !["multipart", "message"].contains(parts[0].lowercasedASCII)
            && parts.allSatisfy { part in
                !part.isEmpty
                    && part.utf8.allSatisfy { byte in
                        switch byte {
                        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                            UInt8(ascii: "0")...UInt8(ascii: "9"):
                            true
                        default: "!#$&-^_.+".utf8.contains(byte)
                        }
                    }
            }
    }

    /// The text; Date and Message-ID come with the rest of the prologue.
    package func make() -> ByteBuffer {
        var out = ByteBuffer()
        out.reserveCapacity(mostBytes)
        out.writeString(EncodedWords.field("From", from.field))
        for (name, list) in [("To", to), ("Cc", cc), ("Reply-To", replyTo)] where !list.isEmpty {
            out.writeString(EncodedWords.field(name, list.map(\.field).joined(separator: ", ")))
        }
        out.writeString(EncodedWords.field("Subject", EncodedWords.text(subject)))
        for (name, value) in fields { out.writeString(EncodedWords.field(name, EncodedWords.text(value))) }
        out.writeString("MIME-Version: 1.0\r\n")
        MIMEPart(self).write(to: &out)
        return out
    }
}

/// A part of a message: a leaf, or several parts.
private indirect enum MIMEPart {
    case text(String, subtype: String)
    case file(ComposedMessage.Attachment)
    case several([MIMEPart], subtype: String)

    init(_ message: ComposedMessage) {
        var body: [MIMEPart] = []
        if message.text != nil || message.html == nil { body.append(.text(message.text ?? "", subtype: "plain")) }
        if let html = message.html {
            let shown = message.attachments.filter { $0.contentID != nil }
            let part = MIMEPart.text(html, subtype: "html")
            body.append(shown.isEmpty ? part : .several([part] + shown.map(MIMEPart.file), subtype: "related"))
        }
        let whole = body.count == 1 ? body[0] : .several(body, subtype: "alternative")
        let files = message.attachments.filter { $0.contentID == nil || message.html == nil }
        self = files.isEmpty ? whole : .several([whole] + files.map(MIMEPart.file), subtype: "mixed")
    }

    func write(to out: inout ByteBuffer) {
        switch self {
        case .text(let text, let subtype):
            out.writeString("Content-Type: text/\(subtype); charset=utf-8\r\n")
            out.writeString("Content-Transfer-Encoding: quoted-printable\r\n\r\n")
            QuotedPrintable.write(text, to: &out)
        case .file(let file):
            out.writeString("Content-Type: \(file.type)\r\nContent-Transfer-Encoding: base64\r\n")
            let kind = file.contentID == nil ? "attachment" : "inline"
            out.writeString("Content-Disposition: \(kind);\r\n \(Self.parameter("filename", file.name))\r\n")
            if let id = file.contentID { out.writeString("Content-ID: <\(id)>\r\n") }
            out.writeString("\r\n")
            // 57 bytes are a line of 76 letters.
            for start in stride(from: 0, to: file.bytes.count, by: 57) {
                out.writeString(Base64.encode(file.bytes[start..<min(start + 57, file.bytes.count)]))
                out.writeString("\r\n")
            }
        case .several(let parts, let subtype):
            // Encoded parts cannot hold it: neither encoding leaves `=_` in a line's text.
            let boundary =
                "=_\(String(UInt64.random(in: 0 ... .max), radix: 36))\(String(UInt64.random(in: 0 ... .max), radix: 36))"
            out.writeString("Content-Type: multipart/\(subtype);\r\n boundary=\"\(boundary)\"\r\n\r\n")
            for part in parts {
                out.writeString("--\(boundary)\r\n")
                part.write(to: &out)
                out.writeString("\r\n")
            }
            out.writeString("--\(boundary)--\r\n")
        }
    }

    /// A parameter of a field; names beyond ASCII as RFC 2231 writes them.
    private static func parameter(_ name: String, _ value: String) -> String {
        let short = String(value.prefix(60))
        let isPlain = short.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != 0x22 && $0 != 0x5C }
        if isPlain { return "\(name)=\"\(short)\"" }
        return "\(name)*=UTF-8''\(PercentEncoding.encoded(short))"
    }
}
