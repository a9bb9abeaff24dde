// UTF8Check.swift — which bytes above 127 may stand in a log line as they are (RFC 3629, and what terminals obey).

/// Decoding by hand, because a value may hold anything a peer sent.
enum UTF8Check {
    /// True when every byte may stand in a text line without quotes: visible ASCII without quote, backslash and `=`,
    /// and valid UTF-8 that is harmless to show.
    static func isBare(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index < bytes.count {
            switch bytes[index] {
            case 0x22, 0x3D, 0x5C: return false
            case 0x21...0x7E: index += 1
            case 0x80...0xFF:
                let (scalar, length) = decode(bytes[index...])
                guard let scalar, isPrintable(scalar) else { return false }
                index += length
            default: return false
            }
        }
        return true
    }

    /// False for C1 controls, line and paragraph separators and the marks that turn the direction of text.
    static func isPrintable(_ scalar: UInt32) -> Bool {
        switch scalar {
        case 0x80...0x9F, 0x2028...0x202E, 0x2066...0x2069, 0x200E, 0x200F, 0x061C, 0xFEFF: false
        default: true
        }
    }

    /// The scalar at the front of `bytes`, which is not empty, and its length; nil for what is no shortest-form UTF-8.
    static func decode(_ bytes: Slice<UnsafeRawBufferPointer>) -> (scalar: UInt32?, length: Int) {
        let first = bytes[bytes.startIndex]
        let length: Int
        var scalar: UInt32
        let least: UInt32
        switch first {
        case 0x00...0x7F: return (UInt32(first), 1)
        case 0xC2...0xDF: (length, scalar, least) = (2, UInt32(first & 0x1F), 0x80)
        case 0xE0...0xEF: (length, scalar, least) = (3, UInt32(first & 0x0F), 0x800)
        case 0xF0...0xF4: (length, scalar, least) = (4, UInt32(first & 0x07), 0x10000)
        default: return (nil, 1)
        }
        guard bytes.count >= length else { return (nil, 1) }
        for byte in bytes.dropFirst().prefix(length - 1) {
            guard byte & 0xC0 == 0x80 else { return (nil, 1) }
            scalar = scalar << 6 | UInt32(byte & 0x3F)
        }
        let isSurrogate = (0xD800...0xDFFF).contains(scalar)
        return scalar >= least && scalar <= 0x10FFFF && !isSurrogate ? (scalar, length) : (nil, 1)
    }
}
