// LocalAddresses.swift — the addresses of this machine's interfaces, to recognise mail that would come back to us.

import Glibc
import Mail

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
