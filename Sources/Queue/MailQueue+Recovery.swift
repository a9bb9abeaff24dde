// MailQueue+Recovery.swift — files what was accepted before, while new mail comes and goes.
//
// Guarantees: a message is filed when everything that was ever noted of it is known, so that it goes out as if it had been here
// from the start. Whoever asks for the whole queue, or for a message that is not known as yet, waits until it is; a command about
// all mail reaches the messages that come later. A new message never has the id of an old one.

import Files
package import Mail
package import Storage
import Synchronization

/// What of an earlier life is not known as yet, and who waits for it.
struct Unknown: Sendable {
    /// Nil: everything is known.
    var progress: RecoveryProgress?
    var waiting: [Doorbell] = []
    /// Rings when recovery has ended before its time.
    var end: Doorbell?
    var isEnding = false
}

/// What was flushed while not everything was known.
struct Flushed: Sendable {
    var isAll = false
    var lanes: Set<Lane> = []

    var isEmpty: Bool { !isAll && lanes.isEmpty }

    func covers(_ lane: Lane) -> Bool { isAll || lanes.contains(lane) }
}

extension MailQueue {
    /// Seconds that somebody waits for the rest of the queue.
    private static let patience = 30

    /// Opens the store and files every message that was accepted before.
    ///
    /// Blocks.
    ///
    /// - Returns: how many messages there are.
    /// - Throws: ``QueueError`` when the store cannot be opened at all.
    package func recover(at now: Uptime, wall: Timestamp) throws(QueueError) -> Int {
        let count = try open(at: now, wall: wall)
        return count + recoverRest(at: now, wall: wall)
    }

    /// Opens the store, so that mail can be accepted; ``recoverRest(at:wall:)`` must follow, on a thread of its own.
    ///
    /// Blocks, for as long with a million messages as with none.
    ///
    /// - Returns: how many messages are known.
    /// - Throws: ``QueueError`` when the store cannot be opened at all.
    package func open(at now: Uptime, wall: Timestamp) throws(QueueError) -> Int {
        var highest = QueueID(rawValue: 0)
        store.setNews(ownership)
        if store.sharesLanes { state.withLock { $0.scheduler.startGrants() } }
        let holds = store.savedHolds()
        recoverLimits(at: now, wall: wall)
        state.withLock { state in
            state.holds = HeldMessages(holds)
            state.oldHolds = Array(holds.keys)
            state.traffic.begin(at: now)
        }
        let isNewestFirst = store.visitsNewestFirst
        var count = 0
        // One by one as they are found: a list of a million envelopes would cost more memory than the queue itself.
        try store.recover { message in
            highest = max(highest, message.id)
            count += 1
            state.withLock { $0.restore(message, now: now, wall: wall, first: isNewestFirst, lane: laneOf) }
        }
        lastID.withLock { $0 = max($0, highest, store.highestID) }
        try store.start { [weak self] in self?.committed($0) }
        unknown.withLock { unknown in
            unknown.progress = RecoveryProgress(done: 0, of: 0)
            unknown.end = Doorbell()
        }
        isRecovering.store(true, ordering: .releasing)
        return count
    }

    /// Does ``recoverRest(at:wall:)`` on a thread of its own: those of the pool may all be waiting for it.
    ///
    /// - Parameter told: called with the number of messages when it is done.
    package func recoverBehind(told: @escaping @Sendable (Int) -> Void) {
        let work: @Sendable () -> Void = { told(self.recoverRest()) }
        if SpoolThread(work) == nil { work() }
    }

    /// Files what ``open(at:wall:)`` left.
    ///
    /// Blocks until it is done, or ``close()`` is called.
    ///
    /// - Returns: how many messages there were.
    package func recoverRest(at now: Uptime = .now(), wall: Timestamp = .now()) -> Int {
        var count = 0
        let isNewestFirst = store.visitsNewestFirst
        store.recoverRest { messages, progress in
            state.withLock { state in
                for message in messages {
                    state.restore(message, now: now, wall: wall, first: isNewestFirst, lane: laneOf)
                }
            }
            count += messages.count
            let isNews = unknown.withLock { unknown in
                defer { unknown.progress = progress }
                return unknown.progress != progress
            }
            // Once for each segment: whoever looks for work looks at everything.
            if isNews { wakeDispatcher() }
        }
        everythingIsKnown()
        return count
    }

    /// Who waits is told; after an end before its time they hear that not everything is known.
    private func everythingIsKnown() {
        if !unknown.withLock({ $0.isEnding }) {
            state.withLock { state in
                for id in state.oldHolds where state.slot(of: id) == nil { state.holds[id] = nil }
                state.oldHolds = []
                state.flushed = Flushed()
                isRecovering.store(false, ordering: .releasing)
            }
            tellHoldsAgain()
        }
        let (waiting, end) = unknown.withLock { unknown in
            defer { unknown = Unknown() }
            return (unknown.waiting, unknown.end)
        }
        for bell in waiting { bell.ring() }
        end?.ring()
        wakeDispatcher()
    }

    /// Has recovery end, and waits until it has.
    func endRecovery() {
        let end = unknown.withLock { unknown in
            unknown.isEnding = true
            return unknown.end
        }
        guard let end else { return }
        store.endRecovery()
        end.wait()
    }

    /// How far the queue is known; nil: all of it.
    package var recovery: RecoveryProgress? {
        isRecovering.load(ordering: .acquiring) ? unknown.withLock { $0.progress } : nil
    }

    /// Waits until the whole queue is known, half a minute at most.
    ///
    /// Blocks.
    /// - Returns: whether it is.
    @discardableResult
    package func awaitRecovery() -> Bool {
        guard isRecovering.load(ordering: .acquiring) else { return true }
        let bell: Doorbell? = unknown.withLock { unknown in
            guard unknown.progress != nil, !unknown.isEnding else { return nil }
            let bell = Doorbell()
            unknown.waiting.append(bell)
            return bell
        }
        bell?.wait(atMost: Self.patience * 1_000_000_000)
        return !isRecovering.load(ordering: .acquiring)
    }

    /// The same, unless all of these messages are known.
    func awaitRecovery(of ids: [QueueID]) {
        guard isRecovering.load(ordering: .acquiring) else { return }
        guard state.withLock({ state in ids.contains { state.slot(of: $0) == nil } }) else { return }
        awaitRecovery()
    }
}
