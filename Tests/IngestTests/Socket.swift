// Socket.swift — a client of the plainest kind: a blocking socket with a time limit.

import Glibc
import NIOCore
import TestSupport

/// One connection to 127.0.0.1.
final class Socket {
    struct Failed: Error, CustomStringConvertible {
        let description: String
    }

    private let descriptor: Int32
    private var buffer: [UInt8] = []
    private var ended = false

    /// - Parameters:
    ///   - receiveBuffer: bytes of the kernel's receive buffer; nil leaves it alone.
    ///   - limit: seconds that a read may take; long, since it only ends tests that hang.
    init(port: UInt16, limit: Int = 600, receiveBuffer: Int32? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Failed(description: "socket: errno \(errno)") }
        var time = timeval(tv_sec: limit, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
        if var receiveBuffer { setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, 4) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            close(descriptor)
            throw Failed(description: "connect: errno \(errno)")
        }
    }

    deinit { close(descriptor) }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failed(description: "send: errno \(errno)") }
            sent += count
        }
    }

    /// How much could be sent before the peer stopped taking it for a moment.
    func sendUntilFull(_ bytes: [UInt8], atMost limit: Int, patience: Int32 = 300) -> Int {
        var sent = 0
        while sent < limit {
            var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            guard poll(&ready, 1, patience) == 1 else { return sent }
            let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
            let count = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, flags) }
            guard count > 0 else { return sent }
            sent += count
        }
        return sent
    }

    /// Waits for the server to say something, or so many milliseconds: the pace of a slow client.
    func awaitInput(atMost milliseconds: Int32) {
        var ready = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        _ = poll(&ready, 1, milliseconds)
    }

    /// The next line without its CRLF; nil at the end, or when none comes in time.
    func line() -> String? {
        while true {
            if let end = buffer.firstIndex(of: 10) {
                let line = String(decoding: buffer[..<end].dropLast(), as: UTF8.self)
                buffer.removeFirst(end + 1)
                return line
            }
            guard receive() else { return nil }
        }
    }

    /// The lines of one reply.
    func reply() -> [String] {
        var lines: [String] = []
        while let line = line() {
            lines.append(line)
            if !line.dropFirst(3).hasPrefix("-") { break }
        }
        return lines
    }

    /// Whether the peer closes without saying more.
    func isAtEnd() -> Bool {
        while buffer.isEmpty, receive() {}
        return ended && buffer.isEmpty
    }

    /// Closes at once, with a reset.
    func reset() {
        var linger = Glibc.linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        shutdown(descriptor, Int32(SHUT_RDWR))
    }

    private func receive() -> Bool {
        var block = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &block, block.count, 0)
        if count > 0 {
            buffer += block[..<count]
        } else {
            ended = count == 0 || errno == ECONNRESET
        }
        return count > 0
    }
}
