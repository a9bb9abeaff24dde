// ServiceNotice.swift — telling the service manager how we are (sd_notify(3)): one datagram to the socket in NOTIFY_SOCKET.

import Glibc

/// A message to systemd, or to whoever else set NOTIFY_SOCKET; without it nothing happens.
package enum ServiceNotice: Hashable, Sendable {
    case ready, stopping
    /// The main thread still turns, for `WatchdogSec=`; and what `systemctl status` shows.
    case alive(status: String)

    /// Sends it.
    package func send() { send(to: Self.place) }

    /// NOTIFY_SOCKET as it was at start.
    private static let place = ProcessEnvironment.all()["NOTIFY_SOCKET"] ?? []

    /// The lines of the datagram.
    var text: String {
        switch self {
        case .ready: "READY=1"
        case .stopping: "STOPPING=1"
        case .alive(let status):
            // A line end would begin another assignment.
            "WATCHDOG=1\nSTATUS=" + String(status.unicodeScalars.map { $0.value < 0x20 ? " " : Character($0) })
        }
    }

    func send(to place: [UInt8]) {
        var path = place
        var address = sockaddr_un()
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard let first = path.first, first == UInt8(ascii: "/") || first == UInt8(ascii: "@"), path.count < capacity
        else {
            return
        }
        // `@` stands for the zero byte of the abstract name space.
        if first == UInt8(ascii: "@") { path[0] = 0 }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        let length = socklen_t(MemoryLayout.offset(of: \sockaddr_un.sun_path).map { $0 + path.count } ?? 0)
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        _ = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL), $0, length)
            }
        }
    }
}
