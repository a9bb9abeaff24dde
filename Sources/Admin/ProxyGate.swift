// ProxyGate.swift — a listener of the API behind a balancer: accepts by itself, reads the PROXY header of each connection, and hands the
// connection on with the address that was told.
//
// The library accepts and reads by itself otherwise, and its interface knows nothing of the protocol. The header is looked at before it
// is taken (`MSG_PEEK`), so that the octets behind it stay where the library reads them. Guarantees: only balancers get in; a header has
// a time and a length; so many connections without one at once, the oldest of which make room.

import Config
import Glibc
import Mail
import NIOCore
import SMTP
import Storage
import Synchronization

/// Connections of balancers on their way to the library.
final class ProxyGate: Sendable {
    /// What takes a connection; the descriptor is its.
    typealias Taker = @Sendable (_ socket: Int32, _ client: IPAddress, _ port: UInt16) -> Void
    /// Hears why somebody was turned away.
    typealias Complaint = @Sendable (_ balancer: IPAddress?, _ reason: String) -> Void

    /// Milliseconds for the whole header, which is in the balancer's first packet.
    private static let patience: Int64 = 10_000
    /// Milliseconds until a header that is not complete is looked at again.
    private static let glance: Int64 = 20
    /// Connections without a header at once.
    private static let most = 64
    /// Octets of the longest header, and one more.
    private static let longest = 4200

    /// A connection whose header is to come.
    private struct Guest {
        let socket: Int32
        let balancer: IPAddress
        let port: UInt16
        let ends: Int64
        /// Part of a header is there: nothing is looked at before.
        var looksAt: Int64 = 0
    }

    private let listener: Int32
    /// A pipe: its end that is read, and the one that wakes.
    private let wake: (reads: Int32, writes: Int32)
    private let balancers: [IPNetwork]
    private let take: Taker
    private let complain: Complaint
    private let thread = Mutex<SpoolThread?>(nil)

    /// - Parameter listener: a listening socket, which is the gate's from now on.
    /// - Returns: nil when the system has no thread or descriptor for it.
    init?(_ listener: Int32, _ balancers: [IPNetwork], complain: @escaping Complaint, take: @escaping Taker) {
        var ends: [Int32] = [-1, -1]
        let isMade = pipe(&ends) == 0
        wake = (ends[0], ends[1])
        (self.listener, self.balancers, self.take, self.complain) = (listener, balancers, take, complain)
        guard isMade else { return nil }
        for descriptor in [listener] + ends { Self.prepare(descriptor) }
        guard let thread = SpoolThread({ [self] in run() }) else { return nil }
        self.thread.withLock { $0 = thread }
    }

    /// Takes nobody any more; connections that were handed on are not touched.
    func stop() {
        let thread = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        guard let thread else { return }
        close(wake.writes)
        thread.join()
        close(wake.reads)
        close(listener)
    }

    /// Never blocks, and is nobody else's.
    private static func prepare(_ descriptor: Int32) {
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    }

    private func run() {
        var guests: [Guest] = []
        while true {
            let now = Uptime.now().milliseconds
            var places = [pollfd(fd: wake.reads, events: Int16(POLLIN), revents: 0)]
            places.append(pollfd(fd: listener, events: Int16(POLLIN), revents: 0))
            for guest in guests {
                places.append(pollfd(fd: guest.looksAt > now ? -1 : guest.socket, events: Int16(POLLIN), revents: 0))
            }
            let next = guests.map { $0.looksAt > now ? min($0.looksAt, $0.ends) : $0.ends }.min()
            let wait = next.map { Int32(clamping: max(0, $0 - now)) } ?? -1
            guard poll(&places, nfds_t(places.count), wait) >= 0 || errno == EINTR else { break }
            if places[0].revents != 0 { break }
            let time = Uptime.now().milliseconds
            var left: [Guest] = []
            for (guest, place) in zip(guests, places.dropFirst(2)) {
                if let guest = look(guest, isReady: place.revents != 0, at: time) { left.append(guest) }
            }
            guests = left
            if places[1].revents != 0 { accept(&guests, at: time) }
        }
        for guest in guests { close(guest.socket) }
    }

    private func accept(_ guests: inout [Guest], at now: Int64) {
        while true {
            var address = sockaddr_storage()
            var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let socket = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.accept(listener, $0, &size)
                }
            }
            guard socket >= 0 else {
                // Without a descriptor for it the connection waits; not in a circle.
                if errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM { usleep(100_000) }
                return
            }
            Self.prepare(socket)
            let balancer = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { IPAddress($0) }
            }
            guard let balancer, balancers.contains(where: { $0.contains(balancer) }) else {
                complain(balancer, "no balancer of proxy_networks")
                close(socket)
                continue
            }
            let port = withUnsafeBytes(of: &address) {
                UInt16(bigEndian: $0.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
            }
            if guests.count >= Self.most { close(guests.removeFirst().socket) }
            guests.append(Guest(socket: socket, balancer: balancer, port: port, ends: now + Self.patience))
        }
    }

    /// Looks for the header at the front of what arrived.
    ///
    /// - Returns: the connection, where more has to come.
    private func look(_ guest: Guest, isReady: Bool, at now: Int64) -> Guest? {
        guard isReady else {
            guard now >= guest.ends else { return guest }
            return refuse(guest, "its PROXY header did not come in time")
        }
        var octets = [UInt8](repeating: 0, count: Self.longest)
        let count = recv(guest.socket, &octets, octets.count, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
        guard count > 0 else {
            if count < 0, errno == EAGAIN || errno == EINTR { return guest }
            close(guest.socket)
            return nil
        }
        var (guest, input) = (guest, ByteBuffer(bytes: octets.prefix(count)))
        do throws(ProxyHeader.Fault) {
            guard let header = try ProxyHeader.take(&input) else {
                guard now < guest.ends else { return refuse(guest, "its PROXY header did not come in time") }
                guest.looksAt = now + Self.glance
                return guest
            }
            let length = count - input.readableBytes
            guard recv(guest.socket, &octets, length, Int32(MSG_DONTWAIT)) == length else {
                return refuse(guest, "its PROXY header is gone")
            }
            switch header {
            case .client(let address, let port): take(guest.socket, address, port)
            case .itself, .unknown: take(guest.socket, guest.balancer, guest.port)
            }
            return nil
        } catch {
            return refuse(guest, error.text)
        }
    }

    private func refuse(_ guest: Guest, _ reason: String) -> Guest? {
        complain(guest.balancer, reason)
        close(guest.socket)
        return nil
    }
}
