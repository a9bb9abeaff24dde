// SocketPlace.swift — an address and a port as the kernel's calls want them; other rooms have types of their own for both.

import Glibc

/// Where a TCP socket listens.
package struct SocketPlace: Hashable, Sendable, CustomStringConvertible {
    /// Four octets of IPv4 or sixteen of IPv6, in network order.
    package let octets: [UInt8]
    package let port: UInt16
    /// IPv6 that leaves IPv4 to others; nobody asks it of a socket that is bound.
    let isV6Only: Bool

    package init(octets: [UInt8], port: UInt16, isV6Only: Bool = false) {
        self.octets = octets
        self.port = port
        self.isV6Only = isV6Only
    }

    /// Where the port and the address stand in `sockaddr_in` and `sockaddr_in6`.
    private static let (portBytes, four, six) = (2..<4, 4..<8, 8..<24)

    /// `192.0.2.1:25`, `[2001:db8::1]:25`.
    package var description: String {
        guard isV6 else { return octets.map { "\($0)" }.joined(separator: ".") + ":\(port)" }
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard inet_ntop(AF_INET6, octets, &text, socklen_t(text.count)) != nil else { return "port \(port)" }
        return "[\(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))]:\(port)"
    }

    var isV6: Bool { octets.count == 16 }
    var family: Int32 { isV6 ? AF_INET6 : AF_INET }

    /// - Returns: the bytes in use.
    func fill(_ storage: inout sockaddr_storage) -> socklen_t {
        storage.ss_family = sa_family_t(family)
        withUnsafeMutableBytes(of: &storage) { bytes in
            bytes[Self.portBytes.lowerBound] = UInt8(truncatingIfNeeded: port >> 8)
            bytes[Self.portBytes.lowerBound + 1] = UInt8(truncatingIfNeeded: port)
            for (index, byte) in zip(isV6 ? Self.six : Self.four, octets) { bytes[index] = byte }
        }
        return socklen_t(isV6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size)
    }

    /// Where a socket is bound; nil for what is no TCP socket.
    init?(of descriptor: Int32) {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let isKnown = withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) == 0 }
        }
        let family = Int32(storage.ss_family)
        guard isKnown, family == AF_INET || family == AF_INET6, Self.kind(of: descriptor) == SOCK_STREAM.rawValue else {
            return nil
        }
        self = withUnsafeBytes(of: &storage) { bytes in
            let number = UInt16(bytes[Self.portBytes.lowerBound]) << 8 | UInt16(bytes[Self.portBytes.lowerBound + 1])
            return SocketPlace(octets: Array(bytes[family == AF_INET6 ? Self.six : Self.four]), port: number)
        }
    }

    private static func kind(of descriptor: Int32) -> UInt32 {
        var kind: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &kind, &size) == 0 else { return 0 }
        return UInt32(bitPattern: kind)
    }
}
