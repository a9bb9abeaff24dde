// HarmlessText.swift — what becomes of text that a peer sent before it may stand in a report.
//
// Guarantees: one line, no control characters, a bounded length. Whoever puts it into a header or a template cannot be
// made to write a second header, a MIME boundary line or a terminal's escape sequence.

/// Text of unknown manners, made fit to be quoted.
enum HarmlessText {
    /// One line of at most `limit` bytes: controls and runs of blanks become one space, what turns the direction of text
    /// is dropped, and a text that was cut ends in three dots.
    static func line(_ text: some StringProtocol, limit: Int) -> String {
        var result = ""
        var length = 0
        var owesBlank = false
        for scalar in text.unicodeScalars {
            if isBlank(scalar) {
                owesBlank = length > 0
                continue
            }
            if isHidden(scalar) { continue }
            let width = UTF8.width(scalar) + (owesBlank ? 1 : 0)
            guard length + width <= limit else { return result + "..." }
            if owesBlank { result.unicodeScalars.append(" ") }
            owesBlank = false
            result.unicodeScalars.append(scalar)
            length += width
        }
        return result
    }

    /// The same with `?` for everything outside ASCII.
    static func asciiLine(_ text: some StringProtocol, limit: Int) -> String {
        String(
            decoding: line(text, limit: limit).unicodeScalars.map { $0.isASCII ? UInt8($0.value) : 0x3F },
            as: UTF8.self
        )
    }

    private static func isBlank(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x00...0x20, 0x7F...0xA0, 0x2028, 0x2029: true
        default: false
        }
    }

    private static func isHidden(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x200E, 0x200F, 0x202A...0x202E, 0x2066...0x2069, 0x061C, 0xFEFF: true
        default: false
        }
    }
}

/// The encoding of DSN parameters (RFC 3461 §4).
enum Xtext {
    /// Decodes `+XX`; what is no valid escape stays as it is.
    static func decode(_ text: some StringProtocol) -> String {
        var result: [UInt8] = []
        var bytes = text.utf8[...]
        while let byte = bytes.popFirst() {
            let pair = bytes.prefix(2).compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
            if byte == UInt8(ascii: "+"), pair.count == 2 {
                result.append(UInt8(pair[0] * 16 + pair[1]))
                bytes = bytes.dropFirst(2)
            } else {
                result.append(byte)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
