// Domain.swift — the part behind the @, and the names of hosts.

/// A host or mail domain as the DNS knows it, or an address literal such as `[192.0.2.1]`: the one normal form.
///
/// Always ASCII in lower case and without a trailing dot; an internationalised name is its A-labels. Whoever holds a domain
/// holds it so, whichever way it was written where it came in: two domains are the same when their octets are.
/// - Source: RFC 5321 §4.1.2, §4.1.3, RFC 5890 §2.3.2.1, RFC 6531 §3.2
package struct Domain: Hashable, Sendable, CustomStringConvertible {
    /// Octets of a name with U-labels that is worth a look: 253 letters of at most four each.
    private static let longestWritten = 4 * 253

    package let name: String

    /// Takes a name that is known to be in normal form.
    package init(unchecked name: String) { self.name = name }

    /// Takes a name from a record of our own, which was checked before it was written.
    ///
    /// Older versions wrote internationalised names as they came; one that has no A-label stays as it is, and no DNS
    /// knows it.
    package init(stored name: String) {
        self = name.utf8.allSatisfy { $0 < 0x80 } ? Domain(unchecked: name) : Domain(name) ?? Domain(unchecked: name)
    }

    /// Reads a domain or an address literal: U-labels become A-labels, ASCII letters lower case, one trailing dot goes.
    ///
    /// - Returns: nil for an empty label, a label over 63 octets, a name over 253, a hyphen at a label's edge,
    ///   anything but letters, digits, hyphens and underscores (some real hosts have one), a U-label that IDNA does not
    ///   allow, or a literal that is no address.
    package init?(_ text: some StringProtocol) {
        var bytes = Array(text.utf8)
        if bytes.first == UInt8(ascii: "[") {
            guard bytes.last == UInt8(ascii: "]"), let address = IPAddress(literal: text) else { return nil }
            name = address.addressLiteral
            return
        }
        // Plain names, which are nearly all, never come to the library.
        if bytes.contains(where: { $0 >= 0x80 }) {
            guard bytes.count <= Self.longestWritten, let ascii = ASCIIForm.of(String(text)) else { return nil }
            bytes = Array(ascii.utf8)
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
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
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

    /// The address inside `[…]`, or nil for a name.
    package var literal: IPAddress? { name.utf8.first == UInt8(ascii: "[") ? IPAddress(literal: name) : nil }

    /// `b.example` for `a.b.example`; nil when there is no dot left.
    package var parent: Domain? {
        guard literal == nil, let dot = name.utf8.firstIndex(of: UInt8(ascii: ".")) else { return nil }
        return Domain(unchecked: String(name[name.utf8.index(after: dot)...]))
    }
}
