// HTTPServer.swift — an HTTP server on loopback, or on a Unix socket, that answers what a test wants, valid or not.

import Glibc
import Mail
import Synchronization

/// Serves one connection at a time, each for as many requests as come; what it read is kept.
package final class HTTPServer: Sendable {
    /// The raw bytes to answer with, given a whole request.
    package typealias Answer = @Sendable (String) -> String

    private struct State {
        var requests: [String] = []
        var connections = 0
        var isStopped = false
    }

    /// 0 on a Unix socket.
    package let port: UInt16
    private let socket: Int32
    private let answer: Answer
    private let state = Mutex(State())

    /// - Parameter path: listen on this Unix socket instead of a port of loopback.
    package init(path: String? = nil, answer: @escaping Answer) throws {
        self.answer = answer
        (socket, port) = try path.map { (try Self.bindPath($0), 0) } ?? ServerSocket.atAnyPort(SOCK_STREAM)
        guard listen(socket, 16) == 0 else { throw TestFileError("HTTPServer", "cannot listen") }
        try ServerSocket.serve(socket) { self.serve() }
    }

    /// Every request so far, heads and bodies.
    package var requests: [String] { state.withLock { $0.requests } }

    /// Connections so far.
    package var connections: Int { state.withLock { $0.connections } }

    /// Ends the thread within a moment.
    package func stop() { state.withLock { $0.isStopped = true } }

    /// An answer with status 200 and a length.
    package static func ok(_ body: String, headers: String = "") -> String {
        "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\(headers)\r\n\(body)"
    }

    private static func bindPath(_ path: String) throws -> Int32 {
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw TestFileError("HTTPServer", "path too long")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let isBound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        guard isBound else { throw TestFileError("HTTPServer", "cannot bind") }
        return socket
    }

    private func serve() {
        while !state.withLock({ $0.isStopped }) {
            let connection = accept(socket, nil, nil)
            guard connection >= 0 else { continue }
            state.withLock { $0.connections += 1 }
            var pause = timeval(tv_sec: 0, tv_usec: 50_000)
            setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &pause, socklen_t(MemoryLayout<timeval>.size))
            while let request = read(from: connection), write(answer(request), to: connection) {}
            close(connection)
        }
        close(socket)
    }

    /// A whole request, or nil when the connection is over, or another one waits.
    private func read(from connection: Int32) -> String? {
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 65_536)
        // What begins a TLS handshake is answered at once, in the wrong language.
        while bytes.first != 0x16, !isWhole(String(decoding: bytes, as: UTF8.self)) {
            let count = recv(connection, &block, block.count, 0)
            if count < 0, errno == EAGAIN {
                var waiting = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
                if state.withLock({ $0.isStopped }) || bytes.isEmpty && poll(&waiting, 1, 0) > 0 { return nil }
                continue
            }
            guard count > 0 else { return nil }
            bytes += block[..<count]
        }
        let request = String(decoding: bytes, as: UTF8.self)
        state.withLock { $0.requests.append(request) }
        return request
    }

    private func isWhole(_ request: String) -> Bool {
        let parts = request.split(separator: "\r\n\r\n", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return false }
        let length = parts[0].split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
        return parts[1].utf8.count >= length.flatMap { Int($0.dropFirst(15).filter(\.isNumber)) } ?? 0
    }

    /// - Returns: false when the connection is to be closed: the answer says so, or says nothing.
    private func write(_ answer: String, to connection: Int32) -> Bool {
        var bytes = Array(answer.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes {
                send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            bytes = bytes.dropFirst(count)
        }
        return !answer.isEmpty && !answer.contains("Connection: close")
    }
}
