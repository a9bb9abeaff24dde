// Source.swift — the address that mail leaves from, and the name that goes with it.

/// A binding of `outbound_ip.ini`, or what a note asked for: at most one address of each family.
package struct Source: Hashable, Sendable, CustomStringConvertible {
    package let v4: IPAddress?
    package let v6: IPAddress?
    /// The name to say in EHLO from there; nil is the relay's own.
    package let helo: Domain?

    /// - Returns: nil when two addresses are of one family, or there is neither an address nor a name.
    package init?(_ addresses: [IPAddress], helo: Domain? = nil) {
        let (four, six) = (addresses.filter { !$0.isV6 }, addresses.filter(\.isV6))
        guard four.count <= 1, six.count <= 1, helo != nil || !addresses.isEmpty else { return nil }
        v4 = four.first
        v6 = six.first
        self.helo = helo
    }

    package var addresses: [IPAddress] { [v4, v6].compactMap(\.self) }

    /// Where to connect from to reach `target`; nil leaves it to the operating system.
    package func address(towards target: IPAddress) -> IPAddress? { target.isV6 ? v6 : v4 }

    /// Whether an address of this family can be reached from here.
    ///
    /// Without any address only the name is bound, and both families can.
    package func reaches(_ target: IPAddress) -> Bool {
        v4 == nil && v6 == nil || address(towards: target) != nil
    }

    package var description: String {
        (addresses.map(\.description) + (helo.map { ["(\($0))"] } ?? [])).joined(separator: " ")
    }
}
