// ProxyOpener.swift — the beginning of a connection that a balancer has made: its PROXY header, before anything else.
//
// Guarantees: nobody speaks SMTP or TLS here before the header is complete; it has a time and a length; who is not trusted never
// gets so far. Octets behind the header are the client's and go on as they came.

import Config
import Log
import Mail
import NIOCore
import SMTP

/// The first handler of a connection at a listener of `proxy`.
final class ProxyOpener: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    /// Seconds for the whole header, which is in the balancer's first packet.
    private static let patience: Int64 = 10

    /// What is known of the client, and whether it spoke already.
    typealias Opened = (ProxyHeader, _ spokeEarly: Bool, any Channel) throws -> Void

    private let balancer: IPAddress?
    private let door: Door
    private var opened: Opened?
    private var input = ByteBuffer()
    private var timer: Scheduled<Void>?

    init(_ balancer: IPAddress?, _ door: Door, _ opened: @escaping Opened) {
        (self.balancer, self.door, self.opened) = (balancer, door, opened)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(Self.patience)) { [self] in
            refuse(context, "its PROXY header did not come in time")
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        opened = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        opened = nil
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // There is no session yet that could be told.
        if opened != nil, event is Shutdown { return context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let opened else { return context.fireChannelRead(data) }
        var octets = unwrapInboundIn(data)
        input.writeBuffer(&octets)
        do throws(ProxyHeader.Fault) {
            guard let header = try ProxyHeader.take(&input) else { return }
            self.opened = nil
            timer?.cancel()
            go(context, header, opened)
        } catch {
            refuse(context, error.text)
        }
    }

    private func go(_ context: ChannelHandlerContext, _ header: ProxyHeader, _ opened: Opened) {
        let channel = context.channel
        do {
            try opened(header, input.readableBytes > 0, channel)
        } catch {
            return context.close(promise: nil)
        }
        // From the front of the pipeline: a TLS handler may stand there by now.
        if input.readableBytes > 0 {
            channel.pipeline.fireChannelRead(input)
            channel.pipeline.fireChannelReadComplete()
        }
        _ = context.pipeline.syncOperations.removeHandler(self)
    }

    private func refuse(_ context: ChannelHandlerContext, _ reason: String) {
        opened = nil
        door.book.turnedAway(balancer, reason, on: context.eventLoop)
        context.close(promise: nil)
    }
}
