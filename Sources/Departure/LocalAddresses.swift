// LocalAddresses.swift — the addresses of this machine's interfaces, to recognise mail that would come back to us.

import Glibc
import Mail
import Synchronization

/// The addresses of this machine's interfaces, as they were a moment ago.
///
/// Asking the kernel for them takes a tenth of what a connection costs that is refused.
final class InterfaceAddresses: Sendable {
    private struct Known: Sendable {
        var until = Uptime(milliseconds: .min)
        var addresses: Set<IPAddress> = []
    }

    /// Milliseconds that an answer is good for: interfaces come and go.
    private static let life: Int64 = 1000

    private let known = Mutex(Known())
    private let ask: @Sendable () -> Set<IPAddress>

    /// - Parameter ask: asks the kernel.
    init(_ ask: @escaping @Sendable () -> Set<IPAddress> = localAddresses) { self.ask = ask }

    func addresses(at now: Uptime) -> Set<IPAddress> {
        known.withLock { known in
            if now >= known.until { known = Known(until: now.adding(milliseconds: Self.life), addresses: ask()) }
            return known.addresses
        }
    }
}

/// Every IPv4 and IPv6 address of an interface that is up.
///
/// Asks the kernel each time: interfaces come and go.
func localAddresses() -> Set<IPAddress> {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0 else { return [] }
    defer { freeifaddrs(list) }
    var found: Set<IPAddress> = []
    var next = list
    while let entry = next {
        next = entry.pointee.ifa_next
        guard let address = entry.pointee.ifa_addr else { continue }
        // The octets of the address by their place in `sockaddr_in` and `sockaddr_in6`: naming the members would need
        // the module of NIO in which the release build finds the types.
        let place: Range<Int>
        switch Int32(address.pointee.sa_family) {
        case AF_INET: place = 4..<8
        case AF_INET6: place = 8..<24
        default: continue
        }
        let bytes = UnsafeRawBufferPointer(start: UnsafeRawPointer(address), count: place.upperBound)
        if let ip = IPAddress(bytes: UnsafeRawBufferPointer(rebasing: bytes[place])) { found.insert(ip) }
    }
    return found
}
