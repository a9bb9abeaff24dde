// IPAddress+Public.swift — whether the world can see an address (the special-purpose registries of IANA, RFC 6890).
//
// Who examines our own addresses and who guards against being sent to an inner one ask the same question.

extension IPAddress {
    private static let inner = [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3",
        // Of IPv6 only 2000::/3 is given out; in it, protocols (Teredo too), documentation, and 6to4, behind which any
        // address of IPv4 may be.
        "::/3", "4000::/2", "8000::/1", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    ].compactMap { IPNetwork($0) }

    /// The address is routed on the Internet: it is neither private, loopback, link-local, unique local, shared, multicast,
    /// documentation nor reserved.
    ///
    /// An IPv4 address inside an IPv6 one (mapped, or behind the well-known prefix of translators) is that IPv4 address.
    /// - Source: RFC 6890, RFC 6052 §2.1
    package var isPublic: Bool {
        let address = subscriber.isV6 ? self : subscriber
        return !Self.inner.contains { $0.contains(address) }
    }
}
