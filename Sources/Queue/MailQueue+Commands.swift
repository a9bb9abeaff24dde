// MailQueue+Commands.swift — what an administrator does to single messages: retry, hold, release, remove.
//
// Guarantees: a message in flight is never removed, nor sent by anybody else while it is being removed; a hold and a
// release are on disk before they are answered.

import History
package import Mail
import NIOPosix
package import Storage
import Synchronization

/// What became of a command about one message.
package enum CommandResult: Hashable, Sendable {
    case done
    /// It was so already.
    case unchanged
    /// It is not in the queue.
    case notFound
    /// A session has it: try again in a moment.
    case inFlight
    /// It is held back: release it first.
    case held
    /// It is to bounce: revive it first.
    case dying
    /// In words, for the administrator.
    case failed(String)
}

/// Sends the report of a removal to the sender.
struct Reporter: Sendable {
    /// - Returns: whether the report is on disk, or in the tray.
    var report: @Sendable (_ message: Assignment, _ reason: String, _ tray: ReportTray?) async -> Bool = { _, _, _ in
        false
    }
}

extension MailQueue {
    /// Says how a report about a removed message is written; the wiring knows.
    package func setReporter(
        _ report: @escaping @Sendable (_ message: Assignment, _ reason: String, _ tray: ReportTray?) async -> Bool
    ) {
        reporter.withLock { $0.report = report }
    }

    /// Whether a message is known here; cheap.
    package func has(_ id: QueueID) -> Bool { state.withLock { $0.slot(of: id) != nil } }

    /// Makes a message due now.
    package func retry(_ id: QueueID, at now: Uptime = .now()) -> CommandResult {
        awaitRecovery(of: [id])
        let result: CommandResult = state.withLock { state in
            guard let entry = state.slot(of: id).flatMap({ state[$0] }) else { return .notFound }
            if entry.isHeld { return state.holds[id]?.isDying == true ? .dying : .held }
            var result = CommandResult.unchanged
            for ticket in state.tickets(of: entry) {
                if state.scheduler.hurry(ticket, at: now) { result = .done }
                if result == .unchanged, state.scheduler.isInFlight(ticket) { result = .inFlight }
            }
            return result
        }
        if result == .done { wakeDispatcher() }
        return result
    }

    /// Makes temporarily failed parcels due now: all, or one lane's.
    ///
    /// - Returns: how many.
    @discardableResult
    package func flush(_ lane: Lane?, at now: Uptime) -> Int {
        let count = state.withLock { state in
            // For mail that is not known as yet.
            if isRecovering.load(ordering: .relaxed) {
                if let lane { state.flushed.lanes.insert(lane) } else { state.flushed.isAll = true }
            }
            return state.scheduler.flush(lane, at: now)
        }
        wakeDispatcher()
        return count
    }

    // MARK: hold and release

    /// Holds messages back until they are released, or until a time; what is in flight is held when it comes back.
    ///
    /// What is held already is held by these words, and until this time, from now on. Blocks.
    ///
    /// - Parameter until: when they go on by themselves; nil: when they are released.
    /// - Throws: ``QueueError`` when it could not be written down; then nothing has changed.
    package func hold(
        _ ids: [QueueID],
        reason: String,
        until: Timestamp? = nil,
        wall: Timestamp = .now()
    ) throws(QueueError) -> [CommandResult] {
        try hold(ids, Hold(since: wall, until: until, reason: reason)).map(\.result)
    }

    /// The same, with what each was held by before, to take it back (``HoldTrail``).
    ///
    /// Blocks.
    func hold(_ ids: [QueueID], _ hold: Hold) throws(QueueError) -> [HoldOutcome] {
        awaitRecovery(of: ids)
        let steps = state.withLock { state in
            ids.map { id in
                let before = state.holds[id]
                return HoldOutcome(state.hold(id, hold), before: before)
            }
        }
        do throws(QueueError) {
            try saveHolds(ids)
        } catch {
            let now = Uptime.now()
            state.withLock { state in
                for (id, step) in zip(ids, steps) where step.result == .done {
                    state.rehold(id, step.before, at: now)
                }
            }
            wakeDispatcher()
            throw error
        }
        for (id, step) in zip(ids, steps) where step.result == .done { tell(hold, of: id) }
        return steps
    }

    /// Takes back what a hold did, message by message: what was held since by another word stays as it is.
    ///
    /// Blocks.
    /// - Throws: ``QueueError`` when it could not be written down: they go on now, but a restart would hold them again.
    func takeBack(_ steps: [HoldTrail.Step], at now: Uptime = .now()) throws(QueueError) -> [CommandResult] {
        let ids = steps.map(\.id)
        awaitRecovery(of: ids)
        let results = state.withLock { state in
            steps.map { step -> CommandResult in
                guard state.slot(of: step.id) != nil else { return .notFound }
                guard state.holds[step.id] == step.placed else { return .unchanged }
                state.rehold(step.id, step.before, at: now)
                return .done
            }
        }
        wakeDispatcher()
        defer {
            for (step, result) in zip(steps, results) where result == .done {
                guard let before = step.before else { tell(CommandFact(.released, at: .now()), of: step.id); continue }
                tell(before, of: step.id)
            }
        }
        try saveHolds(ids)
        return results
    }

    /// Lets messages that were held back go on.
    ///
    /// Blocks.
    /// - Throws: ``QueueError`` when it could not be written down: they go on now, but a restart would hold them again.
    package func release(_ ids: [QueueID], at now: Uptime = .now()) throws(QueueError) -> [CommandResult] {
        awaitRecovery(of: ids)
        let results = state.withLock { state in ids.map { state.release($0, at: now) } }
        wakeDispatcher()
        defer {
            for (id, result) in zip(ids, results) where result == .done {
                tell(CommandFact(.released, at: .now()), of: id)
            }
        }
        try saveHolds(ids)
        return results
    }

    /// Holds back messages that are not here yet, until a time: for ``accept(_:by:on:done:)`` with these ids, which must follow.
    ///
    /// Written down first: a crash in between leaves a hold of nothing, which the next start forgets. Blocks.
    /// - Throws: ``QueueError`` when it could not be written down; then nothing has changed.
    /// - Parameter isTold: history hears of it.
    package func hold(arriving ids: [QueueID], _ hold: Hold, isTold: Bool = true) throws(QueueError) {
        state.withLock { state in for id in ids { state.holds[id] = hold } }
        do throws(QueueError) { try saveHolds(ids) } catch {
            state.withLock { state in for id in ids { state.holds[id] = nil } }
            throw error
        }
        if isTold { for id in ids { tell(hold, of: id) } }
    }

    /// Lets messages go on whose time has come.
    ///
    /// Blocks where there are any.
    package func releaseDue(at now: Uptime = .now(), wall: Timestamp = .now()) {
        let (due, dying) = state.withLock { state -> ([QueueID], [QueueID]) in
            let due = state.holds.takeDue(at: wall)
            // Some of them are on their way.
            for id in due where state.slot(of: id) == nil { state.holds.tellAgain(id) }
            let here = due.filter { state.slot(of: $0) != nil }
            return (here.filter { state.holds[$0]?.isDying == false }, here.filter { state.holds[$0]?.isDying == true })
        }
        if !dying.isEmpty { Task { await self.bury(dying) } }
        guard !due.isEmpty else { return }
        // What cannot be written down goes on all the same: a restart would find its time over.
        _ = try? release(due, at: now)
    }

    /// One at a time, so that an older word never stands behind a newer one: what is written is what counts by then.
    ///
    /// This lock guards a file that administrators write now and then, and nothing else waits for it.
    func saveHolds(_ ids: [QueueID]) throws(QueueError) {
        try holdsFile.withLock { _ throws(QueueError) in
            let changes = state.withLock { state in ids.map { HoldChange($0, state.holds[$0]) } }
            try store.save(changes) { state.withLock { $0.holds.all } }
        }
    }

    // MARK: remove

    /// Removes a message for good.
    ///
    /// - Parameters:
    ///   - withReport: tell the sender, as of a bounce; the report is on disk before the message is gone.
    ///   - reason: in words, for the report.
    ///   - isDue: its time to bounce has come: where it was revived meanwhile it stays.
    package func remove(
        _ id: QueueID,
        withReport: Bool,
        reason: String,
        isDue: Bool = false,
        at now: Uptime = .now()
    ) async -> CommandResult {
        if isRecovering.load(ordering: .acquiring) { await onDisk { self.awaitRecovery(of: [id]) } }
        let claim = state.withLock { state in
            isDue && state.holds[id]?.isDying != true ? .refused(.unchanged) : state.claim(id)
        }
        guard case .claimed(let parcel) = claim else { return claim.result }
        let tray = withReport ? makeReportTray() : nil
        defer { discard(tray) }
        if withReport {
            let loaded = await onDisk { Result { () throws(QueueError) in try self.load(parcel) } }
            guard case .success(let assignment)? = loaded else {
                unclaim(id)
                return .failed("the message cannot be read")
            }
            if assignment.envelope.sender != .null {
                let report = reporter.withLock { $0.report }
                guard await report(assignment, reason, tray) else {
                    unclaim(id)
                    return .failed("the report to the sender could not be stored")
                }
            }
        }
        let freed = state.withLock { state in
            state.traffic.removed.add(parcel.recipients.count, at: now)
            QueueMetrics.countRemoved(parcel.recipients.count)
            return drop(id, removalFacts(withReport, reason), with: tray, in: &state)
        }
        memory.release(freed)
        wakeDispatcher()
        discard(tray)
        await tray?.finished()
        return .done
    }

    /// Takes a message out of index and store.
    ///
    /// - Returns: bytes of memory it held.
    func drop(_ id: QueueID, _ facts: Facts, with tray: ReportTray?, in state: inout QueueState) -> Int {
        guard let slot = state.slot(of: id), let entry = state[slot] else { return 0 }
        if entry.isMoving, !facts.isEmpty { store.append(facts, of: id) }
        for ticket in state.tickets(of: entry) { state.removeParcel(ticket) }
        guard !entry.isMoving else {
            state[slot]?.changedWhileMoving = true
            return state.dropResident(slot)
        }
        append(.end(entry.location), of: id, facts, with: tray, in: &state)
        return state.removeMessage(slot)
    }

    private func unclaim(_ id: QueueID) {
        state.withLock { state in
            guard let entry = state.slot(of: id).flatMap({ state[$0] }) else { return }
            for ticket in state.tickets(of: entry) { state.putBack(ticket) }
        }
        wakeDispatcher()
    }

    /// Runs blocking work on the disk pool.
    ///
    /// - Returns: nil when the pool has been shut down.
    func onDisk<Value: Sendable>(_ work: @escaping @Sendable () -> Value) async -> Value? {
        try? await disk.runIfActive { work() }
    }
}

/// An attempt to take a message for removal.
enum Claim: Sendable {
    /// Everything that was left of it, as one parcel.
    case claimed(Parcel)
    case refused(CommandResult)

    var result: CommandResult {
        switch self {
        case .claimed: .done
        case .refused(let result): result
        }
    }
}

extension QueueState {
    mutating func hold(_ id: QueueID, _ hold: Hold) -> CommandResult {
        guard let slot = slot(of: id), let entry = self[slot] else { return .notFound }
        // Nothing of what bounces is on its way.
        if hold.isDying, tickets(of: entry).contains(where: { scheduler.isInFlight($0) }) { return .inFlight }
        if entry.isHeld {
            guard let known = holds[id], !known.isDying,
                hold.isDying || known.until != hold.until || known.reason != hold.reason
            else { return .unchanged }
            holds[id] = hold.continuing(known)
            return .done
        }
        self[slot]?.isHeld = true
        holds[id] = hold
        for ticket in tickets(of: entry) { scheduler.hold(ticket) }
        return .done
    }

    fileprivate mutating func release(_ id: QueueID, at now: Uptime) -> CommandResult {
        if holds[id]?.isDying == true, slot(of: id) != nil { return .dying }
        return letGo(id, at: now)
    }

    /// Lets a message go on, whatever holds it.
    mutating func letGo(_ id: QueueID, at now: Uptime) -> CommandResult {
        guard let slot = slot(of: id), let entry = self[slot] else { return .notFound }
        guard entry.isHeld else { return .unchanged }
        self[slot]?.isHeld = false
        holds[id] = nil
        for ticket in tickets(of: entry) { scheduler.release(ticket, at: now) }
        return .done
    }

    /// Gives a held message the hold that it had before; nil: it goes on.
    mutating func rehold(_ id: QueueID, _ before: Hold?, at now: Uptime) {
        if before == nil { _ = letGo(id, at: now) } else { holds[id] = before }
    }

    /// Takes all parcels of a message, as if a session had them.
    mutating func claim(_ id: QueueID) -> Claim {
        guard let slot = slot(of: id), let entry = self[slot] else { return .refused(.notFound) }
        let tickets = tickets(of: entry)
        guard let first = tickets.first, !tickets.contains(where: { scheduler.isInFlight($0) }) else {
            return .refused(.inFlight)
        }
        let parcel = Parcel(
            id: Parcel.ID(message: id, ticket: first),
            lane: scheduler.lane(of: first),
            recipients: tickets.flatMap { recipients(of: $0) }.sorted(),
            failures: Int(tickets.map { self.parcel($0).failures }.max() ?? 0),
            unreached: Int(tickets.map { self.parcel($0).unreached }.max() ?? 0),
            acceptedAt: entry.acceptedAt
        )
        for ticket in tickets { _ = scheduler.claim(ticket) }
        return .claimed(parcel)
    }
}
