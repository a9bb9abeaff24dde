// Dispatcher.swift — work to sessions, sessions to lanes. Everything happens on one event loop.
//
// A ready session pulls its next parcel by itself; the dispatcher only wakes those that idle, opens one more where the
// scheduler wants it, and sees that every claimed session slot and every attempt is given back.

package import Config
package import Departure
package import Log
package import Loop
import Mail
package import NIOCore
package import Queue
import SMTP
import Synchronization

/// The door through which mail leaves.
package final class Dispatcher: Sendable {
    private let loop: any EventLoop
    private let queue: MailQueue
    private let floor: NIOLoopBoundBox<Floor?>
    /// A wake is on its way to the loop.
    private let isWoken = Atomic<Bool>(false)
    private let router: Router
    private let trust: TrustFinder
    private let settler: Settler
    private let settings: InForce<Settings>
    private let log: LogSink

    /// - Parameters:
    ///   - loop: where all sessions live.
    ///   - queue: where work comes from.
    ///   - router: finds hosts.
    ///   - trust: knows how well they must be protected.
    ///   - settler: takes outcomes.
    ///   - settings: those in force.
    ///   - log: for what happens to lanes.
    package init(
        loop: any EventLoop,
        queue: MailQueue,
        router: Router,
        trust: TrustFinder,
        settler: Settler,
        settings: InForce<Settings>,
        log: LogSink
    ) {
        self.loop = loop
        self.queue = queue
        self.router = router
        self.trust = trust
        self.settler = settler
        self.settings = settings
        self.log = log
        floor = NIOLoopBoundBox.makeEmptyBox(valueType: Floor.self, eventLoop: loop)
    }

    /// Begins to deliver.
    package func start() {
        loop.execute { [self] in
            floor.value = Floor(
                loop: loop,
                queue: queue,
                router: router,
                trust: trust,
                settler: settler,
                settings: settings,
                log: log,
                wake: { [weak self] in self?.wake() }
            )
            wake()
        }
        queue.setWake { [weak self] in self?.wake() }
        settler.onChange { [weak self] in self?.wake() }
    }

    /// Looks for work soon; many calls make one look.
    private func wake() {
        if isWoken.exchange(true, ordering: .acquiringAndReleasing) { return }
        loop.execute { [self] in
            isWoken.store(false, ordering: .releasing)
            floor.value?.look()
        }
    }

    /// The route table changed: sessions with hosts that are no longer in it end when what is running is done.
    package func routesChanged() { loop.execute { [self] in floor.value?.leaveOldHosts() } }

    /// Stops: sessions finish the message whose dot was sent, nothing else is begun.
    ///
    /// - Parameter milliseconds: how long the peers may take; what is open then is cut, and delivered again after the
    ///   next start.
    package func drain(within milliseconds: Int64) async {
        let done = loop.makePromise(of: Void.self)
        loop.execute { [self] in
            guard let floor = floor.value else { return done.succeed(()) }
            floor.drain(within: milliseconds, done)
        }
        try? await done.futureResult.get()
        await settler.finish(within: milliseconds)
    }
}

/// What the dispatcher knows on its loop.
private final class Floor: ParcelSource {
    /// Due parcels of an unreachable lane that are settled in one go.
    private static let chunk = 64

    private let loop: any EventLoop
    private let queue: MailQueue
    private let router: Router
    private let trust: TrustFinder
    private let settler: Settler
    private let settings: InForce<Settings>
    private let log: LogSink
    private var idle: [Lane: [ClientHandler]] = [:]
    private var sessions: [ObjectIdentifier: ClientHandler] = [:]
    private var timer: Deadline?
    private var draining: EventLoopPromise<Void>?
    private let preparation: Preparation
    /// Looks again soon: a slot was given back, or the queue has to wake at another time.
    private let wake: @Sendable () -> Void

    init(
        loop: any EventLoop,
        queue: MailQueue,
        router: Router,
        trust: TrustFinder,
        settler: Settler,
        settings: InForce<Settings>,
        log: LogSink,
        wake: @escaping @Sendable () -> Void
    ) {
        self.wake = wake
        self.loop = loop
        self.queue = queue
        self.router = router
        self.trust = trust
        self.settler = settler
        self.settings = settings
        self.log = log
        preparation = Preparation(queue: queue, settler: settler, loop: loop, log: log)
        timer = Deadline(loop: loop) { [unowned self] in look() }
    }

    // MARK: work

    /// First hands work to sessions that idle, then opens more where they are wanted.
    func look() {
        guard draining == nil else { return }
        preparation.look()
        for lane in idle.keys { wakeSessions(of: lane) }
        for lane in queue.lanesWantingSessions(at: .now()) { open(lane, carrying: [], after: nil) }
        if queue.isShortOfSessions { endOneIdle() }
        if let wakeup = queue.nextWakeup {
            timer?.set(after: max(1, wakeup.milliseconds - Uptime.now().milliseconds))
        } else {
            timer?.clear()
        }
    }

    /// Others wait for a session: one that has nothing to do makes room.
    ///
    /// The next look follows when it is gone.
    private func endOneIdle() {
        for waiting in idle.values {
            guard let session = waiting.first(where: { $0.isIdle && $0.machine.isReady }) else { continue }
            return session.quit()
        }
    }

    func leaveOldHosts() {
        let routes = settings.ask { $0.routes }
        for session in Array(sessions.values) {
            guard case .route(let name) = session.lane.hop else { continue }
            let mx = session.plan.route.hosts[session.plan.host]
            if routes.route(named: name)?.hosts.contains(mx) != true { session.quit() }
        }
    }

    private func wakeSessions(of lane: Lane) {
        while let session = idle[lane]?.popLast() {
            if !session.isIdle { continue }
            guard session.pull() else {
                // It is the one that was used last, so the others may reach their idle limit.
                if session.isIdle, idle[lane]?.last !== session { idle[lane, default: []].append(session) }
                return
            }
        }
        idle[lane] = nil
    }

    func next(for session: ClientHandler) -> NextParcel {
        if draining != nil || !settler.hasRoom { return .none }
        return queue.next(for: session.lane, at: .now())
    }

    func idles(_ session: ClientHandler) {
        if draining != nil { return session.quit() }
        idle[session.lane, default: []].append(session)
    }

    func warns(_ warning: ClientMachine.Warning, from session: ClientHandler) {
        switch warning {
        case .sentWithoutAuth(let reason):
            TrustMetrics.sentWithoutAuth()
            log.write(.warning, "sending without AUTH") { line in
                line.add(.lane, session.lane.description)
                line.add(.mx, session.machine.peer)
                line.add(.reason, reason)
            }
        }
    }

    func finished(_ attempt: Attempt, _ outcomes: [Outcome?], by session: ClientHandler) {
        var attempt = attempt
        let hostsLeft = draining == nil ? session.plan.hostsLeft : 0
        attempt.trail.meet(session.machine.peer, session.plan.route, host: session.plan.host)
        let lacksTLS = session.lacksTLS(outcomes, trust.tlsMemory)
        if lacksTLS, outcomes.contains(where: { $0?.wantsTLS ?? false }) {
            // What is behind it would only hear the same; with the next session TLS comes first.
            trust.tlsMemory.clearRefused(session.machine.peer, at: .now())
            session.quit()
        }
        let (next, lesson) = attempt.take(outcomes, hostsLeft: hostsLeft, lacksTLS: lacksTLS)
        if let lesson { trust.memory.learn(lesson, about: session.lane.description, at: .now()) }
        if let next { return session.leave(next) }
        settler.settle(attempt.assignment, attempt.outcomes, attempt.trail)
        // MAIL was refused for want of a login: what is behind it would only hear the same.
        guard let refusal = outcomes.lazy.compactMap(\.?.loginRefusal).first else { return }
        settler.loginRefused(session.lane, refusal)
        queue.rest(session.lane, at: .now())
        session.quit()
    }

    func stands(_ session: ClientHandler) {
        sessions[ObjectIdentifier(session)] = session
        if session.machine.security != nil { trust.tlsMemory.works(session.machine.peer) }
        TrustMetrics.stands(session.machine.security, isNamedByPolicy: session.plan.isNamedByPolicy)
        RouteMetrics.of(session.lane).sessionOpened()
        // A session that carries on for another host has told the queue already.
        if session.plan.carried.isEmpty { queue.reached(session.lane) }
        if draining != nil { session.abort() }
    }

    func ended(_ session: ClientHandler) {
        if sessions.removeValue(forKey: ObjectIdentifier(session)) != nil {
            RouteMetrics.of(session.lane).sessionEnded()
        }
        if let waiting = idle[session.lane] {
            let rest = waiting.filter { $0 !== session }
            idle[session.lane] = rest.isEmpty ? nil : rest
        }
        if session.machine.brokeBehindDot { trust.memory.learn(.losesCount, of: session.machine.peer, at: .now()) }
        if session.leftovers.isEmpty {
            giveBack(session.lane)
        } else if draining != nil {
            giveUp(session.leftovers, of: session.lane)
        } else {
            open(session.lane, carrying: session.leftovers, after: (session.plan.route, session.plan.host))
        }
        finishDraining()
    }

    // MARK: lanes

    private func open(_ lane: Lane, carrying carried: [Attempt], after: (route: Route, host: Int)?) {
        let floor = NIOLoopBound(self, eventLoop: loop)
        let opener = LaneOpener(
            router: router,
            trust: trust,
            connector: Connector(loop: loop, source: NIOLoopBound(self, eventLoop: loop)),
            settings: settings.current,
            disk: queue.disk
        )
        let loop = self.loop
        let settler = self.settler
        let queue = self.queue
        let wake = self.wake
        Task {
            var troubles: [Failure] = []
            do throws(Failure) {
                try await opener.open(lane, carrying: carried, after: after, troubles: &troubles)
            } catch {
                if after == nil {
                    if error.reply.severity != .permanent, queue.spareSessionFailed(lane, at: .now()) { return wake() }
                    if error.stage == .auth { settler.loginRefused(lane, error) }
                    await settler.settleDue(of: lane, after: error, troubles)
                    queue.sessionEnded(lane, wasOpening: true)
                    return wake()
                }
                loop.execute { [troubles] in floor.value.giveUp(carried, of: lane, troubles) }
            }
        }
    }

    /// No further host takes what earlier ones deferred: their word stands.
    private func giveUp(_ carried: [Attempt], of lane: Lane, _ troubles: [Failure] = []) {
        for attempt in carried {
            var trail = attempt.trail
            trail.add(troubles)
            settler.settle(attempt.assignment, attempt.outcomes, trail)
        }
        giveBack(lane)
    }

    private func giveBack(_ lane: Lane) {
        queue.sessionEnded(lane, wasOpening: false)
        wake()
    }

    // MARK: the end

    func drain(within milliseconds: Int64, _ done: EventLoopPromise<Void>) {
        guard draining == nil else { return done.succeed(()) }
        draining = done
        preparation.stop()
        timer?.cancel()
        timer = Deadline(loop: loop) { [unowned self] in
            for session in sessions.values { session.cut() }
            sessions = [:]
            finishDraining()
        }
        timer?.set(after: milliseconds)
        for session in sessions.values { session.abort() }
        finishDraining()
    }

    private func finishDraining() {
        guard let draining, sessions.isEmpty else { return }
        timer?.cancel()
        draining.succeed(())
    }
}

extension Outcome {
    /// A deferral for a login of ours that is refused, or missing.
    fileprivate var loginRefusal: Failure? {
        if case .deferred(let failure) = self, failure.stage == .auth { failure } else { nil }
    }
}
