// LocalAddress.swift — whether mail can leave from an address: the system is asked, by taking it for a moment.

import Glibc
package import Mail

/// Addresses of this machine.
package enum LocalAddress {
    /// Whether a socket may have this address; nothing is sent.
    ///
    /// Asking the list of interfaces would miss `127.0.0.2` and addresses that the system was told to lend.
    package static let canSendFrom: @Sendable (IPAddress) -> Bool = { address in
        let socket = socket(
            address.isV6 ? AF_INET6 : AF_INET,
            Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
            0
        )
        guard socket >= 0 else { return false }
        defer { close(socket) }
        // The octets by their place in `sockaddr_in` and `sockaddr_in6`.
        var bytes = [UInt8](
            repeating: 0,
            count: address.isV6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size
        )
        let family = UInt16(address.isV6 ? AF_INET6 : AF_INET)
        withUnsafeBytes(of: family) { bytes.replaceSubrange(0..<2, with: $0) }
        let start = address.isV6 ? 8 : 4
        bytes.replaceSubrange(start..<start + address.bytes.count, with: address.bytes)
        return bytes.withUnsafeBytes { raw in
            guard let pointer = raw.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return false }
            return bind(socket, pointer, socklen_t(raw.count)) == 0
        }
    }
}
