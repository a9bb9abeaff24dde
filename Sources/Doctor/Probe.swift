// Probe.swift — whether anybody takes a connection, at several places at once.

import Config
import Departure
import Glibc
import Mail

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
