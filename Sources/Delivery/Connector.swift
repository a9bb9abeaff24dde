// Connector.swift — a TCP connection with a session on it: source address, time limit, no Nagle.

import Config
import Glibc
import Mail
import NIOCore
import NIOPosix
import SMTP

/// Opens connections on one event loop.
struct Connector: Sendable {
    /// Where a session may be opened.
    struct Place: Sendable {
        let plan: ClientHandler.Plan
        /// nil: the Unix socket that is the plan's host.
        let ip: IPAddress?
        let port: UInt16
        /// The source address; nil leaves it to the kernel.
        let bind: IPAddress?
    }

    /// What became of several places.
    struct Opening: Sendable {
        /// Position of the one that answered; nil: none did.
        var taken: Int?
        /// What kept the session there from standing, at stage `tls`, `greeting`, `hello` or `auth`; nil: it stands.
        var failure: Failure?
        /// The session ended without a word at EHLO.
        var hungUpAtEHLO = false
        /// Places that could not be reached before.
        var unreachable: [(place: Int, failure: Failure)] = []
        /// Places that did not answer, neither yes nor no.
        var silent: [Int] = []
    }

    let loop: any EventLoop
    let source: NIOLoopBound<any ParcelSource>

    /// Connects to the first place that answers, and returns when the session stands: greeted, EHLO answered, and already at
    /// work.
    ///
    /// A peer that hangs up at EHLO is called again with HELO, once. That is not remembered: a hiccup would cost the extensions
    /// of a good peer for longer than one session.
    ///
    /// - Parameters:
    ///   - places: at least one, in the order in which they are wanted.
    ///   - limit: seconds that a connection may take.
    ///   - slot: ends what does not stand yet, when others want it.
    func open(_ places: [Place], limit: Int64, on slot: SlotClaim?) async -> Opening {
        var opening = await openOnce(places, limit: limit, on: slot)
        guard let taken = opening.taken, opening.hungUpAtEHLO else { return opening }
        let place = places[taken]
        var plan = place.plan
        plan.options.saysHELO = true
        // Nothing that the server refuses now is final: what it offers it has not said.
        plan.lacksTLS = plan.options.tls == .ifOffered
        let again = Place(plan: plan, ip: place.ip, port: place.port, bind: place.bind)
        let second = await openOnce([again], limit: limit, on: slot)
        // Without a session it was no matter of HELO, and what the peer did first is the better reason.
        if second.taken != nil { opening.failure = second.failure }
        return opening
    }

    private func openOnce(_ places: [Place], limit: Int64, on slot: SlotClaim?) async -> Opening {
        let stands = loop.makePromise(of: Void.self)
        let over = loop.makePromise(of: AddressRace.Finish.self)
        let (loop, source) = (loop, source)
        loop.execute {
            let race = AddressRace(places, limit: .seconds(max(1, limit)), on: loop, over) { index, channel, took in
                let plan = places[index].plan
                // A session that stands has answered its promise, and nothing is left to give up.
                stands.futureResult.whenFailure { _ in channel.close(promise: nil) }
                let handler = ClientHandler(plan, source: source.value, stands: stands)
                handler.stages.connect = took
                try channel.pipeline.syncOperations.addHandler(handler)
                if plan.options.tls == .implicit { try handler.startTLSFirst(channel.pipeline) }
            }
            race.goOn()
            let bound = NIOLoopBound(race, eventLoop: loop)
            slot?.whenGivingWay {
                stands.fail(Self.givenWay)
                loop.execute { bound.value.giveUp() }
            }
        }
        var opening = Opening()
        do {
            let finish = try await over.futureResult.get()
            opening.taken = finish.winner
            opening.silent = finish.silent
            opening.unreachable = finish.failures.map { ($0.place, places[$0.place].unreachable($0.reason)) }
            // The handler, if there ever was one, has answered already; a second answer is ignored.
            if finish.winner == nil { stands.succeed(()) }
            try await stands.futureResult.get()
        } catch let failure as Failure {
            opening.failure = failure
        } catch let hangUp as HungUpAtEHLO {
            opening.failure = hangUp.failure
            opening.hungUpAtEHLO = true
        } catch {
            opening.failure = Failure(.host, at: .connect, Reply(451, EnhancedStatus(4, 4, 2), reasonText(error)))
        }
        return opening
    }
}

extension Connector {
    /// Silent for as long as others could wait.
    private static let givenWay = Failure(
        .host,
        at: .connect,
        Reply(451, EnhancedStatus(4, 4, 1), "no answer yet, and other mail waits for the session")
    )
}

extension Connector.Place {
    /// Replies are short; what comes in faster than it is read stays in the kernel.
    private static let readBytes = 8192
    private static let unwritten = ChannelOptions.Types.WriteBufferWaterMark(low: 128 << 10, high: 512 << 10)
    /// `IP_BIND_ADDRESS_NO_PORT` of `linux/in.h`, for both families.
    private static let bindAddressNoPort = NIOBSDSocket.Option(rawValue: 24)

    /// No delay for small writes, and the source address.
    func bootstrap(on loop: any EventLoop, _ limit: TimeAmount) throws -> ClientBootstrap {
        let plain = ClientBootstrap(group: loop)
            .connectTimeout(limit)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Self.readBytes))
            .channelOption(.writeBufferWaterMark, value: Self.unwritten)
        guard ip != nil else { return plain }
        let tcp = plain.channelOption(.tcpOption(.tcp_nodelay), value: 1)
        guard let bind else { return tcp }
        // The kernel chooses the port when it knows the destination, so that ports are shared among destinations.
        let late = ChannelOptions.Types.SocketOption(level: .ip, name: Self.bindAddressNoPort)
        return tcp.channelOption(late, value: 1).bind(to: try SocketAddress(bind, port: 0))
    }

    /// Begins to connect.
    func connect(_ bootstrap: ClientBootstrap, on loop: any EventLoop) throws -> EventLoopFuture<any Channel> {
        if let post = plan.post { return try post.connect(bootstrap, on: loop) }
        return bootstrap.connect(to: try address())
    }

    private func address() throws -> SocketAddress {
        try ip.map { try SocketAddress($0, port: port) } ?? SocketAddress(unixDomainSocketPath: plan.options.host)
    }

    func reason(_ error: any Error) -> String {
        if let bind, (error as? IOError)?.errnoCode == EADDRNOTAVAIL {
            return "\(bind) is not an address of this machine"
        }
        return reasonText(error)
    }

    fileprivate func unreachable(_ reason: String) -> Failure {
        let reply = Reply(451, EnhancedStatus(4, 4, 1), "cannot connect: \(reason)")
        let remote = ip.map { "\(plan.options.host)[\($0)]:\(port)" } ?? plan.options.host
        return Failure(.host, at: .connect, reply, remote: remote)
    }
}

/// The peer hung up at EHLO: it may talk to those who say HELO.
struct HungUpAtEHLO: Error {
    let failure: Failure
}

extension SocketAddress {
    fileprivate init(_ ip: IPAddress, port: UInt16) throws {
        try self.init(ipAddress: ip.description, port: Int(port))
    }
}
