// ReceivingStore.swift — a queue store for reception: commits at once, when told, or never, and has large bodies.

package import Mail
package import NIOCore
package import NIOPosix
package import Storage
import Synchronization

/// Remembers what was accepted, in order.
package final class ReceivingStore: QueueStore {
    package enum Mode: Sendable {
        case immediately
        case held
        case failing(QueueError)
    }

    private struct State: Sendable {
        var mode = Mode.immediately
        var hasRoom = true
        var bodyError: QueueError?
        var mostBodies = Int.max
        var messages: [NewMessage] = []
        var pending: [QueueID] = []
        var bodies: [MemoryBody] = []
        var committed: (@Sendable ([CommitResult]) -> Void)?
        var asked: [Int] = []
        var holds: [SavedHolds] = []
        var facts: [QueueID] = []
        var isSynced = true
    }

    /// Whom somebody held back, and how many messages there were when that was saved.
    package struct SavedHolds: Sendable {
        package let ids: Set<QueueID>
        package let messages: Int
    }

    private let state = Mutex(State())
    private let writer: NIOThreadPool

    /// - Parameter writer: one thread, as the real store has.
    package init(writer: NIOThreadPool) { self.writer = writer }

    package var messages: [NewMessage] { state.withLock { $0.messages } }
    package var bodies: [MemoryBody] { state.withLock { $0.bodies } }
    /// Sizes that ``hasRoom(for:)`` was asked about.
    package var asked: [Int] { state.withLock { $0.asked } }

    /// What was saved, in order.
    package var holds: [SavedHolds] { state.withLock { $0.holds } }

    package func set(_ mode: Mode) { state.withLock { $0.mode = mode } }
    package func setRoom(_ hasRoom: Bool) { state.withLock { $0.hasRoom = hasRoom } }
    package func setBodyError(_ error: QueueError?) { state.withLock { $0.bodyError = error } }

    /// So many bodies can be made, and no more.
    package func setMostBodies(_ count: Int) { state.withLock { $0.mostBodies = count } }

    /// Ends the commits that are held.
    package func commit(_ error: QueueError? = nil) {
        let (call, results) = state.withLock { state in
            defer { state.pending = [] }
            return (
                state.committed,
                state.pending.map { id in
                    CommitResult(
                        id: id,
                        result: error.map { .failure($0) }
                            ?? .success(Location(number: 1))
                    )
                }
            )
        }
        call?(results)
    }

    package func append(_ message: NewMessage) {
        let mode = state.withLock { state in
            state.pending.append(message.id)
            switch state.mode {
            case .failing: break
            case .immediately, .held: state.messages.append(message)
            }
            return state.mode
        }
        switch mode {
        case .held: break
        case .immediately: writer.submit { _ in self.commit() }
        case .failing(let error):
            writer.submit { _ in
                if case .file(let file) = message.content.body { file.discard() }
                self.commit(error)
            }
        }
    }

    package func append(_ state: DeliveryState, of id: QueueID, _ facts: Facts) {}
    package func appendSettled(_ id: QueueID, at location: Location, _ facts: Facts) {}
    package func append(_ facts: Facts, of id: QueueID) { state.withLock { $0.facts.append(id) } }

    /// Whether what is appended from now on becomes durable, for those who wait for it.
    package func setSynced(_ isSynced: Bool) { state.withLock { $0.isSynced = isSynced } }

    /// Messages that something was told of.
    package var told: [QueueID] { state.withLock { $0.facts } }

    package func confirm() -> Bool { state.withLock { $0.isSynced } }

    package func recover(_ visit: (RecoveredMessage) -> Void) throws(QueueError) {}

    package func start(committed: @escaping @Sendable ([CommitResult]) -> Void) throws(QueueError) {
        state.withLock { $0.committed = committed }
    }

    package func read(_ id: QueueID, at location: Location) throws(QueueError) -> NewMessage {
        guard let message = messages.first(where: { $0.id == id }) else { throw .damaged("no such message") }
        return message
    }

    package func readEnvelope(_ id: QueueID, at location: Location) throws(QueueError) -> Envelope {
        try read(id, at: location).envelope
    }

    package func makeLargeBody(_ id: QueueID) throws(QueueError) -> any LargeBody {
        let (body, error) = state.withLock { state in
            let error = state.bodies.count < state.mostBodies ? state.bodyError : .broken("no more bodies")
            let body = MemoryBody(error: error)
            if error == nil { state.bodies.append(body) }
            return (body, error)
        }
        if let error { throw error }
        return body
    }

    package var wantsRoom: Bool { false }
    package func isBeingEmptied(_ location: Location) -> Bool { false }

    package func move(_ id: QueueID, from location: Location, _ state: DeliveryState) throws(QueueError) -> Location {
        location
    }

    package func hasRoom(for bytes: Int) -> Bool {
        state.withLock { state in
            state.asked.append(bytes)
            return state.hasRoom
        }
    }

    package func save(_ holds: [QueueID: Hold]) throws(QueueError) {
        state.withLock { $0.holds.append(SavedHolds(ids: Set(holds.keys), messages: $0.messages.count)) }
    }

    package func close() {}
}

/// A body file without a file.
package final class MemoryBody: LargeBody {
    package struct State: Sendable {
        package var bytes = ByteBuffer()
        package var largestWrite = 0
        package var isFinished = false
        package var isDiscarded = false
        package var writesAfterDiscard = 0
        var fails: QueueError?
    }

    private let inner: Mutex<State>

    package init(error: QueueError?) { inner = Mutex(State(fails: error)) }

    package var state: State { inner.withLock { $0 } }
    package var size: Int { inner.withLock { $0.bytes.readableBytes } }

    package func fail(_ error: QueueError) { inner.withLock { $0.fails = error } }

    package func write(_ bytes: ByteBuffer) throws(QueueError) {
        let error = inner.withLock { state in
            if state.isDiscarded { state.writesAfterDiscard += 1 }
            state.largestWrite = max(state.largestWrite, bytes.readableBytes)
            state.bytes.writeImmutableBuffer(bytes)
            return state.fails
        }
        if let error { throw error }
    }

    package func finish() throws(QueueError) {
        let error = inner.withLock { state in
            state.isFinished = true
            return state.fails
        }
        if let error { throw error }
    }

    package func discard() { inner.withLock { $0.isDiscarded = true } }

    package func read(at offset: Int, count: Int) throws(QueueError) -> ByteBuffer {
        inner.withLock {
            $0.bytes.getSlice(at: offset, length: min(count, $0.bytes.readableBytes - offset)) ?? ByteBuffer()
        }
    }
}
