// AddressRace.swift — several addresses of one host: the first that answers is taken (RFC 8305, "happy eyeballs").
//
// One that swallows packets costs a quarter of a second and not its time limit. Only who comes first is spoken to: what is
// under way to others is given up, and a connection that stood all the same is closed before a word is said on it.

import Mail
import NIOCore
import NIOPosix
import SMTP

/// Connects to places one after the other, a moment apart, until one answers.
///
/// Bound to its event loop.
final class AddressRace {
    /// The pause before the next address is tried beside those that have not answered (RFC 8305 §5).
    static let delay = TimeAmount.milliseconds(250)
    /// A place that has not answered for so long is silent: two repeated packets were lost, too (RFC 6298 §2).
    private static let silence = TimeAmount.seconds(4)

    /// What came of it.
    struct Finish: Sendable {
        /// Position of the place that answered; nil: none did.
        var winner: Int?
        /// Places that cannot be reached, with the reason in words.
        var failures: [(place: Int, reason: String)] = []
        /// Places that were asked and did not answer, for long enough to be remembered.
        var silent: [Int] = []
    }

    private let places: [Connector.Place]
    private let limit: TimeAmount
    private let over: EventLoopPromise<Finish>
    private let loop: any EventLoop
    /// Puts the session on the connection that is taken, with the milliseconds that it took to stand.
    private let welcome: (Int, any Channel, UInt32) throws -> Void
    private var next = 0
    /// On their way, by position.
    private var pending: [Int: any Channel] = [:]
    /// Without an answer so far, since when.
    private var asked: [Int: NIODeadline] = [:]
    private var finish = Finish()
    private var isOver = false
    private var timer: Scheduled<Void>?

    init(
        _ places: [Connector.Place],
        limit: TimeAmount,
        on loop: any EventLoop,
        _ over: EventLoopPromise<Finish>,
        welcome: @escaping (Int, any Channel, UInt32) throws -> Void
    ) {
        self.places = places
        self.limit = limit
        self.loop = loop
        self.over = over
        self.welcome = welcome
    }

    /// Begins with the next place; the one behind it follows in a moment, or when this one cannot be reached.
    func goOn() {
        timer?.cancel()
        guard !isOver, next < places.count else { return }
        let index = next
        next += 1
        let me = NIOLoopBound(self, eventLoop: loop)
        asked[index] = .now()
        do {
            let bootstrap = try places[index].bootstrap(on: loop, limit).channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    me.value.pending[index] = channel
                    try channel.pipeline.syncOperations.addHandler(Doorway { me.value.arrived(index, $0) })
                }
            }
            try places[index].connect(bootstrap, on: loop).assumeIsolated().whenFailure { [self] in failed(index, $0) }
        } catch {
            failed(index, error)
        }
        guard next < places.count, !isOver else { return }
        timer = loop.assumeIsolated().scheduleTask(in: Self.delay) { [self] in goOn() }
    }

    /// Others want the slot: what is under way is given up.
    func giveUp() { if !isOver { end() } }

    private func arrived(_ index: Int, _ channel: any Channel) {
        guard !isOver else { return channel.close(promise: nil) }
        pending[index] = nil
        let took = asked.removeValue(forKey: index).map { UInt32.milliseconds(from: $0, to: .now()) } ?? 0
        do { try welcome(index, channel, took) } catch {
            channel.close(promise: nil)
            return failed(index, error)
        }
        finish.winner = index
        end()
    }

    private func failed(_ index: Int, _ error: any Error) {
        guard !isOver else { return }
        pending[index] = nil
        if let since = asked.removeValue(forKey: index), .now() - since >= Self.silence { finish.silent.append(index) }
        finish.failures.append((index, places[index].reason(error)))
        // The next one need not wait any longer.
        if next < places.count { return goOn() }
        if pending.isEmpty { end() }
    }

    private func end() {
        isOver = true
        timer?.cancel()
        for (index, since) in asked where .now() - since >= Self.silence { finish.silent.append(index) }
        let losers = pending.values
        pending = [:]
        for channel in losers { channel.close(promise: nil) }
        over.succeed(finish)
    }
}

/// Tells that a connection stands, before anything is read from it.
///
/// The event ends here: the handlers that are put behind it find a channel that is active.
private final class Doorway: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let arrived: (any Channel) -> Void

    init(_ arrived: @escaping (any Channel) -> Void) { self.arrived = arrived }

    func channelActive(context: ChannelHandlerContext) {
        arrived(context.channel)
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }
}
