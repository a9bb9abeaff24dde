// ComposedMessage+Size.swift — how large a message becomes, known before it is made.

extension ComposedMessage {
    /// Bytes that ``make()`` takes at most.
    ///
    /// Close to the truth for text and files: what is counted is what the encodings do to each byte.
    package var mostBytes: Int {
        // An encoded word takes three bytes for two of a name, and has 20 around each 40.
        let named = ([from] + to + cc + replyTo).reduce(0) { $0 + 3 * $1.name.utf8.count + 320 }
        let written = fields.reduce(3 * subject.utf8.count + 80) {
            $0 + $1.name.utf8.count + 3 * $1.value.utf8.count + 80
        }
        let files = attachments.reduce(0) { $0 + ($1.bytes.count / 57 + 1) * 78 + 1024 }
        return 4096 + named + written + Self.quoted(text) + Self.quoted(html) + files
    }

    /// Bytes of a text as quoted-printable, at most.
    private static func quoted(_ text: String?) -> Int {
        guard let text else { return 0 }
        var bytes = 4
        var last: UInt8 = 0x0A
        for byte in text.utf8 {
            let isFirst = last == 0x0A || last == 0x0D
            switch byte {
            case 0x0A, 0x0D: bytes += last == 0x20 || last == 0x09 ? 4 : 2
            case UInt8(ascii: "."), UInt8(ascii: "F"): bytes += isFirst ? 3 : 1
            case 0x09, 0x20...0x3C, 0x3E...0x7E: bytes += 1
            default: bytes += 3
            }
            last = byte
        }
        // A soft break takes three for each 73, and may bring a letter to the beginning of a line.
        return bytes + bytes / 73 * 5
    }
}
