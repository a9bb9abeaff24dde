// Domain.swift — the part behind the @, and the names of hosts.

/// A host or mail domain in lower case, without a trailing dot, or an address literal such as `[192.0.2.1]`.
///
/// Names may hold UTF-8 (RFC 6531); whoever looks them up in the DNS needs ``isASCII``.
/// - Source: RFC 5321 §4.1.2, §4.1.3
package struct Domain: Hashable, Sendable, CustomStringConvertible {
    package let name: String

    /// Takes a name that is known to be valid and in lower case, for constants and for records that were checked when
    /// they were written.
    package init(unchecked name: String) { self.name = name }

    /// Reads a domain or an address literal, lower-casing ASCII letters and dropping one trailing dot.
    ///
    /// - Returns: nil for an empty label, a label over 63 octets, a name over 253, a hyphen at a label's edge,
    ///   anything but letters, digits, hyphens and underscores (some real hosts have one), or a literal that is no address.
    package init?(_ text: some StringProtocol) {
        var bytes = Array(text.utf8)
        if bytes.first == UInt8(ascii: "[") {
            guard bytes.last == UInt8(ascii: "]"), let address = IPAddress(literal: text) else { return nil }
            name = address.addressLiteral
            return
        }
        if bytes.last == UInt8(ascii: ".") { bytes.removeLast() }
        guard (1...253).contains(bytes.count) else { return nil }
        var label = 0
        var previous = UInt8(ascii: ".")
        for index in bytes.indices {
            let byte = bytes[index]
            switch byte {
            case UInt8(ascii: "."):
                guard label > 0, previous != UInt8(ascii: "-") else { return nil }
                label = 0
            case UInt8(ascii: "-"):
                guard label > 0 else { return nil }
                label += 1
            case UInt8(ascii: "A")...UInt8(ascii: "Z"):
                bytes[index] = byte | 0x20
                label += 1
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"),
                0x80...0xFF:
                label += 1
            default:
                return nil
            }
            guard label <= 63 else { return nil }
            previous = byte
        }
        guard label > 0, previous != UInt8(ascii: "-") else { return nil }
        name = String(decoding: bytes, as: UTF8.self)
    }

    package var description: String { name }

    /// False for an internationalised name that is not yet an A-label.
    package var isASCII: Bool { name.utf8.allSatisfy { $0 < 0x80 } }

    /// The address inside `[…]`, or nil for a name.
    package var literal: IPAddress? { name.hasPrefix("[") ? IPAddress(literal: name) : nil }

    /// `b.example` for `a.b.example`; nil when there is no dot left.
    package var parent: Domain? {
        guard literal == nil, let dot = name.firstIndex(of: ".") else { return nil }
        return Domain(unchecked: String(name[name.index(after: dot)...]))
    }
}
