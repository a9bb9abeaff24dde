// TextPart.swift — a text/plain body that any next hop takes: seven bits as it is, everything else quoted-printable.

import NIOCore

/// The body of a text part, already encoded.
struct TextPart {
    /// The value of Content-Transfer-Encoding.
    let encoding: String
    let body: ByteBuffer

    /// Encodes lines given without their ends; each gets CRLF.
    ///
    /// - Source: RFC 2045 §6.7, RFC 5322 §2.1.1
    init(_ lines: [String]) {
        let isPlain = lines.allSatisfy { line in
            line.utf8.count <= 998 && line.utf8.allSatisfy { 0x20...0x7E ~= $0 || $0 == 0x09 }
        }
        var body = ByteBuffer()
        for line in lines {
            if isPlain {
                body.writeString("\(line)\r\n")
            } else {
                QuotedPrintable.write("\(line)\n", guardsLineStarts: false, to: &body)
            }
        }
        encoding = isPlain ? "7bit" : "quoted-printable"
        self.body = body
    }
}
