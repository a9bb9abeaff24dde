// Wire.swift — octets to and from a relay on this machine, in the clear or inside TLS: blocking.

import Glibc
import NIOCore
import OpenSSL

/// A connection.
///
/// For one thread.
final class Wire {
    let socket: Int32
    private var tls: TLSEngine?

    /// - Parameters:
    ///   - socket: connected; it is ours from now on.
    ///   - isTLS: begin with a handshake. The certificate is not looked at: the peer is this machine, and its certificate
    ///     is for the names that others know it by.
    /// - Throws: when the handshake fails.
    init(_ socket: Int32, isTLS: Bool) throws {
        self.socket = socket
        guard isTLS else { return }
        do throws(TLSError) {
            let engine = try TLSEngine(client: TLSContext(client: TLSContext.Client()), serverName: nil, check: .none)
            tls = engine
            try engine.start()
        } catch {
            throw Self.failure(error)
        }
        try flush()
        while tls?.progress == .handshaking { _ = try read() }
    }

    deinit { close(socket) }

    private static func failure(_ error: TLSError) -> OperatorError {
        OperatorError.absence("TLS with the relay failed: \(error.reason)")
    }

    /// - Throws: with EX_TEMPFAIL.
    func write(_ bytes: [UInt8]) throws {
        guard let tls else { return try send(bytes) }
        do throws(TLSError) { try tls.send(ByteBuffer(bytes: bytes)) } catch { throw Self.failure(error) }
        try flush()
    }

    /// The next octets; inside TLS there may be none although the peer sent something.
    ///
    /// - Throws: with EX_TEMPFAIL, also at the end of the connection.
    func read() throws -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 65_536)
        let count = recv(socket, &block, block.count, 0)
        guard count > 0 else { throw OperatorError.absence("the relay closed the connection") }
        block.removeSubrange(count...)
        guard let tls else { return block }
        var (ciphertext, plaintext) = (ByteBuffer(bytes: block), ByteBuffer())
        do throws(TLSError) { try tls.receive(&ciphertext, into: &plaintext) } catch { throw Self.failure(error) }
        try flush()
        if plaintext.readableBytes == 0, tls.progress == .closed {
            throw OperatorError.absence("the relay closed the connection")
        }
        return Array(plaintext.readableBytesView)
    }

    private func flush() throws {
        var waiting = ByteBuffer()
        tls?.takeCiphertext(into: &waiting)
        try send(Array(waiting.readableBytesView))
    }

    private func send(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { throw OperatorError.absence("the relay closed the connection") }
            rest = rest.dropFirst(count)
        }
    }
}
