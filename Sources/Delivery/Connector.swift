// Connector.swift — a TCP connection with a session on it: source address, time limit, no Nagle.

import Config
import Glibc
import Mail
import NIOCore
import NIOPosix
import SMTP

/// Opens connections on one event loop.
struct Connector: Sendable {
    /// Replies are short; what comes in faster than it is read stays in the kernel.
    private static let readBytes = 8192
    private static let unwritten = ChannelOptions.Types.WriteBufferWaterMark(low: 128 << 10, high: 512 << 10)

    let loop: any EventLoop
    let source: NIOLoopBound<any ParcelSource>

    /// Connects and returns when the session stands: greeted, EHLO answered, and already at work.
    ///
    /// - Parameters:
    ///   - plan: what the session is for.
    ///   - ip: where to; nil: the Unix socket that is the plan's host.
    ///   - bind: the source address; nil leaves it to the kernel.
    /// - Throws: ``Failure`` at stage `connect`, `tls`, `greeting`, `hello` or `auth`.
    func open(
        _ plan: ClientHandler.Plan,
        to ip: IPAddress?,
        port: UInt16,
        from bind: IPAddress?
    ) async throws(Failure) {
        let stands = loop.makePromise(of: Void.self)
        let source = self.source
        var bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(.seconds(Int64(plan.limits.connectTimeout)))
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Self.readBytes))
            .channelOption(.writeBufferWaterMark, value: Self.unwritten)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = ClientHandler(plan, source: source.value, stands: stands)
                    try channel.pipeline.syncOperations.addHandler(handler)
                    if plan.options.tls == .implicit { try handler.startTLSFirst(channel.pipeline) }
                }
            }
        do {
            if let ip { bootstrap = try Self.tcp(bootstrap, ip, from: bind) }
            let place =
                try ip.map { try SocketAddress($0, port: port) }
                ?? SocketAddress(unixDomainSocketPath: plan.options.host)
            _ = try await bootstrap.connect(to: place).get()
        } catch {
            // The handler, if there ever was one, has answered already; a second answer is ignored.
            stands.fail(error)
            let reply = Reply(451, EnhancedStatus(4, 4, 1), "cannot connect: \(Self.reason(error, bind))")
            let remote = ip.map { "\(plan.options.host)[\($0)]:\(port)" } ?? plan.options.host
            throw Failure(.host, at: .connect, reply, remote: remote)
        }
        do {
            try await stands.futureResult.get()
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure(.host, at: .connect, Reply(451, EnhancedStatus(4, 4, 2), reasonText(error)))
        }
    }

    /// No delay for small writes, and the source address.
    private static func tcp(
        _ bootstrap: ClientBootstrap,
        _ ip: IPAddress,
        from bind: IPAddress?
    ) throws -> ClientBootstrap {
        let plain = bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1)
        guard let bind else { return plain }
        // The kernel chooses the port when it knows the destination, so that ports are shared among destinations.
        let late = ChannelOptions.Types.SocketOption(level: .ip, name: Self.bindAddressNoPort)
        return plain.channelOption(late, value: 1).bind(to: try SocketAddress(bind, port: 0))
    }

    /// `IP_BIND_ADDRESS_NO_PORT` of `linux/in.h`, for both families.
    private static let bindAddressNoPort = NIOBSDSocket.Option(rawValue: 24)

    private static func reason(_ error: any Error, _ bind: IPAddress?) -> String {
        if let bind, (error as? IOError)?.errnoCode == EADDRNOTAVAIL {
            return "\(bind) is not an address of this machine"
        }
        return reasonText(error)
    }
}

extension SocketAddress {
    fileprivate init(_ ip: IPAddress, port: UInt16) throws {
        try self.init(ipAddress: ip.description, port: Int(port))
    }
}
