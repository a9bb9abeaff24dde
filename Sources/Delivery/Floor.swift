// Floor.swift — what the dispatcher knows on its loop: sessions, those that idle, and those that are being opened.
//
// Guarantees: every look-up, slot and attempt that the queue gave is given back exactly once.

import Config
import Departure
import Log
import Loop
import Mail
import NIOCore
import Queue
import SMTP

/// What the dispatcher knows on its loop.
final class Floor: ParcelSource {
    private let loop: any EventLoop
    let queue: MailQueue
    private let router: Router
    private let trust: TrustFinder
    private let settler: Settler
    private let settings: InForce<Settings>
    private let log: LogSink
    private let office: PostOffice?
    private var idle: [Lane: [ClientHandler]] = [:]
    private var sessions: [ObjectIdentifier: ClientHandler] = [:]
    /// Sessions that were asked to end.
    private var leaving: Set<ObjectIdentifier> = []
    /// Openings that look for their way, by the number of their look-up.
    private var looking: [UInt64: SlotClaim] = [:]
    /// Openings that know where to go, in line for the slots of their lane.
    private var poised: [Lane: [SlotClaim]] = [:]
    /// Openings that hold a slot.
    private var openings: [Opening: SlotClaim] = [:]
    private var timer: Deadline?
    private var draining: EventLoopPromise<Void>?
    private let preparation: Preparation
    /// Looks again soon: a slot was given back, or the queue has to wake at another time.
    private let wake: @Sendable () -> Void

    init(_ parts: Dispatcher.Parts, wake: @escaping @Sendable () -> Void) {
        self.wake = wake
        (loop, queue, router, trust) = (parts.loop, parts.queue, parts.router, parts.trust)
        (settler, settings, log, office) = (parts.settler, parts.settings, parts.log, parts.office)
        preparation = Preparation(queue: queue, settler: settler, loop: loop, log: log)
        timer = Deadline(loop: loop) { [unowned self] in look() }
    }

    // MARK: work

    /// First hands work to sessions that idle, then opens more where they are wanted.
    func look() {
        guard draining == nil else { return }
        preparation.look()
        for lane in idle.keys { wakeSessions(of: lane) }
        let turn = queue.turn(at: .now())
        for connect in turn.connects { self.connect(connect) }
        for lane in turn.dismissals { dismiss(lane) }
        for opening in turn.cuts { openings[opening]?.giveWay(opening) }
        for number in turn.lookUpCuts { looking.removeValue(forKey: number)?.endLookUp() }
        for lookUp in turn.lookUps { open(lookUp.lane, lookUp: lookUp.number, carrying: [], after: nil) }
        if turn.idleToEnd > 0 { endIdle(atMost: turn.idleToEnd, onlySurplus: false) }
        if turn.trims { endIdle(atMost: .max, onlySurplus: true) }
        if let wakeup = queue.nextWakeup {
            timer?.set(after: max(1, wakeup.milliseconds - Uptime.now().milliseconds))
        } else {
            timer?.clear()
        }
    }

    /// An opening of the lane waits in vain for a slot: a limit or a pause is in its way, and nothing failed.
    ///
    /// One that carries what an earlier host did not take waits on.
    private func dismiss(_ lane: Lane) {
        guard var claims = poised[lane] else { return }
        let over = claims.filter { !$0.isCarrying }
        claims.removeAll { !$0.isCarrying }
        poised[lane] = claims.isEmpty ? nil : claims
        for claim in over { claim.end() }
    }

    private func connect(_ connect: Turn.Connect) {
        guard var claims = poised.removeValue(forKey: connect.lane), !claims.isEmpty else {
            return queue.openingEnded(connect.opening, looksOn: false)
        }
        let claim = claims.removeFirst()
        if !claims.isEmpty { poised[connect.lane] = claims }
        openings[connect.opening] = claim
        claim.grant(connect.opening)
    }

    /// Sessions that have nothing to do make room.
    ///
    /// The next look follows when they are gone.
    private func endIdle(atMost most: Int, onlySurplus: Bool) {
        var left = most
        for waiting in Array(idle.values) {
            for session in waiting where session.isIdle && session.machine.isReady {
                guard left > 0 else { return }
                guard !leaving.contains(ObjectIdentifier(session)),
                    queue.endsIdle(session.lane, onlySurplus: onlySurplus)
                else { continue }
                leaving.insert(ObjectIdentifier(session))
                left -= 1
                session.quit()
            }
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
        if leaving.contains(ObjectIdentifier(session)) { return .yield }
        let now = Uptime.now()
        let held = now.milliseconds(since: session.stoodAt)
        var next = queue.next(for: session.lane, carried: session.messages, held: held, at: now)
        while case .carry(let assignment) = next, settler.suppress(assignment) {
            next = queue.next(for: session.lane, carried: session.messages, held: held, at: now)
        }
        switch next {
        case .yield: leaving.insert(ObjectIdentifier(session))
        case .carry(let assignment): tellOffered(assignment, by: session)
        case .loading, .none: break
        }
        return next
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
        var outcomes = outcomes
        let hostsLeft = draining == nil ? session.plan.hostsLeft : 0
        queue.judge(outcomes, from: session.lane, at: .now())
        if let reacted = queue.heard(outcomes, from: session.lane, of: attempt.assignment.envelope, at: .now()) {
            outcomes = reacted.outcomes
            if reacted.delay > attempt.delay { (attempt.delay, attempt.rule) = (reacted.delay, reacted.rule) }
        }
        attempt.trail.meet(session.machine.peer, session.plan.route, host: session.plan.host)
        tellSteps(of: attempt, outcomes, by: session)
        if let count = session.machine.takenBeforeLeaving, outcomes.contains(where: { $0?.isLoadSign ?? false }) {
            // The server counts recipients and says so by leaving: the next transactions are as long as it takes them.
            trust.memory.learn(Lesson.recipients(count), about: session.lane.description, at: .now())
            outcomes = outcomes.map { $0?.isLoadSign ?? false ? nil : $0 }
        }
        let isTurnedAway = outcomes.contains { $0?.isLoadSign ?? false }
        let isSpared = isTurnedAway && queue.turnedAway(session.lane, at: .now())
        let lacksTLS = session.lacksTLS(outcomes, trust.memory)
        if lacksTLS, outcomes.contains(where: { $0?.wantsTLS ?? false }) {
            // What is behind it would only hear the same; with the next session TLS comes first.
            trust.memory.refusedClear(session.machine.peer, at: .now())
            session.quit()
        }
        // Others of the lane deliver: nobody is deferred for a session too many.
        if isSpared { outcomes = outcomes.map { $0?.isLoadSign ?? false ? nil : $0 } }
        tellAnswers(outcomes, to: attempt.parcel)
        let (next, lesson) = attempt.take(outcomes, hostsLeft: hostsLeft, lacksTLS: lacksTLS)
        if let lesson { trust.memory.learn(lesson, about: session.lane.description, at: .now()) }
        if let next { return session.leave(next) }
        settler.settle(attempt.assignment, attempt.outcomes, attempt.trail, after: attempt.delay, attempt.rule)
        if isTurnedAway {
            if !isSpared { queue.rest(session.lane, at: .now()) }
            return session.quit()
        }
        // MAIL was refused for want of a login: what is behind it would only hear the same.
        guard let refusal = outcomes.lazy.compactMap(\.?.loginRefusal).first else { return }
        settler.loginRefused(session.lane, refusal)
        queue.rest(session.lane, at: .now())
        session.quit()
    }

    /// A delivery is told with its settling; what else the next hop answered is told here.
    private func tellAnswers(_ outcomes: [Outcome?], to parcel: Parcel) {
        var isFinal = false
        var isAnswer = false
        for case let outcome? in outcomes {
            if case .delivered = outcome { return }
            guard outcome.isAnswer else { continue }
            isAnswer = true
            if case .bounced = outcome { isFinal = true }
        }
        if isAnswer { queue.answered(parcel, isFinal: isFinal, at: .now()) }
    }

    func stands(_ session: ClientHandler) {
        sessions[ObjectIdentifier(session)] = session
        if session.machine.security != nil { trust.memory.worksTLS(session.machine.peer) }
        TrustMetrics.stands(session.machine.security, isNamedByPolicy: session.plan.isNamedByPolicy)
        RouteMetrics.of(session.lane).sessionOpened()
        tellStands(session)
        trust.memory.answers(session.lane, at: .now())
        if let opening = session.plan.opening {
            openings.removeValue(forKey: opening)?.stands()
            queue.reached(opening, at: .now())
        }
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
        let goesOn = !session.leftovers.isEmpty && draining == nil
        giveBack(session, looksOn: goesOn)
        if goesOn {
            open(session.lane, carrying: session.leftovers, after: (session.plan.route, session.plan.host))
        } else {
            giveUp(session.leftovers)
        }
        finishDraining()
    }

    private func giveBack(_ session: ClientHandler, looksOn: Bool) {
        let isFruitless = queue.sessionEnded(
            session.lane,
            carried: session.messages,
            wasLeaving: leaving.remove(ObjectIdentifier(session)) != nil,
            looksOn: looksOn
        )
        if session.messages == 0 { DeliveryMetrics.countFruitless() }
        guard isFruitless else { return }
        log.write(.warning, "many sessions carry no mail") { line in
            line.add(.lane, session.lane.description)
            line.add(.mx, session.machine.peer)
        }
    }

    // MARK: lanes

    private func open(
        _ lane: Lane,
        lookUp: UInt64? = nil,
        carrying carried: [Attempt],
        after: (route: Route, host: Int)?
    ) {
        let floor = NIOLoopBound(self, eventLoop: loop)
        let claim = claim(lane, lookUp, isCarrying: !carried.isEmpty)
        let opener = LaneOpener(
            router: router,
            trust: trust,
            connector: Connector(loop: loop, source: NIOLoopBound(self, eventLoop: loop)),
            settings: settings.current,
            disk: queue.disk,
            budget: queue.memory,
            slot: claim,
            office: office,
            board: queue.steps
        )
        let (loop, settler, memory) = (self.loop, self.settler, trust.memory)
        if case .route(let name) = lane.hop,
            case .discard(let words)? = settings.ask({ $0.routes.route(named: name)?.way })
        {
            Task {
                if after == nil { await settler.discardDue(of: lane, because: words) }
                claim.end()
                loop.execute { floor.value.giveUp(carried) }
            }
            return
        }
        let work = Task {
            var troubles: [Failure] = []
            do throws(Failure) {
                try await opener.open(lane, carrying: carried, after: after, troubles: &troubles)
            } catch {
                if after == nil, !claim.isOver, !claim.isCut {
                    memory.isMute(lane)
                    await settler.unopened(lane, error, troubles)
                }
                claim.end()
                loop.execute { [troubles] in floor.value.giveUp(carried, troubles) }
            }
        }
        claim.runs(work)
    }

    private func claim(_ lane: Lane, _ lookUp: UInt64?, isCarrying: Bool) -> SlotClaim {
        let floor = NIOLoopBound(self, eventLoop: loop)
        let line = SlotClaim.Line {
            floor.value.join($0)
        } leave: {
            floor.value.openings[$0] = nil
        } forget: { claim in
            if let number = claim.lookUp { floor.value.looking[number] = nil }
        }
        let claim = SlotClaim(lane, isCarrying: isCarrying, lookUp: lookUp, queue: queue, loop: loop, line: line)
        if let lookUp { looking[lookUp] = claim }
        return claim
    }

    /// An opening waits in line for a slot of its lane.
    private func join(_ claim: SlotClaim) {
        if let number = claim.lookUp { looking[number] = nil }
        if draining != nil { return claim.end() }
        poised[claim.lane, default: []].append(claim)
    }

    /// No further host takes what earlier ones deferred: their word stands.
    private func giveUp(_ carried: [Attempt], _ troubles: [Failure] = []) {
        for attempt in carried {
            var trail = attempt.trail
            trail.add(troubles)
            settler.settle(attempt.assignment, attempt.outcomes, trail, after: attempt.delay)
        }
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
        for claim in poised.values.joined() { claim.end() }
        poised = [:]
        for session in sessions.values { session.abort() }
        finishDraining()
    }

    private func finishDraining() {
        guard let draining, sessions.isEmpty else { return }
        timer?.cancel()
        draining.succeed(())
    }
}
