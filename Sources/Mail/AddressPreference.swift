// AddressPreference.swift — IPv4 or IPv6 first.

/// Which family of a host's addresses comes first.
package enum AddressPreference: String, Hashable, Sendable {
    /// The families in turn, beginning with IPv4.
    case any
    /// The families in turn, beginning with IPv6.
    case anyButIPv6First = "any_v6_first"
    /// Every address of the one family before the other's.
    case v4, v6
}
