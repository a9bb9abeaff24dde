// IPAddress.swift — IPv4 and IPv6 addresses and networks as values.

import Glibc

/// An address of either family: 4 or 16 bytes in network order.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// Both families in one shape: an IPv4 address is stored as `::ffff:a.b.c.d`.
    private let high: UInt64
    private let low: UInt64
    package let isV6: Bool

    /// Takes bytes in network order.
    ///
    /// - Returns: nil unless there are 4 or 16 of them. A v4-mapped IPv6 address becomes the IPv4 address it means.
    package init?(bytes: some Collection<UInt8>) {
        switch bytes.count {
        case 4:
            isV6 = false
            high = 0
            low = bytes.reduce(0xFFFF) { $0 << 8 | UInt64($1) }
        case 16:
            high = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
            low = bytes.dropFirst(8).reduce(0) { $0 << 8 | UInt64($1) }
            isV6 = !(high == 0 && low >> 32 == 0xFFFF)
        default:
            return nil
        }
    }

    /// Reads `192.0.2.1` or `2001:db8::1`, without brackets and without a zone.
    package init?(_ text: some StringProtocol) {
        // Most texts are names; they are told apart without a system library.
        guard text.utf8.allSatisfy(Self.occursInAddresses) else { return nil }
        var four = in_addr()
        var six = in6_addr()
        let string = String(text)
        if inet_pton(AF_INET, string, &four) == 1 {
            self.init(bytes: withUnsafeBytes(of: &four) { Array($0) })
        } else if inet_pton(AF_INET6, string, &six) == 1 {
            self.init(bytes: withUnsafeBytes(of: &six) { Array($0) })
        } else {
            return nil
        }
    }

    /// Digits, hexadecimal ones too, dots and colons.
    private static func occursInAddresses(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: ":"), UInt8(ascii: "."), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default:
            false
        }
    }

    /// Reads an address literal: `[192.0.2.1]`, `[IPv6:2001:db8::1]`, also `[2001:db8::1]` as people write it in routes.
    ///
    /// - Source: RFC 5321 §4.1.3
    package init?(literal text: some StringProtocol) {
        guard text.utf8.first == UInt8(ascii: "["), text.ends(withOctets: "]"), text.utf8.count > 2 else { return nil }
        var inner = Substring(Substring(text).utf8.dropFirst().dropLast())
        if Substring(inner.utf8.prefix(5)).lowercasedASCII == "ipv6:" { inner = inner.dropping(octets: 5) }
        self.init(inner)
    }

    /// 4 or 16 bytes in network order.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(16)
        forEachByte { bytes.append($0) }
        return bytes
    }

    /// Its bytes in network order.
    func forEachByte(_ take: (UInt8) -> Void) {
        if isV6 { for shift in stride(from: 56, through: 0, by: -8) { take(UInt8(truncatingIfNeeded: high >> shift)) } }
        let first = isV6 ? 56 : 24
        for shift in stride(from: first, through: 0, by: -8) { take(UInt8(truncatingIfNeeded: low >> shift)) }
    }

    package var description: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let raw = bytes
        inet_ntop(isV6 ? AF_INET6 : AF_INET, raw, &text, socklen_t(text.count))
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// `192.0.2.1`, or `[2001:db8::1]` for use before a port.
    package var bracketed: String { isV6 ? "[\(self)]" : description }

    /// The form of `Received` and EHLO: `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    ///
    /// - Source: RFC 5321 §4.1.3
    package var addressLiteral: String { isV6 ? "[IPv6:\(self)]" : "[\(self)]" }

    package var isLoopback: Bool { isV6 ? high == 0 && low == 1 : low >> 24 & 0xFF == 127 }

    /// `0.0.0.0/8` or `::`: never a destination.
    package var isUnspecified: Bool { isV6 ? high == 0 && low == 0 : low >> 24 & 0xFF == 0 }

    /// Who this is, as far as limits go: an IPv4 address, or the first 64 bits of an IPv6 address, which one customer has.
    ///
    /// An IPv4 address inside an IPv6 one is that IPv4 address: v4-mapped (which no value of this type keeps), and behind
    /// the well-known prefix of translators, or all of IPv4 would be one subscriber.
    /// - Source: RFC 6052 §2.1
    package var subscriber: IPAddress {
        guard isV6, !isLoopback else { return self }
        if high == 0x0064_FF9B_0000_0000, low >> 32 == 0 {
            return IPAddress(high: 0, low: 0xFFFF << 32 | low, isV6: false)
        }
        return IPAddress(high: high, low: 0, isV6: true)
    }

    private init(high: UInt64, low: UInt64, isV6: Bool) {
        self.high = high
        self.low = low
        self.isV6 = isV6
    }

    fileprivate func matches(_ other: IPAddress, prefix: Int) -> Bool {
        guard isV6 == other.isV6 else { return false }
        // The stored form of an IPv4 address has 96 bits in front of its own 32.
        let bits = isV6 ? prefix : prefix + 96
        let highMask = bits >= 64 ? UInt64.max : bits == 0 ? 0 : UInt64.max << UInt64(64 - bits)
        let lowMask = bits <= 64 ? 0 : bits >= 128 ? UInt64.max : UInt64.max << UInt64(128 - bits)
        return (high ^ other.high) & highMask == 0 && (low ^ other.low) & lowMask == 0
    }
}

/// A network in CIDR form: `10.0.0.0/8`, `2001:db8::/32`; a bare address is a network of one.
///
/// As Postfix writes them, too: `[2001:db8::]/32`, and `[::ffff:127.0.0.0]/104`, which is 127.0.0.0/8.
package struct IPNetwork: Hashable, Sendable, CustomStringConvertible {
    package let address: IPAddress
    /// Leading bits that count: 0…32 or 0…128.
    package let prefix: Int

    package init?(_ text: some StringProtocol) {
        let parts = text.split(octet: "/", maxSplits: 1, omittingEmpty: false)
        guard let first = parts.first else { return nil }
        let inner = Self.unbracketed(Substring(first))
        guard let address = IPAddress(inner) else { return nil }
        let width = address.isV6 ? 128 : 32
        // Bits that an IPv4 address has in front of it where it is written as one of IPv6.
        let shift = !address.isV6 && inner.utf8.contains(UInt8(ascii: ":")) ? 96 : 0
        var prefix = width
        if parts.count == 2 {
            guard parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let count = Int(parts[1]),
                (shift...width + shift).contains(count)
            else {
                return nil
            }
            prefix = count - shift
        }
        self.address = address
        self.prefix = prefix
    }

    private static func unbracketed(_ text: Substring) -> Substring {
        guard text.utf8.first == UInt8(ascii: "["), text.ends(withOctets: "]"), text.utf8.count > 2 else { return text }
        let inner = Substring(text.utf8.dropFirst().dropLast())
        return inner.utf8.contains(UInt8(ascii: ":")) ? inner : text
    }

    /// A network by an address in it.
    ///
    /// - Parameter prefix: leading bits that count; more than there are stand for all.
    package init(_ address: IPAddress, prefix: Int) {
        self.address = address
        self.prefix = min(max(prefix, 0), address.isV6 ? 128 : 32)
    }

    /// Whether the address lies in this network; one of the other family never does.
    package func contains(_ other: IPAddress) -> Bool { address.matches(other, prefix: prefix) }

    package var description: String { "\(address)/\(prefix)" }
}
