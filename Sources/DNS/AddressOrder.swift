// AddressOrder.swift — which of a host's addresses is tried first.

import Glibc
package import Mail

/// Orders addresses of both families.
package enum AddressOrder {
    /// More addresses of one host than this are not tried.
    package static let most = 16

    /// `v4` and `v6` put their family in front.
    ///
    /// The others take the families in turn, so that neither is out of reach behind many dead ones of the other; without
    /// a route for IPv6 it comes last.
    ///
    /// Within a family the given order holds: it is the server's rotation.
    package static func arrange(
        _ addresses: [IPAddress],
        preference: AddressPreference,
        hasIPv6Route: Bool
    ) -> [IPAddress] {
        var seen: Set<IPAddress> = []
        let unique = addresses.filter { seen.insert($0).inserted }
        let four = unique.filter { !$0.isV6 }
        let six = unique.filter(\.isV6)
        switch preference {
        case .v4: return Array((four + six).prefix(most))
        case .v6: return Array((six + four).prefix(most))
        case .any where hasIPv6Route: return Array(inTurn(four, six).prefix(most))
        case .anyButIPv6First where hasIPv6Route: return Array(inTurn(six, four).prefix(most))
        case .any, .anyButIPv6First: return Array((four + six).prefix(most))
        }
    }

    private static func inTurn(_ first: [IPAddress], _ second: [IPAddress]) -> [IPAddress] {
        var ordered: [IPAddress] = []
        for index in 0..<max(first.count, second.count) {
            if index < first.count { ordered.append(first[index]) }
            if index < second.count { ordered.append(second[index]) }
        }
        return ordered
    }

    /// Whether the machine would send to a public IPv6 address at all.
    ///
    /// Asks the routing table; nothing is sent.
    package static func hasIPv6Route() -> Bool {
        let socket = socket(AF_INET6, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return false }
        defer { close(socket) }
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = UInt16(53).bigEndian
        // 2001:500:2::c, a root server.
        let bytes: [UInt8] = [0x20, 0x01, 0x05, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0C]
        withUnsafeMutableBytes(of: &address.sin6_addr) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in6>.size)) == 0
            }
        }
    }
}
