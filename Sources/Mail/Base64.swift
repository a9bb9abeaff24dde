// Base64.swift — base64 as SASL, DKIM and MIME write it (RFC 4648 §4).
//
// Guarantees: decoding takes nothing but complete, padded, canonical groups; what decodes encodes to the same text.

/// Octets as letters, and back.
package enum Base64 {
    /// Encodes octets, padded, in one line.
    package static func encode(_ bytes: some Collection<UInt8>) -> String {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        var group: UInt32 = 0
        var count = 0
        for byte in bytes {
            group = group << 8 | UInt32(byte)
            count += 1
            guard count == 3 else { continue }
            for shift: UInt32 in [18, 12, 6, 0] { text.append(letter(group >> shift)) }
            group = 0
            count = 0
        }
        if count == 1 {
            text += [letter(group >> 2), letter(group << 4), UInt8(ascii: "="), UInt8(ascii: "=")]
        } else if count == 2 {
            text += [letter(group >> 10), letter(group >> 4), letter(group << 2), UInt8(ascii: "=")]
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Encodes octets for URLs and JSON signatures, without padding (RFC 4648 §5, RFC 7515 §2).
    package static func urlEncode(_ bytes: some Collection<UInt8>) -> String {
        let text = encode(bytes).utf8.compactMap { octet -> UInt8? in
            switch octet {
            case UInt8(ascii: "+"): UInt8(ascii: "-")
            case UInt8(ascii: "/"): UInt8(ascii: "_")
            case UInt8(ascii: "="): nil
            default: octet
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Undoes ``urlEncode(_:)``; padding may stand behind it.
    ///
    /// - Returns: nil for what it did not write.
    package static func urlDecode(_ text: some StringProtocol) -> [UInt8]? {
        var octets = text.utf8.map { octet in
            switch octet {
            case UInt8(ascii: "-"): UInt8(ascii: "+")
            case UInt8(ascii: "_"): UInt8(ascii: "/")
            default: octet
            }
        }
        while octets.last == UInt8(ascii: "=") { octets.removeLast() }
        while octets.count & 3 != 0 { octets.append(UInt8(ascii: "=")) }
        return decode(octets)
    }

    /// Decodes letters; white space counts as a mistake.
    ///
    /// - Returns: nil for anything but whole groups of four letters with their padding.
    package static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        guard text.count & 3 == 0 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 4 * 3)
        var group: UInt32 = 0
        var count = 0
        var padding = 0
        for character in text {
            if character == UInt8(ascii: "=") {
                padding += 1
                group <<= 6
            } else {
                guard padding == 0, let value = value(character) else { return nil }
                group = group << 6 | value
            }
            count += 1
            guard count == 4 else { continue }
            guard padding <= 2, padding == 0 || group & (padding == 1 ? 0xFF : 0xFFFF) == 0 else { return nil }
            for shift: UInt32 in [16, 8, 0].prefix(3 - padding) {
                bytes.append(UInt8(truncatingIfNeeded: group >> shift))
            }
            group = 0
            count = 0
        }
        return bytes
    }

    private static func letter(_ value: UInt32) -> UInt8 {
        let value = UInt8(truncatingIfNeeded: value & 0x3F)
        switch value {
        case 0...25: return UInt8(ascii: "A") + value
        case 26...51: return UInt8(ascii: "a") + value - 26
        case 52...61: return UInt8(ascii: "0") + value - 52
        case 62: return UInt8(ascii: "+")
        default: return UInt8(ascii: "/")
        }
    }

    private static func value(_ letter: UInt8) -> UInt32? {
        switch letter {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(letter - UInt8(ascii: "A"))
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(letter - UInt8(ascii: "a")) + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(letter - UInt8(ascii: "0")) + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
