// SystemSources.swift — what the system knows about addresses: which one mail would leave from, and what it is called.

package import Glibc
package import Mail

/// What the system knows about addresses.
package enum SystemSources {
    /// The address that this machine would send from, of each family that has a route; nothing is sent.
    package static func addresses() -> [IPAddress] {
        ["192.0.2.1", "2001:db8::1"].compactMap { IPAddress($0) }.compactMap { Self.source(towards: $0) }
    }

    /// The address that it would send from to another one; nil without a route.
    package static func source(towards address: IPAddress) -> IPAddress? {
        let socket = Glibc.socket(address.isV6 ? AF_INET6 : AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        guard socket >= 0 else { return nil }
        defer { close(socket) }
        return SocketAddresses.with(address, port: 53) { target, size -> IPAddress? in
            guard connect(socket, target, size) == 0 else { return nil }
            var storage = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let isNamed = withUnsafeMutablePointer(to: &storage) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket, $0, &length) == 0 }
            }
            guard isNamed else { return nil }
            return withUnsafeBytes(of: &storage) { bytes in
                IPAddress(bytes: address.isV6 ? bytes[8..<24] : bytes[4..<8])
            }
        }
    }

    /// The reverse name, by the system's resolver.
    ///
    /// Blocks.
    package static func name(of address: IPAddress) -> String? {
        SocketAddresses.with(address, port: 0) { target, size in
            var name = [CChar](repeating: 0, count: 1025)
            guard getnameinfo(target, size, &name, 1025, nil, 0, NI_NAMEREQD) == 0 else { return nil }
            return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }
}

/// Addresses as system calls want them.
package enum SocketAddresses {
    /// Calls with the address as the system has it.
    package static func with<Result>(
        _ address: IPAddress,
        port: UInt16,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var storage = sockaddr_storage()
        let size = address.isV6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size
        withUnsafeMutableBytes(of: &storage) { bytes in
            // sa_family, then the port in network order; the address behind it, and behind the flow label with IPv6.
            bytes.storeBytes(of: sa_family_t(address.isV6 ? AF_INET6 : AF_INET), as: sa_family_t.self)
            bytes.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
            for (index, byte) in address.bytes.enumerated() { bytes[(address.isV6 ? 8 : 4) + index] = byte }
        }
        return withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(size)) }
        }
    }
}
