// Doctor+Milters.swift — whether milters answer where `milters.ini` says, and are milters.

import Config
import Departure
import Glibc
import Mail
import Milter
import NIOCore

extension Doctor {
    /// Milliseconds for one milter.
    private static let milterPatience: Int32 = 3000

    /// Connects to each and negotiates, as a message would; nothing is shown to it.
    static func milters(_ patient: Patient) -> [Finding] {
        patient.settings.milters.map { milter in
            if case .inet(let host, _) = milter.place, IPAddress(host) == nil {
                return Finding(.skipped, "milter \(milter.name)", "\(milter.place): a name is not looked up here")
            }
            do throws(MilterFault) {
                let terms = try MilterProbe.ask(milter.place, within: milterPatience)
                return Finding(
                    .good,
                    "milter \(milter.name)",
                    "\(milter.place) speaks version \(terms.version) of the protocol"
                )
            } catch {
                let meaning =
                    switch milter.absence {
                    case .accept: "mail goes on without it"
                    case .tempfail: "mail waits with its senders"
                    case .reject: "mail is refused"
                    case .quarantine: "mail is held"
                    }
                return Finding(
                    .bad,
                    "milter \(milter.name)",
                    "\(milter.place): \(error.text); \(meaning)",
                    "See [\(milter.name)] socket and default in milters.ini."
                )
            }
        }
    }
}

/// A conversation with a milter that ends with its beginning.
enum MilterProbe {
    /// Blocks for at most so many milliseconds.
    ///
    /// - Throws: why there is no milter.
    static func ask(_ place: MilterSettings.Place, within milliseconds: Int32) throws(MilterFault) -> MilterTerms {
        let socket = try connect(place)
        defer { close(socket) }
        var output = ByteBuffer()
        MilterMachine.negotiate(&output)
        let sent = output.withUnsafeReadableBytes {
            send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard sent == output.readableBytes else { throw MilterFault(.lost, errorText(errno)) }
        var input = ByteBuffer()
        let end = ContinuousClock.now + .milliseconds(milliseconds)
        while true {
            if let terms = try MilterMachine.negotiated(&input) { return terms }
            var waiting = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            let left = Int32((end - ContinuousClock.now) / .milliseconds(1))
            guard left > 0, poll(&waiting, 1, left) > 0 else { throw MilterFault(.late, "no answer in time") }
            let count = input.writeWithUnsafeMutableBytes(minimumWritableBytes: 4096) {
                max(0, recv(socket, $0.baseAddress, 4096, 0))
            }
            guard count > 0 else { throw MilterFault(.lost, "it closed the connection at once") }
        }
    }

    private static func connect(_ place: MilterSettings.Place) throws(MilterFault) -> Int32 {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        switch place {
        case .unix(let path):
            let socket = Glibc.socket(AF_UNIX, kind, 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { room in
                for (index, octet) in path.utf8.prefix(room.count - 1).enumerated() { room[index] = octet }
            }
            let code = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            return try checked(socket, code)
        case .inet(let host, let port):
            guard let ip = IPAddress(host) else {
                throw MilterFault(.unreachable, "the doctor knows addresses here, and no names")
            }
            let socket = Glibc.socket(ip.isV6 ? AF_INET6 : AF_INET, kind, 0)
            return try checked(socket, SocketAddresses.with(ip, port: port) { Glibc.connect(socket, $0, $1) })
        }
    }

    private static func checked(_ socket: Int32, _ code: Int32) throws(MilterFault) -> Int32 {
        let reason = errno
        guard code == 0 else {
            close(socket)
            throw MilterFault(.unreachable, errorText(reason))
        }
        return socket
    }

    private static func errorText(_ code: Int32) -> String {
        strerror(code).map { String(cString: $0) } ?? "error \(code)"
    }
}
