// GroupCommit.swift — one thread writes for everybody: it takes whatever waits, writes it at once, syncs once; meanwhile
// the next batch gathers. Under load the batches grow by themselves, without a tuning knob.
//
// Nobody waits for a note (an attempt, a settled message), so notes alone stay for a millisecond: most often a message
// comes along and takes them with it, which spares a write for each delivery. The thread looks for them by itself for a
// millisecond behind a message, whose delivery is under way then, so that they seldom have to wake it. What a crash can cost
// is known: the messages delivered in that millisecond are delivered again.
//
// When a 250 is safe: ``SpoolWriter/commit(_:)`` calls `committed` with a message only after the `fdatasync` that covers
// its record has returned without an error.

import Files
import Mail
import Synchronization

/// Something to be written to the log.
enum SpoolItem: Sendable {
    case message(NewMessage)
    case attempt(QueueID, DeliveryState, Facts)
    /// No location: a message that was refused, whose bytes may nevertheless be on the disk.
    case settled(QueueID, Location?, Facts)
    /// For history alone.
    case facts(QueueID, Facts)
    case move(SpoolMove)
    /// A note with reports about it; of a shared queue.
    case joint(JointNote)
    /// Live messages that an earlier life of the relay wrote; comes before everything about them.
    case found([Location])
    /// All of them are known; segments of these numbers could not be read and stay.
    case foundAll(kept: Set<UInt32>)
    /// Everything before this is written and synced when the bell rings, or cannot be.
    case sync(SyncBell)

    /// Somebody waits for it.
    var isUrgent: Bool {
        switch self {
        case .message, .move, .joint, .sync: true
        case .attempt, .settled, .facts, .found, .foundAll: false
        }
    }
}

/// A live message on its way from an old segment to the newest one; the caller waits.
final class SpoolMove: Sendable {
    let message: NewMessage
    let state: DeliveryState
    let from: Location
    private let answer = Mutex<Result<Location, QueueError>?>(nil)
    private let bell = Doorbell()

    init(_ message: NewMessage, _ state: DeliveryState, from location: Location) {
        self.message = message
        self.state = state
        from = location
    }

    func finish(_ result: Result<Location, QueueError>) {
        answer.withLock { $0 = result }
        bell.ring()
    }

    func wait() throws(QueueError) -> Location {
        bell.wait()
        return try (answer.withLock { $0 } ?? .failure(.closing)).get()
    }
}

/// Writes what ``GroupCommit`` has gathered, on its thread alone.
protocol BatchWriter {
    /// Makes a batch durable and tells of it.
    func commit(_ items: [SpoolItem])

    /// Makes durable what could not be before.
    func close()
}

final class GroupCommit: Sendable {
    /// Nanoseconds that notes wait for a message to go with.
    private static let patience = 1_000_000

    /// What the writer's thread is doing; whoever ends its wait rings.
    private enum Thread {
        case busy
        /// It found nothing: the next item ends the wait.
        case idle
        /// It found notes only, or has just written messages whose notes will come: the next item that is urgent ends
        /// the wait.
        case gathering
    }

    private struct Inbox {
        var items: [SpoolItem] = []
        /// Somebody waits for one of them.
        var isUrgent = false
        var thread = Thread.busy
        var isClosing = false
        /// The thread has ended.
        var isClosed = false
    }

    private let inbox = Mutex(Inbox())
    private let bell = Doorbell()
    private let thread = Mutex<SpoolThread?>(nil)

    /// Adds an item to the next batch.
    ///
    /// Never waits.
    ///
    /// - Returns: false when the writer has ended.
    @discardableResult
    func submit(_ item: SpoolItem) -> Bool {
        let (isOpen, mustRing) = inbox.withLock { inbox in
            guard !inbox.isClosed else { return (false, false) }
            inbox.items.append(item)
            if item.isUrgent { inbox.isUrgent = true }
            guard inbox.thread == .idle || inbox.thread == .gathering && item.isUrgent else { return (true, false) }
            inbox.thread = .busy
            return (true, true)
        }
        if mustRing { bell.ring() }
        return isOpen
    }

    /// Starts the writer's thread.
    ///
    /// - Parameter makeWriter: called on that thread; the writer never leaves it.
    func start<Writer: BatchWriter & SendableMetatype>(_ makeWriter: @escaping @Sendable () -> Writer) -> Bool {
        let thread = SpoolThread {
            let writer = makeWriter()
            var expectsNotes = false
            while let batch = self.next(expectsNotes) {
                expectsNotes = batch.contains { $0.isUrgent }
                writer.commit(batch)
            }
            writer.close()
        }
        self.thread.withLock { $0 = thread }
        return thread != nil
    }

    /// Writes what waits, then ends the thread.
    func stop() {
        let mustRing = inbox.withLock { inbox in
            inbox.isClosing = true
            defer { inbox.thread = .busy }
            return inbox.thread != .busy
        }
        if mustRing { bell.ring() }
        let thread = self.thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        thread?.join()
    }

    private enum Look {
        case batch([SpoolItem])
        case nothing, tooLittle, over
    }

    /// The next batch: everything that waits; nil after ``stop()`` when nothing is left.
    ///
    /// - Parameter expectsNotes: the last batch had messages in it.
    private func next(_ expectsNotes: Bool) -> [SpoolItem]? {
        var (mayGather, expectsNotes) = (true, expectsNotes)
        while true {
            switch look(mayGather, expectsNotes) {
            case .batch(let items): return items
            case .over: return nil
            case .nothing: bell.wait()
            case .tooLittle:
                bell.wait(atMost: Self.patience)
                (mayGather, expectsNotes) = (false, false)
            }
        }
    }

    private func look(_ mayGather: Bool, _ expectsNotes: Bool) -> Look {
        inbox.withLock { inbox in
            inbox.thread = .busy
            if inbox.items.isEmpty, !expectsNotes || inbox.isClosing {
                inbox.isClosed = inbox.isClosing
                if !inbox.isClosing { inbox.thread = .idle }
                return inbox.isClosing ? .over : .nothing
            }
            if mayGather, !inbox.isUrgent, !inbox.isClosing {
                inbox.thread = .gathering
                return .tooLittle
            }
            var items: [SpoolItem] = []
            // A fresh array as large as the last batch, so that a steady load does not grow it step by step.
            items.reserveCapacity(min(inbox.items.count, 1024))
            swap(&items, &inbox.items)
            inbox.isUrgent = false
            return .batch(items)
        }
    }
}
