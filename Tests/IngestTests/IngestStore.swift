// IngestStore.swift — a queue store for reception: commits at once, when told, or never, and has large bodies.

import Mail
import NIOCore
import NIOPosix
import Queue
import Storage
import Synchronization
import TestSupport

/// Remembers what was accepted, in order.
final class IngestStore: QueueStore {
    enum Mode: Sendable {
        case immediately
        case held
        case failing(QueueError)
    }

    private struct State: Sendable {
        var mode = Mode.immediately
        var hasRoom = true
        var bodyError: QueueError?
        var messages: [NewMessage] = []
        var pending: [QueueID] = []
        var bodies: [MemoryBody] = []
        var committed: (@Sendable ([CommitResult]) -> Void)?
        var asked: [Int] = []
    }

    private let state = Mutex(State())
    private let writer: NIOThreadPool

    /// - Parameter writer: one thread, as the real store has.
    init(writer: NIOThreadPool) { self.writer = writer }

    var messages: [NewMessage] { state.withLock { $0.messages } }
    var bodies: [MemoryBody] { state.withLock { $0.bodies } }
    /// Sizes that ``hasRoom(for:)`` was asked about.
    var asked: [Int] { state.withLock { $0.asked } }

    func set(_ mode: Mode) { state.withLock { $0.mode = mode } }
    func setRoom(_ hasRoom: Bool) { state.withLock { $0.hasRoom = hasRoom } }
    func setBodyError(_ error: QueueError?) { state.withLock { $0.bodyError = error } }

    /// Ends the commits that are held.
    func commit(_ error: QueueError? = nil) {
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

    func append(_ message: NewMessage) {
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
        case .failing(let error): writer.submit { _ in self.commit(error) }
        }
    }

    func append(_ state: DeliveryState, of id: QueueID, _ facts: Facts) {}
    func appendSettled(_ id: QueueID, at location: Location, _ facts: Facts) {}
    func append(_ facts: Facts, of id: QueueID) {}

    func recover(_ visit: (RecoveredMessage) -> Void) throws(QueueError) {}

    func start(committed: @escaping @Sendable ([CommitResult]) -> Void) throws(QueueError) {
        state.withLock { $0.committed = committed }
    }

    func read(_ id: QueueID, at location: Location) throws(QueueError) -> NewMessage {
        guard let message = messages.first(where: { $0.id == id }) else { throw .damaged("no such message") }
        return message
    }

    func readEnvelope(_ id: QueueID, at location: Location) throws(QueueError) -> Envelope {
        try read(id, at: location).envelope
    }

    func makeLargeBody(_ id: QueueID) throws(QueueError) -> any LargeBody {
        let (body, error) = state.withLock { state in
            let body = MemoryBody(error: state.bodyError)
            if state.bodyError == nil { state.bodies.append(body) }
            return (body, state.bodyError)
        }
        if let error { throw error }
        return body
    }

    var wantsRoom: Bool { false }
    func isBeingEmptied(_ location: Location) -> Bool { false }

    func move(_ id: QueueID, from location: Location, _ state: DeliveryState) throws(QueueError) -> Location {
        location
    }

    func hasRoom(for bytes: Int) -> Bool {
        state.withLock { state in
            state.asked.append(bytes)
            return state.hasRoom
        }
    }

    func close() {}
}

/// A body file without a file.
final class MemoryBody: LargeBody {
    struct State: Sendable {
        var bytes = ByteBuffer()
        var largestWrite = 0
        var isFinished = false
        var isDiscarded = false
        var writesAfterDiscard = 0
        var fails: QueueError?
    }

    private let inner: Mutex<State>

    init(error: QueueError?) { inner = Mutex(State(fails: error)) }

    var state: State { inner.withLock { $0 } }
    var size: Int { inner.withLock { $0.bytes.readableBytes } }

    func fail(_ error: QueueError) { inner.withLock { $0.fails = error } }

    func write(_ bytes: ByteBuffer) throws(QueueError) {
        let error = inner.withLock { state in
            if state.isDiscarded { state.writesAfterDiscard += 1 }
            state.largestWrite = max(state.largestWrite, bytes.readableBytes)
            state.bytes.writeImmutableBuffer(bytes)
            return state.fails
        }
        if let error { throw error }
    }

    func finish() throws(QueueError) {
        let error = inner.withLock { state in
            state.isFinished = true
            return state.fails
        }
        if let error { throw error }
    }

    func discard() { inner.withLock { $0.isDiscarded = true } }

    func read(at offset: Int, count: Int) throws(QueueError) -> ByteBuffer {
        inner.withLock {
            $0.bytes.getSlice(at: offset, length: min(count, $0.bytes.readableBytes - offset)) ?? ByteBuffer()
        }
    }
}
