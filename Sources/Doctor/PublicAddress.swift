// PublicAddress.swift — whether the world can see an address (the special-purpose registries of IANA, RFC 6890).

import Mail

/// Addresses that are routed on the Internet, and those that are not.
enum PublicAddress {
    private static let others = [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
        "::/8", "100::/64", "2001:db8::/32", "fc00::/7", "fe80::/10", "ff00::/8",
    ].compactMap { IPNetwork($0) }

    static func isPublic(_ address: IPAddress) -> Bool { !others.contains { $0.contains(address) } }
}
