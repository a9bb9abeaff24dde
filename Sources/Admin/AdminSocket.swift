// AdminSocket.swift — a listening socket of our own: the library gets its descriptor, so that a Unix socket works as TCP does.

import Config
import Files
import Glibc
import Mail

/// Why the API cannot listen somewhere.
package struct ListenFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
    /// Another process has the address.
    package let isTaken: Bool
}

/// A socket that listens.
struct AdminSocket {
    /// Connections that wait to be accepted.
    private static let backlog: Int32 = 64

    let descriptor: Int32
    /// The port in use; 0 for a Unix socket.
    let port: UInt16

    /// Listens on an address; port 0 lets the system choose.
    ///
    /// - Parameter places: everything that is listened to, this place included.
    init(_ address: ListenAddress, among places: [ListenAddress]) throws(ListenFailure) {
        let (ip, port) = (address.ip, address.port)
        let family = ip.isV6 ? AF_INET6 : AF_INET
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Self.failure("\(ip)") }
        var one: Int32 = 1
        let size = socklen_t(MemoryLayout<Int32>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, size)
        if ip.isV6 {
            var only: Int32 = address.isV6Only(among: places) ? 1 : 0
            setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &only, size)
        }
        let result = ip.withSocketAddress(port: port) { bind(descriptor, $0, $1) }
        guard result == 0, listen(descriptor, Self.backlog) == 0 else {
            let failure = Self.failure("\(ip.bracketed):\(port)")
            Glibc.close(descriptor)
            throw failure
        }
        self.descriptor = descriptor
        self.port = Self.boundPort(descriptor) ?? port
    }

    /// Listens on a path; a socket that an earlier relay left there is removed, and nothing else ever is.
    ///
    /// - Parameters:
    ///   - mode: permission bits of the socket's file.
    ///   - data: the data directory.
    init(path: String, mode: UInt32, data: String, disk: any Disk) throws(ListenFailure) {
        var address = sockaddr_un()
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw ListenFailure(description: "the path of the socket is longer than Linux allows", isTaken: false)
        }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        do throws(DiskError) {
            try Self.removeStale(path, address, data: data, disk)
        } catch {
            throw ListenFailure(description: "\(error)", isTaken: false)
        }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Self.failure(path) }
        // Closed to others from the first moment on: a socket's file gets the mode that its descriptor has.
        fchmod(descriptor, mode & 0o600)
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
        }
        guard result == 0, chmod(path, mode) == 0, listen(descriptor, Self.backlog) == 0 else {
            let failure = Self.failure(path)
            Glibc.close(descriptor)
            throw failure
        }
        self.descriptor = descriptor
        port = 0
    }

    /// Removes a socket of ours that nobody listens at; whatever else is there stays, and binding fails for it.
    private static func removeStale(
        _ path: String,
        _ address: sockaddr_un,
        data: String,
        _ disk: any Disk
    ) throws(DiskError) {
        guard let there = try disk.status(path, following: false), there.kind == .socket,
            try isOurs(path, there.owner, data: data, disk), !isAnswered(address)
        else { return }
        try disk.unlink(path)
    }

    /// Whether a socket is one that a relay left.
    ///
    /// It is where the last relay said it was, whoever that ran as; or it is our user's, in the data directory or in a
    /// directory of the user's own. Root's are many, so for root the last says nothing.
    private static func isOurs(
        _ path: String,
        _ owner: UInt32,
        data: String,
        _ disk: any Disk
    ) throws(DiskError) -> Bool {
        if let left = RunningRelay.read(in: data, disk)?.socketPath(in: data), left.isSame(octets: path) { return true }
        guard owner == geteuid(), let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return false }
        let directory = String(path[..<slash])
        if directory.isSame(octets: data) { return true }
        guard geteuid() != 0 else { return false }
        return try disk.status(directory, following: true)?.owner == geteuid()
    }

    /// Whether somebody listens there.
    private static func isAnswered(_ address: sockaddr_un) -> Bool {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return true }
        defer { Glibc.close(descriptor) }
        return withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0 || errno != ECONNREFUSED
            }
        }
    }

    private static func boundPort(_ descriptor: Int32) -> UInt16? {
        var address = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
        }
        guard result == 0 else { return nil }
        // Both families have their port in the same place.
        return withUnsafeBytes(of: &address) { UInt16(bigEndian: $0.loadUnaligned(fromByteOffset: 2, as: UInt16.self)) }
    }

    private static func failure(_ place: String) -> ListenFailure {
        let code = errno
        return ListenFailure(description: "\(place): \(String(cString: strerror(code)))", isTaken: code == EADDRINUSE)
    }
}

extension IPAddress {
    /// The address as the system has it, with its size.
    func withSocketAddress<Result>(
        port: UInt16,
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var storage = sockaddr_storage()
        return withUnsafeMutablePointer(to: &storage) { pointer in
            if isV6 {
                pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { address in
                    address.pointee.sin6_family = sa_family_t(AF_INET6)
                    address.pointee.sin6_port = port.bigEndian
                    inet_pton(AF_INET6, description, &address.pointee.sin6_addr)
                }
            } else {
                pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { address in
                    address.pointee.sin_family = sa_family_t(AF_INET)
                    address.pointee.sin_port = port.bigEndian
                    inet_pton(AF_INET, description, &address.pointee.sin_addr)
                }
            }
            let size = isV6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size
            return pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(size)) }
        }
    }

    /// The address of a peer; nil for a Unix socket.
    init?(_ address: UnsafePointer<sockaddr>) {
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            self.init(bytes: UnsafeRawBufferPointer(start: UnsafeRawPointer(address) + 4, count: 4))
        case AF_INET6:
            self.init(bytes: UnsafeRawBufferPointer(start: UnsafeRawPointer(address) + 8, count: 16))
        default:
            return nil
        }
    }
}
