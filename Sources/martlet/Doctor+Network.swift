// Doctor+Network.swift — the way out: ports that a provider blocks, IPv6 without a route, the smart host.

import Config
import DNS
import Glibc
import Mail

extension Doctor {
    /// Milliseconds to wait for connections, all of them together.
    private static let patience: Int32 = 5000

    /// Ports 25, 465 and 587, of each family that the probed host has and this machine has a route for.
    static func network(_ patient: Patient, _ resolver: UnboundResolver) async -> [Finding] {
        var findings: [Finding] = []
        if !AddressOrder.hasIPv6Route() {
            findings.append(
                Finding(.odd, "IPv6", "this machine has no route: only IPv4 is used", "Fine, unless you expected IPv6.")
            )
        }
        guard patient.probe != "none", let host = Domain(patient.probe) else { return findings }
        let addresses = (try? await resolver.addresses(of: host, preference: .any))?.value ?? []
        guard !addresses.isEmpty else {
            return findings + [Finding(.skipped, "ports", "\(patient.probe) has no address to try")]
        }
        let families = [addresses.first { !$0.isV6 }, addresses.first { $0.isV6 && AddressOrder.hasIPv6Route() }]
        let places = families.compactMap(\.self).flatMap { address in
            [25, 465, 587].map { ListenAddress(ip: address, port: UInt16($0)) }
        }
        let reached = Probe.connect(places, within: patience)
        for (place, trouble) in zip(places, reached) where place.port == 25 || trouble == nil {
            let family = place.ip.isV6 ? "IPv6" : "IPv4"
            findings.append(
                Finding(
                    trouble == nil ? .good : patient.settings.routes.hasSmartHost ? .odd : .bad,
                    "port \(place.port), \(family)",
                    trouble.map { "\(patient.probe) [\(place.ip)]: \($0)" } ?? "open",
                    "The provider of this machine blocks it: ask for it to be opened, or send through a smart host."
                )
            )
        }
        return findings
    }

    /// Each host of `[*]`: reachable, and a mail server.
    static func smartHost(_ patient: Patient, _ resolver: UnboundResolver) async -> [Finding] {
        var findings: [Finding] = []
        for mx in patient.settings.routes.smartHosts where !mx.exchange.hasPrefix("/") {
            let place = "\(mx.exchange):\(mx.port)"
            guard let host = Domain(mx.exchange),
                let addresses = try? await resolver.addresses(of: host, preference: .any).value
            else {
                findings.append(
                    Finding(.bad, "smart host", "\(mx.exchange) has no address", "Correct its name in routes.ini.")
                )
                continue
            }
            let places = addresses.map { ListenAddress(ip: $0, port: mx.port) }
            let troubles = Probe.connect(places, within: patience)
            let isReached = troubles.contains { $0 == nil }
            let trouble = troubles.compactMap(\.self).first ?? ""
            findings.append(
                Finding(
                    isReached ? .good : .bad,
                    "smart host",
                    isReached ? "\(place) answers" : "\(place): \(trouble)",
                    "A wrong port, a firewall, or the server is down."
                )
            )
        }
        return findings
    }
}

extension Routes {
    /// The hosts of `[*]`.
    var smartHosts: [MX] { route(named: "*")?.hosts ?? [] }

    var hasSmartHost: Bool { !smartHosts.isEmpty }
}

/// Connections that are made and closed.
enum Probe {
    /// For each place nil when it took the connection, else why not.
    static func connect(_ places: [ListenAddress], within milliseconds: Int32) -> [String?] {
        var results: [String?] = places.map { _ in "no answer" }
        var waiting: [pollfd] = places.map { _ in pollfd(fd: -1, events: Int16(POLLOUT), revents: 0) }
        defer { for one in waiting where one.fd >= 0 { close(one.fd) } }
        for (index, place) in places.enumerated() {
            let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            let socket = Glibc.socket(place.ip.isV6 ? AF_INET6 : AF_INET, kind, 0)
            guard socket >= 0 else { continue }
            let code = SocketAddresses.with(place.ip, port: place.port) { Glibc.connect(socket, $0, $1) }
            if code == 0 || errno == EINPROGRESS {
                waiting[index].fd = socket
            } else {
                results[index] = String(cString: strerror(errno))
                close(socket)
            }
        }
        let end = ContinuousClock.now + .milliseconds(milliseconds)
        while waiting.contains(where: { $0.fd >= 0 }) {
            let left = Int32((end - ContinuousClock.now) / .milliseconds(1))
            guard left > 0, poll(&waiting, nfds_t(waiting.count), left) > 0 else { break }
            for index in waiting.indices where waiting[index].fd >= 0 && waiting[index].revents != 0 {
                var code: Int32 = 0
                var length = socklen_t(MemoryLayout<Int32>.size)
                getsockopt(waiting[index].fd, SOL_SOCKET, SO_ERROR, &code, &length)
                results[index] = code == 0 ? nil : String(cString: strerror(code))
                close(waiting[index].fd)
                waiting[index].fd = -1
            }
        }
        return results
    }
}
