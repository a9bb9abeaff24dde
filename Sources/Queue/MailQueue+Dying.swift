// MailQueue+Dying.swift — bounces that somebody may still take back: `bounce_grace`.
//
// A message that is to bounce is held until then, so it is kept as every hold is: on the disk before anybody is told, over
// restarts and power cuts, with the shared queue whichever node has it. At its end it is removed as by an administrator: the
// report is on the disk with the note of the removal, so there is one of them and not two.

import History
package import Mail
import NIOPosix
package import Storage
import Synchronization

/// Messages of which recipients were given up, while others are still tried.
struct Condemned: Sendable {
    /// Messages that are remembered; beyond, they bounce at once.
    static let most = 10_000

    struct Sentence: Sendable {
        var recipients: Set<UInt32> = []
        var reason = ""
    }

    private(set) var all: [QueueID: Sentence] = [:]

    var isEmpty: Bool { all.isEmpty }

    subscript(id: QueueID) -> Sentence? {
        get { all[id] }
        set { all[id] = newValue }
    }
}

extension MailQueue {
    /// Milliseconds that a bounce waits; 0: none does.
    package var bounceGrace: Int64 { state.withLock { Int64($0.options.bounceGrace) * 1000 } }

    /// What holds a message that is to bounce; nil where no bounce waits.
    package func graceHold(because reason: String, at wall: Timestamp = .now()) -> Hold? {
        let grace = bounceGrace
        guard grace > 0 else { return nil }
        return Hold(since: wall, until: wall.adding(milliseconds: grace), reason: reason, .dying)
    }

    /// Removes a message with a report to its sender, once the grace is over.
    ///
    /// - Returns: the result, and when it will bounce; nil: it is gone.
    package func bounce(_ id: QueueID, reason: String) async -> (result: CommandResult, at: Timestamp?) {
        guard let hold = graceHold(because: reason) else {
            return (await remove(id, withReport: true, reason: reason), nil)
        }
        let result = await onDisk { () -> CommandResult in
            do throws(QueueError) { return try self.hold([id], hold).first?.result ?? .notFound } catch {
                return .failed("the list of held messages could not be written")
            }
        }
        return (result ?? .failed("the relay is stopping"), state.withLock { $0.holds[id]?.until })
    }

    /// Takes bounces back that wait for their time: what was held before is held again, everything else goes on.
    ///
    /// Blocks.
    /// - Throws: ``QueueError`` when it could not be written down: they go on now, but after a restart they would bounce.
    package func revive(
        _ ids: [QueueID],
        at now: Uptime = .now(),
        wall: Timestamp = .now()
    ) throws(QueueError) -> [CommandResult] {
        awaitRecovery(of: ids)
        let steps = state.withLock { state in ids.map { state.revive($0, at: now, wall: wall) } }
        wakeDispatcher()
        defer {
            for (id, step) in zip(ids, steps) where step.result == .done {
                var fact = CommandFact(.released, at: .now())
                fact.text = "revived"
                tell(fact, of: id)
                if let hold = step.hold { tell(hold, of: id) }
            }
        }
        try saveHolds(ids)
        return steps.map(\.result)
    }

    /// A reaction gave recipients of a message up: they are put off, and bounce when nothing else is left of the message and the
    /// grace is over.
    ///
    /// - Returns: false where they are to bounce at once.
    package func condemn(_ id: QueueID, _ recipients: [UInt32], because reason: String) -> Bool {
        state.withLock { state in
            guard state.options.bounceGrace > 0, state.slot(of: id) != nil else { return false }
            guard state.condemned[id] != nil || state.condemned.all.count < Condemned.most else { return false }
            var sentence = state.condemned[id] ?? Condemned.Sentence()
            sentence.recipients.formUnion(recipients)
            sentence.reason = reason
            state.condemned[id] = sentence
            return true
        }
    }

    /// Nothing is left of a message but what was given up.
    func letDie(_ id: QueueID) {
        guard let reason = state.withLock({ $0.condemned[id]?.reason }), let hold = graceHold(because: reason) else {
            return
        }
        // What cannot be written down is tried again at its time, and meets the same reaction.
        disk.submit { [self] _ in _ = try? self.hold([id], hold) }
    }

    /// The time of messages has come that nobody revived.
    func bury(_ ids: [QueueID]) async {
        for id in ids {
            guard let reason = state.withLock({ $0.holds[id]?.reason }) else { continue }
            switch await remove(id, withReport: true, reason: reason, isDue: true) {
            case .done, .unchanged, .notFound: break
            case .inFlight, .held, .dying, .failed: state.withLock { $0.holds.tellAgain(id) }
            }
        }
    }
}

extension QueueState {
    /// The state of a parcel; of one that is held because its message is to bounce it is another word.
    func state(of ticket: Ticket, _ entry: MessageEntry) -> QueuedState {
        let state = scheduler.state(of: ticket)
        return state == .held && holds[entry.id]?.isDying == true ? .dying : state
    }

    /// Whether a message has nothing left but recipients that were given up, none of them on its way.
    func isLeftToDie(_ slot: Slot) -> Bool {
        guard let entry = self[slot], !entry.isHeld, let sentence = condemned[entry.id] else { return false }
        return tickets(of: entry).allSatisfy { ticket in
            !scheduler.isInFlight(ticket) && recipients(of: ticket).allSatisfy(sentence.recipients.contains)
        }
    }

    fileprivate mutating func revive(
        _ id: QueueID,
        at now: Uptime,
        wall: Timestamp
    ) -> (result: CommandResult, hold: Hold?) {
        guard slot(of: id) != nil else { return (.notFound, nil) }
        guard let known = holds[id], known.isDying else { return (.unchanged, nil) }
        condemned[id] = nil
        guard known.kind == .dyingHeld else { return (letGo(id, at: now), nil) }
        holds[id] = Hold(since: wall, reason: "it was held before it was to bounce")
        return (.done, holds[id])
    }
}
