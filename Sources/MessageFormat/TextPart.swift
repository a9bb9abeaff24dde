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
            if isPlain { body.writeString(line) } else { Self.quote(line, into: &body) }
            body.writeStaticString("\r\n")
        }
        encoding = isPlain ? "7bit" : "quoted-printable"
        self.body = body
    }

    private static func quote(_ line: String, into body: inout ByteBuffer) {
        let bytes = Array(line.utf8)
        var column = 0
        for (index, byte) in bytes.enumerated() {
            let isLast = index == bytes.count - 1
            let isLiteral = (0x21...0x7E ~= byte && byte != 0x3D) || ((byte == 0x20 || byte == 0x09) && !isLast)
            let width = isLiteral ? 1 : 3
            // 76 characters, of which the soft break takes one unless the line ends here.
            if column + width > (isLast ? 76 : 75) {
                body.writeStaticString("=\r\n")
                column = 0
            }
            if isLiteral {
                body.writeInteger(byte)
            } else {
                body.writeInteger(UInt8(ascii: "="))
                body.writeInteger(digits[Int(byte >> 4)])
                body.writeInteger(digits[Int(byte & 15)])
            }
            column += width
        }
    }

    private static let digits = Array("0123456789ABCDEF".utf8)
}
