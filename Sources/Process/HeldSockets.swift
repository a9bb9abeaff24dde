// HeldSockets.swift — listening sockets that were there before the relay: handed over by systemd (sd_listen_fds(3)), or
// bound as root before root was given up.

import Glibc

/// Sockets to listen on.
package struct HeldSockets: Hashable, Sendable {
    /// One of them.
    package struct Held: Hashable, Sendable {
        package let place: SocketPlace
        /// TLS begins with the first octet.
        package let isTLS: Bool
        package let descriptor: Int32
    }

    /// What the service manager says it hands over: descriptors from 3 on, by their names.
    struct Claim: Hashable {
        /// An empty name for each that has none.
        let names: [String]

        /// - Returns: nil when nothing is handed over, or it is meant for another process.
        /// - Throws: for numbers that no service manager would write.
        init?(_ variables: [String: [UInt8]], process: Int32) throws(ProcessFailure) {
            func text(_ name: String) -> String? { variables[name].map { String(decoding: $0, as: UTF8.self) } }
            guard let count = text("LISTEN_FDS").flatMap({ Int($0) }), count > 0 else { return nil }
            guard let owner = text("LISTEN_PID").flatMap({ Int32($0) }), owner == process else { return nil }
            guard count <= HeldSockets.most else { throw ProcessFailure("LISTEN_FDS is \(count)") }
            let given = (variables["LISTEN_FDNAMES"] ?? [])
                .split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
                .map { String(decoding: $0, as: UTF8.self) }
            names = (0..<count).map { $0 < given.count ? given[$0] : "" }
        }
    }

    /// A service manager that hands over more is mistaken.
    private static let most = 256
    private static let first: Int32 = 3

    package let held: [Held]

    /// What the service manager hands over; nil when it hands nothing over.
    ///
    /// `FileDescriptorName=smtps` means TLS from the first octet; any other name means SMTP with STARTTLS.
    /// - Throws: when one of them is no TCP socket.
    package static func inherited() throws(ProcessFailure) -> HeldSockets? {
        guard let claim = try Claim(ProcessEnvironment.all(), process: getpid()) else { return nil }
        var held: [Held] = []
        for (index, name) in claim.names.enumerated() {
            let descriptor = first + Int32(index)
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            guard let place = SocketPlace(of: descriptor) else {
                throw ProcessFailure("socket \(index + 1) of systemd is no TCP socket")
            }
            held.append(Held(place: place, isTLS: name == "smtps", descriptor: descriptor))
        }
        // They are ours: no child is to believe that they are its own.
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) }
        return HeldSockets(held: held)
    }

    /// Binds every place; nobody is heard before the relay is ready.
    ///
    /// - Throws: when an address is taken, or not ours.
    package static func bound(
        plain: [SocketPlace],
        implicitTLS: [SocketPlace]
    ) throws(ProcessFailure) -> HeldSockets {
        var held: [Held] = []
        for (places, isTLS) in [(plain, false), (implicitTLS, true)] {
            for place in places {
                do throws(Refusal) { held.append(try bind(place, isTLS: isTLS)) } catch {
                    let reason = words(of: error.code, at: place.description)
                    throw ProcessFailure("cannot listen on \(place): \(reason). See [main] listen in smtp.ini.")
                }
            }
        }
        return HeldSockets(held: held)
    }

    /// Why a socket is not bound: errno.
    private struct Refusal: Error {
        let code: Int32
    }

    private static func bind(_ place: SocketPlace, isTLS: Bool) throws(Refusal) -> Held {
        let descriptor = socket(place.family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Refusal(code: errno) }
        var one: Int32 = 1
        let size = socklen_t(MemoryLayout<Int32>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, size)
        if place.isV6 {
            var only: Int32 = place.isV6Only ? 1 : 0
            setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &only, size)
        }
        var storage = sockaddr_storage()
        let length = place.fill(&storage)
        let isBound = withUnsafePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.bind(descriptor, $0, length) == 0 }
        }
        guard isBound else {
            let refusal = Refusal(code: errno)
            close(descriptor)
            throw refusal
        }
        return Held(place: SocketPlace(of: descriptor) ?? place, isTLS: isTLS, descriptor: descriptor)
    }

    /// Why an address cannot be had, and what could be done.
    ///
    /// - Parameters:
    ///   - code: errno.
    ///   - address: without or with its port.
    package static func words(of code: Int32, at address: String) -> String {
        let reason = strerror(code).map { String(cString: $0) } ?? "error \(code)"
        let remedy =
            switch code {
            case EACCES, EPERM: "; ports below 1024 are root's: [main] user in smtp.ini, or CAP_NET_BIND_SERVICE"
            case EADDRINUSE: "; is another server running there?"
            case EADDRNOTAVAIL: "; no interface of this machine has \(address)"
            default: ""
            }
        return reason + remedy
    }

    /// Why nobody could listen at a place now; nil: somebody could.
    ///
    /// A socket of ours that is being closed is waited for. Blocks, for half a second at most.
    package static func obstacle(at place: SocketPlace) -> String? {
        var reason: String?
        for attempt in 0..<10 {
            if attempt > 0 { usleep(50_000) }
            do throws(Refusal) {
                close(try bind(place, isTLS: false).descriptor)
                return nil
            } catch {
                reason = words(of: error.code, at: place.description)
            }
        }
        return reason
    }
}
