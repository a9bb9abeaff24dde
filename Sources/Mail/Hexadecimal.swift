// Hexadecimal.swift — bytes as digits and back: hashes, random names, revisions. Pure.

extension Sequence<UInt8> {
    /// Two small digits a byte.
    package var hexadecimal: String { String(decoding: hexadecimalOctets, as: UTF8.self) }

    /// The same as octets.
    package var hexadecimalOctets: [UInt8] {
        var digits: [UInt8] = []
        digits.reserveCapacity(2 * underestimatedCount)
        for byte in self {
            digits.append(Self.digit(byte >> 4))
            digits.append(Self.digit(byte & 15))
        }
        return digits
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
}

extension [UInt8] {
    /// Reads digits of either case, two a byte, and nothing else: neither a sign nor a blank.
    package init?(hexadecimal text: some StringProtocol) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count / 2)
        var high: UInt8?
        for octet in text.utf8 {
            guard let value = octet.hexadecimalValue else { return nil }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        guard high == nil else { return nil }
        self = bytes
    }
}

extension UInt8 {
    /// The value of a digit; nil for any other octet.
    package var hexadecimalValue: UInt8? {
        switch self {
        case 0x30...0x39: self - 0x30
        case 0x41...0x46: self - 0x37
        case 0x61...0x66: self - 0x57
        default: nil
        }
    }
}
