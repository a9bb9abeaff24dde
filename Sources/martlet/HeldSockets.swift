// HeldSockets.swift — listening sockets that were there before the relay: handed over by systemd (sd_listen_fds(3)), or
// bound as root before root was given up.

import Config
import Glibc
import Mail

/// Sockets to listen on.
struct HeldSockets: Sendable {
    struct Held: Sendable {
        let address: ListenAddress
        /// TLS begins with the first octet.
        let isTLS: Bool
        let descriptor: Int32
    }

    let held: [Held]

    /// What the service manager hands over; nil when it hands nothing over.
    ///
    /// `FileDescriptorName=smtps` means TLS from the first octet; any other name means SMTP with STARTTLS.
    /// - Throws: when one of them is no listening TCP socket.
    static func inherited() throws -> HeldSockets? {
        guard let pid = number("LISTEN_PID"), pid == Int(getpid()), let count = number("LISTEN_FDS"), count > 0 else {
            return nil
        }
        guard count <= 256 else { throw CommandFailure("LISTEN_FDS is \(count)") }
        let names = getenv("LISTEN_FDNAMES").map { String(cString: $0) } ?? ""
        let all = names.split(separator: ":", omittingEmptySubsequences: false)
        var held: [Held] = []
        for index in 0..<count {
            let descriptor = Int32(3 + index)
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            guard let address = address(of: descriptor) else {
                throw CommandFailure("socket \(index + 1) of systemd is no TCP socket")
            }
            held.append(
                Held(address: address, isTLS: index < all.count && all[index] == "smtps", descriptor: descriptor)
            )
        }
        // They are ours: no child is to believe that they are its own.
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) }
        return HeldSockets(held: held)
    }

    /// Binds every address of `smtp.ini`; nobody is heard before the relay is ready.
    ///
    /// - Throws: when an address is taken, or not ours.
    static func bound(_ settings: ListenerSettings) throws -> HeldSockets {
        let plain = try settings.listen.map { try bind($0, isTLS: false) }
        return HeldSockets(held: plain + (try settings.smtpsListen.map { try bind($0, isTLS: true) }))
    }

    private static func bind(_ address: ListenAddress, isTLS: Bool) throws -> Held {
        let family = address.ip.isV6 ? AF_INET6 : AF_INET
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw failure(address) }
        var one: Int32 = 1
        let size = socklen_t(MemoryLayout<Int32>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, size)
        if address.ip.isV6 { setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &one, size) }
        var storage = sockaddr_storage()
        let length = fill(&storage, address)
        let isBound = withUnsafePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.bind(descriptor, $0, length) == 0 }
        }
        guard isBound else {
            let error = failure(address)
            close(descriptor)
            throw error
        }
        return Held(address: Self.address(of: descriptor) ?? address, isTLS: isTLS, descriptor: descriptor)
    }

    private static func failure(_ address: ListenAddress) -> CommandFailure {
        CommandFailure(
            "cannot listen on \(address): \(String(cString: strerror(errno))); see [main] listen in smtp.ini"
        )
    }

    private static func number(_ name: String) -> Int? { getenv(name).flatMap { Int(String(cString: $0)) } }

    /// Where the port and the address stand in `sockaddr_in` and `sockaddr_in6`.
    private static let (port, four, six) = (2..<4, 4..<8, 8..<24)

    private static func fill(_ storage: inout sockaddr_storage, _ address: ListenAddress) -> socklen_t {
        storage.ss_family = sa_family_t(address.ip.isV6 ? AF_INET6 : AF_INET)
        withUnsafeMutableBytes(of: &storage) { bytes in
            bytes[port.lowerBound] = UInt8(truncatingIfNeeded: address.port >> 8)
            bytes[port.lowerBound + 1] = UInt8(truncatingIfNeeded: address.port)
            let place = address.ip.isV6 ? six : four
            for (index, byte) in zip(place, address.ip.bytes) { bytes[index] = byte }
        }
        return socklen_t(address.ip.isV6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size)
    }

    private static func address(of descriptor: Int32) -> ListenAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let isKnown = withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) == 0 }
        }
        let family = Int32(storage.ss_family)
        guard isKnown, family == AF_INET || family == AF_INET6 else { return nil }
        return withUnsafeBytes(of: &storage) { bytes in
            let number = UInt16(bytes[port.lowerBound]) << 8 | UInt16(bytes[port.lowerBound + 1])
            return IPAddress(bytes: bytes[family == AF_INET6 ? six : four]).map { ListenAddress(ip: $0, port: number) }
        }
    }
}
