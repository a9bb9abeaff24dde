// AddressPreference.swift — IPv4 or IPv6 first.

/// Which family of a host's addresses comes first.
package enum AddressPreference: String, Hashable, Sendable {
    case any, v4, v6
}
