// Settler.swift — what outcomes become: log lines, reports to the sender, and the mark in the queue.
//
// Guarantees: a bounce is marked only when its report is on disk (G2); nobody is told of the failure of a report; a
// parcel is settled exactly once. The path of a message that was simply delivered takes no detour. Plugins are asked in
// `Settler+Hooks.swift`.

import Config
import Departure
import History
import Hooks
package import Intake
import Log
import Loop
import Mail
package import NIOCore
import NIOPosix
package import Queue
import Storage
import Suppression
import Synchronization

/// Takes the outcomes of attempts.
package final class Settler: Sendable {
    /// Milliseconds until a message whose report could not be stored is tried again.
    private static let storageDelay: Int64 = 300_000
    /// Attempts that wait for their reports, or for plugins; sessions take no further work beyond.
    private static let mostWaiting = 200
    /// Attempts that plugins are asked about at once.
    private static let mostAsked = 16

    private struct Waiting {
        let assignment: Assignment
        let verdicts: Verdicts
        let trail: Trail
        let delayIsDue: Bool
    }

    private struct State {
        var waiting: [Waiting] = []
        /// Tasks at work.
        var running = 0
        /// Attempts that wait or are at work.
        var count = 0
        var finished: [CheckedContinuation<Void, Never>] = []
        var onChange: @Sendable () -> Void = {}
    }

    let queue: MailQueue
    let plugins: PluginChain
    let teller: DeliveredTeller
    let log: LogSink
    private let loop: any EventLoop
    let reports: BounceWriter
    let settings: InForce<Settings>
    let suppressions: SuppressionList?
    private let state = Mutex(State())

    /// - Parameters:
    ///   - intake: of the queue that is told what became of parcels; reports go in by it.
    ///   - loop: where blocking work reports back to.
    package init(_ intake: Intake, loop: any EventLoop) {
        queue = intake.queue
        plugins = intake.plugins
        log = intake.log
        settings = intake.settings
        suppressions = intake.suppressions
        teller = DeliveredTeller(intake.plugins, log: intake.log)
        self.loop = loop
        reports = BounceWriter(intake: intake, loop: loop)
    }

    /// False while so many reports wait for the disk that sessions should not cause more.
    var hasRoom: Bool { state.withLock { $0.count < Self.mostWaiting } }

    /// Called on some thread when ``hasRoom`` is true again, or the queue has to wake at another time than before.
    func onChange(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.onChange = body } }

    func changed() { state.withLock { $0.onChange }() }

    // MARK: one attempt

    /// An attempt is over.
    ///
    /// - Parameters:
    ///   - assignment: what was attempted.
    ///   - outcomes: by position of the parcel's recipients; nil was not tried and is due again at once.
    ///   - trail: the hosts that it met.
    ///   - isBystander: it only waited in the lane of the one that was turned away at the door.
    ///   - delay: milliseconds before which what was deferred is not tried again, where a reaction says so.
    ///   - rule: that reaction.
    ///   - check: nobody was asked: the recipients get nothing.
    func settle(
        _ assignment: Assignment,
        _ outcomes: [Outcome?],
        _ trail: Trail = Trail(),
        isBystander: Bool = false,
        after delay: Int64 = 0,
        _ rule: WaitRule? = nil,
        suppressing check: SuppressionSettings.Check = .off
    ) {
        if settleDelivered(assignment, outcomes, trail) { return }
        let (outbound, classes) = settings.ask { ($0.outbound, $0.replyClasses) }
        var verdicts = Verdicts(
            assignment.parcel,
            outcomes,
            patience: Patience(outbound),
            classes: classes,
            isBystander: isBystander,
            at: .now()
        )
        if verdicts.delay < delay { verdicts.setDelay(delay, by: rule) }
        if outbound.bounceGrace > 0 { spare(&verdicts, of: assignment.parcel.id.message) }
        if check != .off { verdicts.holdBack(isSilent: check == .drop) }
        let delayIsDue = delayIsDue(assignment.parcel, outbound)
        let asks = verdicts.hasFailures && plugins.asks(.failures)
        let losesReport = !verdicts.bounced.isEmpty && assignment.envelope.reportForm != nil
        guard asks || losesReport || verdicts.needsReport(assignment.envelope, delayIsDue: delayIsDue) else {
            return mark(assignment, verdicts, trail, [])
        }
        enqueue(Waiting(assignment: assignment, verdicts: verdicts, trail: trail, delayIsDue: delayIsDue))
    }

    /// Bounces of a reaction wait for `bounce_grace`, so that somebody can take them back.
    private func spare(_ verdicts: inout Verdicts, of id: QueueID) {
        let givenUp = verdicts.givenUp
        guard let reason = givenUp.first?.failure.reaction,
            queue.condemn(id, givenUp.map(\.recipient), because: reason)
        else { return }
        verdicts.spareGivenUp()
    }

    /// The usual end: everybody has it and nobody asked for a report.
    private func settleDelivered(_ assignment: Assignment, _ outcomes: [Outcome?], _ trail: Trail) -> Bool {
        let (parcel, envelope) = (assignment.parcel, assignment.envelope)
        for (recipient, outcome) in zip(parcel.recipients, outcomes) {
            guard case .delivered(let receipt) = outcome else { return false }
            if let notify = envelope.recipients[Int(recipient)].notify, notify.contains(.success), !receipt.relaysDSN {
                return false
            }
        }
        let wall = Timestamp.now()
        for (recipient, outcome) in zip(parcel.recipients, outcomes) {
            guard case .delivered(let receipt) = outcome else { continue }
            logDelivered(parcel, envelope.recipients[Int(recipient)].address, receipt, trail.peer, wall)
        }
        if plugins.asks(.delivered) {
            tellDelivered(Verdicts(parcel, outcomes).delivered, of: assignment, at: wall)
        }
        let age = wall.milliseconds &- parcel.acceptedAt.milliseconds
        RouteMetrics.of(parcel.lane).countDelivered(parcel.recipients.count, after: age)
        let facts = facts { AttemptFact(delivered: parcel, outcomes, trail.stages, at: wall) }
        let isFinished = queue.settle(
            parcel,
            done: parcel.recipients,
            deferred: nil,
            facts: facts,
            at: .now(),
            wall: wall
        )
        if isFinished { logFinished(parcel, wall) }
        return true
    }

    /// What history is told of an attempt, if there is one.
    private func facts(_ attempt: () -> AttemptFact) -> Facts {
        queue.keepsHistory ? Facts(.attempt(attempt())) : .none
    }

    private func delayIsDue(_ parcel: Parcel, _ settings: OutboundSettings) -> Bool {
        let age = Timestamp.now().milliseconds &- parcel.acceptedAt.milliseconds
        return age >= Int64(settings.delayWarning) * 1000 && !queue.isDelayReported(parcel.id.message)
    }

    /// Tells the queue, and the log.
    private func mark(
        _ assignment: Assignment,
        _ verdicts: Verdicts,
        _ trail: Trail,
        _ reports: AttemptFact.Reports,
        _ tray: ReportTray? = nil
    ) {
        let (parcel, envelope) = (assignment.parcel, assignment.envelope)
        let wall = Timestamp.now()
        for taken in verdicts.delivered {
            logDelivered(parcel, envelope.recipients[Int(taken.recipient)].address, taken.receipt, trail.peer, wall)
        }
        if !verdicts.delivered.isEmpty, plugins.asks(.delivered) {
            tellDelivered(verdicts.delivered, of: assignment, at: wall)
        }
        let metrics = RouteMetrics.of(parcel.lane)
        if !verdicts.delivered.isEmpty {
            let age = wall.milliseconds &- parcel.acceptedAt.milliseconds
            metrics.countDelivered(verdicts.delivered.count, after: age)
        }
        metrics.countFailed(verdicts)
        for failed in verdicts.deferred {
            logFailed(LogEvent.deferred.text, parcel, envelope, failed, wall, delay: verdicts.delay)
        }
        for failed in verdicts.bounced {
            let isSuppressed = verdicts.isSuppressed
            let recipient = envelope.recipients[Int(failed.recipient)].address.description
            queue.recentFailures.note(parcel.id.message, to: recipient, failed.failure.reply.description, at: wall)
            logFailed(LogEvent.bounced.text, parcel, envelope, failed, wall, delay: nil, isSuppressed: isSuppressed)
        }
        noteLostCopy(assignment, verdicts)
        for failed in verdicts.dropped { logFailed("dropped by a plugin", parcel, envelope, failed, wall, delay: 0) }
        let done = verdicts.delivered.map(\.recipient) + (verdicts.bounced + verdicts.dropped).map(\.recipient)
        let deferral = deferral(of: verdicts, delayReported: reports.contains(.delay))
        let facts = facts { AttemptFact(parcel, verdicts, trail.stages, reports, at: wall) }
        let isFinished = queue.settle(
            parcel,
            done: done.sorted(),
            bounced: (verdicts.bounced + verdicts.dropped).map(\.recipient).sorted(),
            deferred: deferral,
            facts: facts,
            with: tray,
            at: .now(),
            wall: wall
        )
        if isFinished { logFinished(parcel, wall) }
        if deferral != nil { changed() }
    }

    /// What the queue is told of those that failed for now; nil when nobody did.
    private func deferral(of verdicts: Verdicts, delayReported: Bool) -> Deferral? {
        guard let first = verdicts.deferred.first else { return nil }
        var others: [UInt32: LastReply] = [:]
        for failed in verdicts.deferred.dropFirst() where failed.failure != first.failure {
            others[failed.recipient] = failed.reply
        }
        var deferral = Deferral(
            recipients: verdicts.deferred.map(\.recipient),
            delay: verdicts.delay,
            reply: first.reply,
            otherReplies: others,
            kind: verdicts.kind,
            delayReported: delayReported,
            isExtra: verdicts.isExtra
        )
        deferral.rule = verdicts.rule
        return deferral
    }

    // MARK: attempts that need a report, or an answer of plugins

    private func enqueue(_ entry: Waiting) {
        let limit = plugins.asks(.failures) ? Self.mostAsked : 1
        let starts = state.withLock { state in
            state.waiting.append(entry)
            state.count += 1
            guard state.running < limit else { return false }
            state.running += 1
            return true
        }
        if starts { Task { await self.work() } }
    }

    /// One after the other, or a few at once where plugins may take their time: reports are rare, and a flood of them
    /// must not flood memory.
    private func work() async {
        while let entry = nextWaiting() {
            if let tray = await report(entry) {
                // The next one need not wait for the disk; sessions do, when there are too many.
                Task {
                    await tray.finished()
                    self.leave()
                }
            } else {
                leave()
            }
        }
        let waiters: [CheckedContinuation<Void, Never>] = state.withLock { state in
            guard state.running == 0 else { return [] }
            defer { state.finished = [] }
            return state.finished
        }
        for waiter in waiters { waiter.resume() }
    }

    /// An attempt has neither reports nor plugins to wait for any more.
    private func leave() {
        let hasRoomAgain = state.withLock { state in
            state.count -= 1
            return state.count == Self.mostWaiting - 1
        }
        if hasRoomAgain { changed() }
    }

    /// The next attempt; nil ends the task that asked.
    private func nextWaiting() -> Waiting? {
        state.withLock { state in
            guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
            state.running -= 1
            return nil
        }
    }

    /// - Returns: where its reports wait for the disk; nil: they are there.
    private func report(_ entry: Waiting) async -> ReportTray? {
        var verdicts = entry.verdicts
        let envelope = entry.assignment.envelope
        if plugins.asks(.failures) { await ask(about: &verdicts, of: entry.assignment, entry.trail) }
        let failures = verdicts.failures(envelope)
        let tray = queue.makeReportTray()
        var sent: AttemptFact.Reports = []
        if !failures.isEmpty {
            if await reports.writeFailure(failures, of: entry.assignment, into: tray) {
                sent.insert(.failure)
            } else {
                verdicts.withdrawBounces(after: Self.storageDelay)
            }
        }
        if envelope.reportForm != nil, !verdicts.bounced.isEmpty,
            await !reports.replace(verdicts.bounced, of: entry.assignment, into: tray)
        {
            verdicts.withdrawBounces(after: Self.storageDelay)
        }
        let successes = verdicts.successes(envelope)
        // Asked for politely; when it cannot be stored the delivery is still a delivery.
        if !successes.isEmpty, await reports.writeSuccess(successes, of: entry.assignment, into: tray) {
            sent.insert(.success)
        }
        let delays = entry.delayIsDue ? verdicts.delays(envelope) : []
        if !delays.isEmpty, await reports.writeDelay(delays, of: entry.assignment, into: tray) { sent.insert(.delay) }
        mark(entry.assignment, verdicts, entry.trail, sent, tray)
        return tray
    }

    /// Tells the sender that an administrator removed a message.
    ///
    /// - Parameter tray: where it waits for the note of the removal.
    /// - Returns: whether the report is on disk or in the tray, or nobody wants one.
    package func reportRemoval(
        of message: Assignment,
        because reason: String,
        into tray: ReportTray?
    ) async -> Bool {
        let text: String
        if reason.rest(behind: "reaction ") != nil {
            // Nobody revived it while `bounce_grace` counted.
            text = "given up by \(reason)"
        } else {
            text = reason.isEmpty ? "removed by an administrator" : "removed by an administrator: \(reason)"
        }
        let reply = Reply(550, EnhancedStatus(5, 7, 1), text)
        let failed = message.parcel.recipients
            .filter { message.envelope.recipients[Int($0)].wantsFailureReport }
            .map { Verdicts.Failed(recipient: $0, failure: Failure(.message, at: .route, reply)) }
        return failed.isEmpty ? true : await reports.writeFailure(failed, of: message, into: tray)
    }

    /// Returns when no report waits any more, or after so many milliseconds.
    func finish(within milliseconds: Int64) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.finished() }
            group.addTask { try? await Task.sleep(for: .milliseconds(milliseconds)) }
            await group.next()
            let waiters = state.withLock { state in
                defer { state.finished = [] }
                return state.finished
            }
            for waiter in waiters { waiter.resume() }
            group.cancelAll()
        }
    }

    private func finished() async {
        await withCheckedContinuation { continuation in
            let isIdle = state.withLock { state in
                if state.running > 0 { state.finished.append(continuation) }
                return state.running == 0
            }
            if isIdle { continuation.resume() }
        }
    }

    // MARK: a lane that cannot be reached

    /// An opening has ended without a session: no matter where others of the lane stand or are on their way.
    ///
    /// - Parameter troubles: what every host said, for plugins.
    func unopened(_ lane: Lane, _ failure: Failure, _ troubles: [Failure]) async {
        queue.judge([.deferred(failure)], from: lane, isOpening: true, at: .now())
        queue.heard([.deferred(failure)], from: lane, at: .now())
        let mayBeSurplus = failure.isOfSession || failure.reply.severity != .permanent
        if mayBeSurplus, queue.surplusRefused(lane, at: .now()) { return }
        if failure.stage == .auth { loginRefused(lane, failure) }
        await settleDue(of: lane, after: failure, troubles)
    }

    /// Settles everything that is due in a lane by one failure: deferred, and the lane rests; or bounced, when the
    /// destination does not exist.
    ///
    /// An answer at the door is one failure of the one that asked; the others only wait in its lane.
    /// - Parameter troubles: what every host said, for plugins.
    func settleDue(of lane: Lane, after failure: Failure, _ troubles: [Failure] = []) async {
        guard case .settle(let outcome) = nextStep(after: failure, hostsLeft: 0) else { return }
        if case .deferred = outcome { queue.rest(lane, because: failure.reply.description, at: .now()) }
        log.write(.info, "lane unreachable") { line in
            line.add(.lane, lane.description)
            line.add(.reply, failure.reply.description)
            line.add(.stage, "\(failure.stage)")
        }
        var trail = Trail()
        trail.add(troubles)
        // What is settled with a delay of nothing is due again; it waits for the next time.
        var left = max(1, queue.counts.waiting)
        var isBystander = false
        while left > 0 {
            let parcels = queue.takeDue(in: lane, atMost: min(left, 64), at: .now())
            if parcels.isEmpty { return }
            left -= parcels.count
            for assignment in await load(parcels) {
                let outcomes = Array(repeating: Outcome?.some(outcome), count: assignment.parcel.recipients.count)
                settle(assignment, outcomes, trail, isBystander: isBystander)
                isBystander = failure.isOfSession
            }
            await waitForRoom()
        }
    }

    /// The alarm: a next hop does not let us in, and its mail waits until somebody looks after it.
    func loginRefused(_ lane: Lane, _ failure: Failure) {
        TrustMetrics.loginRefused()
        log.write(.error, "login refused by next hop, its mail waits") { line in
            line.add(.lane, lane.description)
            if let remote = failure.remote { line.add(.mx, remote) }
            line.add(.reply, failure.reply.description)
        }
    }

    func load(_ parcels: [Parcel]) async -> [Assignment] {
        let queue = self.queue
        let loaded = queue.disk.runIfActive(eventLoop: loop) {
            parcels.map { parcel -> Result<Assignment, QueueError> in
                do throws(QueueError) { return .success(try queue.load(parcel)) } catch { return .failure(error) }
            }
        }
        guard let results = try? await loaded.get() else { return [] }
        return zip(parcels, results).compactMap { parcel, result in
            switch result {
            case .success(let assignment): return assignment
            case .failure(let error):
                unreadable(parcel, error)
                return nil
            }
        }
    }

    /// A damaged message has left the queue; one that cannot be read now waits for the disk.
    func unreadable(_ parcel: Parcel, _ error: QueueError) {
        log.write(.error, "message unreadable") { line in
            line.add(.id, parcel.id.message.description)
            line.add(.error, "\(error)")
        }
        if case .damaged = error { return }
        let deferral = Deferral(
            recipients: parcel.recipients,
            delay: 60_000,
            reply: LastReply("451 4.3.0 the message could not be read", reason: .local),
            kind: .asked
        )
        queue.settle(parcel, done: [], deferred: deferral, at: .now(), wall: .now())
        changed()
    }

    private func waitForRoom() async {
        if hasRoom { return }
        await finished()
    }
}
