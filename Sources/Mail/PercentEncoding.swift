// PercentEncoding.swift — text in URLs and in parameters of header fields: octets as `%41`, and back (RFC 3986 §2.1).

/// Octets as `%XX`.
package enum PercentEncoding {
    /// A path segment or a query word: everything but letters, digits and `-._~` is written as octets (RFC 3986 §2.3).
    ///
    /// - Parameter others: further ASCII characters that stay as they are, where their place gives them no meaning.
    package static func encoded(_ text: some StringProtocol, keeping others: StaticString = "") -> String {
        encoded(octets: text.utf8, keeping: others)
    }

    /// Octets of any kind.
    package static func encoded(octets: some Sequence<UInt8>, keeping others: StaticString = "") -> String {
        let kept = UnsafeBufferPointer(start: others.utf8Start, count: others.utf8CodeUnitCount)
        var out: [UInt8] = []
        for byte in octets {
            if isUnreserved(byte) || kept.contains(byte) {
                out.append(byte)
            } else {
                out += [UInt8(ascii: "%"), digit(byte >> 4), digit(byte & 15)]
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// Undoes it, once.
    ///
    /// - Returns: nil for an escape without two hexadecimal digits, and for what is no UTF-8.
    package static func decoded(_ text: some StringProtocol) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8.makeIterator()
        while let byte = rest.next() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.next()?.hexadecimalValue, let low = rest.next()?.hexadecimalValue else { return nil }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            true
        default: false
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x37 + value }
}
