// ServerSocket.swift — what the servers of the tests stand on: a port of loopback, and a thread of their own.

import Glibc

enum ServerSocket {
    /// A socket at a free port of 127.0.0.1.
    static func atAnyPort(_ type: __socket_type) throws -> (socket: Int32, port: UInt16) {
        let socket = Glibc.socket(AF_INET, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw TestFileError("ServerSocket", "no socket") }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, length) == 0 && getsockname(socket, $0, &length) == 0
            }
        }
        guard isBound else { throw TestFileError("ServerSocket", "cannot bind") }
        return (socket, UInt16(bigEndian: address.sin_port))
    }

    /// Runs `serve` on a thread; a read from the socket ends after 50 ms, so that the thread can see that it is to stop.
    static func serve(_ socket: Int32, _ serve: @escaping @Sendable () -> Void) throws {
        var pause = timeval(tv_sec: 0, tv_usec: 50_000)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &pause, socklen_t(MemoryLayout<timeval>.size))
        var thread = pthread_t()
        let work = Unmanaged.passRetained(Work(run: serve))
        let code = pthread_create(
            &thread,
            nil,
            { argument in
                if let argument { Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            },
            work.toOpaque()
        )
        guard code == 0 else {
            work.release()
            throw TestFileError("ServerSocket", "no thread")
        }
        pthread_detach(thread)
    }

    private final class Work: Sendable {
        let run: @Sendable () -> Void

        init(run: @escaping @Sendable () -> Void) { self.run = run }
    }
}
