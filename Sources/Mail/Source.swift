// Source.swift — the address that mail leaves from, and the name that goes with it.

/// A binding of `outbound_ip.ini`, or what a note asked for: at most one address of each family.
package struct Source: Hashable, Sendable, CustomStringConvertible {
    package let v4: IPAddress?
    package let v6: IPAddress?
    /// The name to say in EHLO from there; nil is the relay's own.
    package let helo: Domain?
    /// The pool that it is of; nil: it was chosen by itself.
    package let pool: String?

    /// - Returns: nil when two addresses are of one family, or there is neither an address nor a name.
    package init?(_ addresses: [IPAddress], helo: Domain? = nil, pool: String? = nil) {
        let (four, six) = (addresses.filter { !$0.isV6 }, addresses.filter(\.isV6))
        guard four.count <= 1, six.count <= 1, helo != nil || !addresses.isEmpty else { return nil }
        v4 = four.first
        v6 = six.first
        self.helo = helo
        self.pool = pool
    }

    /// Some address of a pool: which one, the queue decides message by message.
    ///
    /// - Parameter helo: the name to say from each of them; nil: each its own.
    package init(anyOf pool: String, helo: Domain? = nil) {
        (v4, v6, self.helo, self.pool) = (nil, nil, helo, pool)
    }

    /// An address of the pool is still to be chosen.
    package var isAnyOfPool: Bool { pool != nil && v4 == nil && v6 == nil }

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
        (addresses.map(\.description) + (helo.map { ["(\($0))"] } ?? []) + (pool.map { ["of pool \($0)"] } ?? []))
            .joined(separator: " ")
    }
}
