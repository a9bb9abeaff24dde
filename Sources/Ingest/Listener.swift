// Listener.swift — binds, accepts, counts, and shuts down in order.
//
// Guarantees: beyond the limits a client gets 421 and costs nothing more; clients never take the descriptors that the
// queue and the deliveries need; when descriptors run out all the same, accepting pauses for a second and goes on by itself.

package import Config
import Glibc
import Loop
import Mail
package import NIOCore
import NIOPosix
import Process
import SMTP
import Synchronization

/// The SMTP listeners.
package final class Listener: Sendable {
    /// Connections that may wait to be accepted: short backlogs lose bursts of clients to retransmission timers.
    private static let backlog: Int32 = 4096
    /// Smallest and largest read, bytes.
    ///
    /// The smallest takes a whole ordinary message in one call.
    private static let (readMinimum, readMaximum) = (16 << 10, 128 << 10)

    private let door: Door
    private let group: any EventLoopGroup
    private let state = Mutex(State())

    private struct State {
        var channels: [Place: any Channel] = [:]
        /// Sockets that somebody else bound.
        var adopted: [any Channel] = []
        var isStopped = false
    }

    /// How a client's connection begins.
    package enum Kind: Sendable {
        /// In the clear; STARTTLS may follow.
        case plain
        /// With a TLS handshake.
        case implicitTLS
    }

    /// Where clients connect, as it was asked for.
    package struct Place: Hashable, Sendable, CustomStringConvertible {
        package let address: ListenAddress
        package let kind: Kind
        /// `[::]` that leaves IPv4 to others.
        package let isV6Only: Bool

        package init(_ address: ListenAddress, _ kind: Kind, isV6Only: Bool = false) {
            self.address = address
            self.kind = kind
            self.isV6Only = isV6Only
        }

        package var description: String { (kind == .implicitTLS ? "smtps://" : "") + "\(address)" }
    }

    /// Why nobody can connect at a place.
    package struct NotBound: Error {
        package let place: Place
        package let reason: String
    }

    package init(door: Door, group: any EventLoopGroup) {
        self.door = door
        self.group = group
    }

    /// Binds a place and begins to accept.
    ///
    /// - Returns: the place that was bound, with its port when 0 was asked for.
    /// - Throws: whatever keeps it from being bound.
    @discardableResult
    package func start(_ place: Place) async throws(NotBound) -> Place {
        do {
            let ip = place.address.ip
            let address = try SocketAddress(ipAddress: ip.description, port: Int(place.address.port))
            var bootstrap = bootstrap(place.kind)
            if ip.isV6 {
                // Said either way: what the system does by itself is a setting of its own.
                let option = ChannelOptions.Types.SocketOption(level: .ipv6, name: .ipv6_v6only)
                bootstrap = bootstrap.serverChannelOption(option, value: place.isV6Only ? 1 : 0)
            }
            let channel = try await bootstrap.bind(to: address).get()
            let isStopped = state.withLock { state in
                if !state.isStopped { state.channels[place] = channel }
                return state.isStopped
            }
            if isStopped { try await channel.close().get() }
            let port = UInt16(clamping: channel.localAddress?.port ?? Int(place.address.port))
            return Place(ListenAddress(ip: ip, port: port), place.kind, isV6Only: place.isV6Only)
        } catch {
            throw NotBound(place: place, reason: Self.words(error, place))
        }
    }

    /// Why a place cannot be had, in a sentence.
    private static func words(_ error: any Error, _ place: Place) -> String {
        guard let error = error as? IOError else { return "\(error)" }
        return HeldSockets.words(of: error.errnoCode, at: place.address.ip.description)
    }

    /// Begins to accept on a socket that is bound already, and closes it in the end.
    ///
    /// - Throws: when it is no socket that can listen.
    package func start(adopting descriptor: Int32, _ kind: Kind = .plain) async throws {
        let channel = try await bootstrap(kind).withBoundSocket(descriptor).get()
        state.withLock { $0.adopted.append(channel) }
    }

    /// Accepts at these places and at no others; sessions that stand are kept, wherever they came in.
    ///
    /// What one of the new places needs may be taken by one of the old, `0.0.0.0:25` by `127.0.0.1:25`: the old ones are
    /// closed first then, and opened again when that was not the reason.
    /// - Returns: the places that cannot be had; then the old ones stay open.
    package func move(to places: [Place]) async -> [NotBound] {
        let old = Set(state.withLock { $0.channels.keys })
        let gone = old.subtracting(places)
        let blocked = await open(places.filter { !old.contains($0) })
        for place in gone {
            let channel = state.withLock { $0.channels.removeValue(forKey: place) }
            try? await channel?.close().get()
        }
        let troubles = await open(blocked.map(\.place))
        return troubles.isEmpty ? [] : troubles + (await open(Array(gone)))
    }

    private func open(_ places: [Place]) async -> [NotBound] {
        var troubles: [NotBound] = []
        for place in places {
            do throws(NotBound) { try await start(place) } catch { troubles.append(error) }
        }
        return troubles
    }

    /// Where clients can connect, with the ports that the system chose; sockets that somebody else bound are not among them.
    package var places: [Place] {
        state.withLock { state in
            state.channels.map { place, channel in
                let port = UInt16(clamping: channel.localAddress?.port ?? Int(place.address.port))
                return Place(ListenAddress(ip: place.address.ip, port: port), place.kind, isV6Only: place.isV6Only)
            }
        }
    }

    /// Connections now.
    package var connections: Int { door.sessions.count }

    /// Stops listening, tells idle sessions 421, gives transactions until the deadline, then ends what is left.
    ///
    /// - Parameter patience: seconds for transactions that are open.
    package func stop(patience: Int) async {
        let listening = state.withLock { state in
            defer { state = State(isStopped: true) }
            return state.channels.values + state.adopted
        }
        for channel in listening { try? await channel.close().get() }
        door.sessions.tell(.drain)
        let loop = group.next()
        let sessions = door.sessions
        let stop = loop.scheduleTask(in: .seconds(Int64(patience))) { sessions.tell(.stop) }
        let kill = loop.scheduleTask(in: .seconds(Int64(patience) + 3)) { sessions.closeAll() }
        try? await sessions.whenEmpty(on: loop).get()
        stop.cancel()
        kill.cancel()
    }

    private func bootstrap(_ kind: Kind) -> ServerBootstrap {
        ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: Self.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.maxMessagesPerRead, value: 64)
            // Connections inherit it from their listener.
            .serverChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptPause())
                }
            }
            .childChannelInitializer { [door] channel in
                channel.eventLoop.makeCompletedFuture { try Self.welcome(channel, door, kind) }
            }
    }

    /// Options at once, where the bootstrap would chain a future for each.
    private static func setOptions(_ channel: any Channel) throws {
        let allocator = AdaptiveRecvByteBufferAllocator(
            minimum: readMinimum,
            initial: readMinimum,
            maximum: readMaximum
        )
        let options = channel.syncOptions
        try options?.setOption(.maxMessagesPerRead, value: 1)
        try options?.setOption(.recvAllocator, value: allocator)
    }

    private static func welcome(_ channel: any Channel, _ door: Door, _ kind: Kind) throws {
        try setOptions(channel)
        let client = channel.remoteAddress.flatMap(address)
        let settings = door.settings.current
        let here = here(channel)
        guard settings.listener.expectsProxy(at: here) else {
            let port = UInt16(clamping: channel.remoteAddress?.port ?? 0)
            return try admit(Guest(client: client, port: port, here: here), channel, door, kind)
        }
        guard settings.listener.mayTell(client, \.proxyNetworks) else {
            door.book.turnedAway(client, "not one of proxy_networks", on: channel.eventLoop)
            return channel.close(promise: nil)
        }
        let told = door.sessions.add(channel)
        channel.closeFuture.whenComplete { _ in door.sessions.remove(channel) }
        let opener = ProxyOpener(client, door) { header, spokeEarly, channel in
            var guest = Guest(client: nil, port: 0, here: here, spokeEarly: spokeEarly, isAnnounced: true)
            switch header {
            case .itself: guest.client = client
            case .unknown: break
            case .client(let address, let port): (guest.client, guest.port) = (address, port)
            }
            try admit(guest, channel, door, kind)
        }
        try channel.pipeline.syncOperations.addHandler(opener)
        if let told { channel.pipeline.fireUserInboundEventTriggered(told) }
    }

    /// Who comes in.
    private struct Guest {
        var client: IPAddress?
        var port: UInt16
        let here: ListenAddress?
        /// It spoke behind its PROXY header already.
        var spokeEarly = false
        /// It is among the open sessions already.
        var isAnnounced = false
    }

    private static func admit(_ guest: Guest, _ channel: any Channel, _ door: Door, _ kind: Kind) throws {
        let settings = door.settings.current
        let (client, limits) = (guest.client, settings.listener)
        let total = min(limits.connections, DescriptorLimit.forClients(deliveries: settings.outbound.concurrencyMax))
        guard door.slots.enter(client, total: total, perClient: limits.connectionsPerClient) else {
            door.book.turnedAway(client, TurnAway.reply, on: channel.eventLoop)
            // With implicit TLS nobody could read our words.
            if kind == .implicitTLS { return channel.close(promise: nil) }
            try channel.pipeline.syncOperations.addHandler(TurnAway())
            return
        }
        let slot = ConnectionSlot(client, in: door.slots)
        let told = guest.isAnnounced ? nil : door.sessions.add(channel)
        channel.closeFuture.assumeIsolated().whenComplete { _ in
            slot.leave()
            if !guest.isAnnounced { door.sessions.remove(channel) }
        }
        let handler = ServerHandler(
            door: door,
            client: client,
            port: guest.port,
            at: guest.here,
            settings: settings,
            kind,
            on: channel.eventLoop
        )
        (handler.slot, handler.spokeEarly) = (slot, guest.spokeEarly)
        try channel.pipeline.syncOperations.addHandler(handler)
        if let told { channel.pipeline.fireUserInboundEventTriggered(told) }
    }

    /// Our end of a connection.
    private static func here(_ channel: any Channel) -> ListenAddress? {
        guard let local = channel.localAddress, let ip = address(local), let port = local.port else { return nil }
        return ListenAddress(ip: ip, port: UInt16(clamping: port))
    }

    private static func address(_ address: SocketAddress) -> IPAddress? {
        // Where the address stands in `sockaddr_in` and `sockaddr_in6`.
        let place: Range<Int>
        switch address {
        case .v4: place = 4..<8
        case .v6: place = 8..<24
        case .unixDomainSocket: return nil
        }
        return address.withSockAddr { pointer, size in
            let raw = UnsafeRawBufferPointer(start: pointer, count: size)
            return size >= place.upperBound ? IPAddress(bytes: raw[place]) : nil
        }
    }
}

/// Tells a client beyond the limits to come later, and closes.
private final class TurnAway: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    static let reply = "421 4.7.0 Too many connections, try again later"

    func handlerAdded(context: ChannelHandlerContext) { if context.channel.isActive { say(context) } }

    func channelActive(context: ChannelHandlerContext) { say(context) }

    private func say(_ context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "\(Self.reply)\r\n")), promise: nil)
        context.close(promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// Stops accepting for a second when a connection cannot be accepted, for example for want of descriptors.
///
/// NIO's own handler for this delays the next read, but while an accept has failed the old one is still pending: the
/// listening socket stays ready and the loop spins. Only without automatic reads the socket is really left alone.
private final class AcceptPause: ChannelInboundHandler {
    typealias InboundIn = any Channel

    private static let pause = TimeAmount.seconds(1)
    private var isPaused = false

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard error is IOError, !isPaused else { return context.fireErrorCaught(error) }
        isPaused = true
        let channel = context.channel
        try? channel.syncOptions?.setOption(.autoRead, value: false)
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) { [self] in
            isPaused = false
            try? channel.syncOptions?.setOption(.autoRead, value: true)
        }
        context.fireErrorCaught(error)
    }
}
