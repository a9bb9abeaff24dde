// MemoryStore.swift — a queue store without a disk: commits when a test says so, and remembers what was asked of it.

package import Mail
import NIOCore
package import Storage
import Synchronization

/// Everything the queue told its store, in order.
package final class MemoryStore: QueueStore {
    package enum Record: Equatable, Sendable {
        case message(QueueID)
        case state(QueueID, DeliveryState)
        case settled(QueueID)
    }

    private struct Contents: Sendable {
        var records: [Record] = []
        var messages: [QueueID: NewMessage] = [:]
        var pending: [QueueID] = []
        var committed: (@Sendable ([CommitResult]) -> Void)?
        var recovered: [RecoveredMessage] = []
        var damaged: Set<QueueID> = []
        var recycled: Set<UInt32> = []
        var readsOfRecycled = 0
        var segmentToCompact: UInt32?
        var moves: [QueueID] = []
        var offset: UInt32 = 0
        var holds: [QueueID: Hold] = [:]
        var failsHolds = false
        var facts: [(id: QueueID, facts: Facts)] = []
    }

    /// Places are told by segment, as the spool has them.
    package static func place(_ segment: UInt32, _ offset: UInt32) -> Location {
        Location(number: UInt64(segment) << 32 | UInt64(offset))
    }

    private static func segment(_ location: Location) -> UInt32 { UInt32(truncatingIfNeeded: location.number >> 32) }

    package let joinsNotes: Bool
    private let contents = Mutex(Contents())
    private let duringMove: @Sendable (QueueID) -> Void

    /// - Parameters:
    ///   - recovered: what ``recover(_:)`` finds.
    ///   - duringMove: called in the middle of every ``move(_:from:_:)``.
    package init(
        recovered: [RecoveredMessage] = [],
        joinsNotes: Bool = false,
        duringMove: @escaping @Sendable (QueueID) -> Void = { _ in }
    ) {
        self.duringMove = duringMove
        self.joinsNotes = joinsNotes
        contents.withLock { $0.recovered = recovered }
    }

    package var records: [Record] { contents.withLock { $0.records } }
    /// What notes told history, empty ones included.
    package var facts: [(id: QueueID, facts: Facts)] { contents.withLock { $0.facts } }
    package var moves: [QueueID] { contents.withLock { $0.moves } }

    /// Ends the commit of what was appended first, as the writer would: with success or one error for all.
    package func commit(_ error: QueueError? = nil, atMost count: Int = .max) {
        let (call, results) = contents.withLock { contents in
            let results = contents.pending.prefix(count).map { id -> CommitResult in
                if let error { return CommitResult(id: id, result: .failure(error)) }
                contents.offset += 1
                return CommitResult(id: id, result: .success(Self.place(1, contents.offset)))
            }
            contents.pending.removeFirst(results.count)
            return (contents.committed, results)
        }
        call?(results)
    }

    package func setDamaged(_ id: QueueID) { contents.withLock { _ = $0.damaged.insert(id) } }
    package func setSegmentToCompact(_ segment: UInt32?) { contents.withLock { $0.segmentToCompact = segment } }
    /// Reads from this segment fail from now on.
    package func recycle(_ segment: UInt32) { contents.withLock { _ = $0.recycled.insert(segment) } }
    /// Reads that failed so.
    package var readsOfRecycled: Int { contents.withLock { $0.readsOfRecycled } }
    /// What was saved last.
    package var holds: [QueueID: Hold] { contents.withLock { $0.holds } }
    /// Holds cannot be saved from now on.
    package func failHolds() { contents.withLock { $0.failsHolds = true } }
    package func put(_ message: NewMessage) { contents.withLock { $0.messages[message.id] = message } }

    package func append(_ message: NewMessage) {
        contents.withLock { contents in
            contents.records.append(.message(message.id))
            contents.messages[message.id] = message
            contents.pending.append(message.id)
        }
    }

    package func append(_ state: DeliveryState, of id: QueueID, _ facts: Facts) {
        contents.withLock { contents in
            contents.records.append(.state(id, state))
            contents.facts.append((id, facts))
        }
    }

    package func appendSettled(_ id: QueueID, at location: Location, _ facts: Facts) {
        contents.withLock { contents in
            contents.records.append(.settled(id))
            contents.facts.append((id, facts))
        }
    }

    package func append(_ facts: Facts, of id: QueueID) { contents.withLock { $0.facts.append((id, facts)) } }

    package func recover(_ visit: (RecoveredMessage) -> Void) throws(QueueError) {
        contents.withLock { $0.recovered }.forEach(visit)
    }

    package func start(committed: @escaping @Sendable ([CommitResult]) -> Void) throws(QueueError) {
        contents.withLock { $0.committed = committed }
    }

    package func read(_ id: QueueID, at location: Location) throws(QueueError) -> NewMessage {
        let isRecycled = contents.withLock { contents in
            guard contents.recycled.contains(Self.segment(location)) else { return false }
            contents.readsOfRecycled += 1
            return true
        }
        if isRecycled { throw .broken("the segment was recycled") }
        let found = contents.withLock { contents in
            contents.damaged.contains(id) ? nil : contents.messages[id]
        }
        guard let found else { throw .damaged("no such record") }
        return found
    }

    package func readEnvelope(_ id: QueueID, at location: Location) throws(QueueError) -> Envelope {
        try read(id, at: location).envelope
    }

    package func makeLargeBody(_ id: QueueID) throws(QueueError) -> any LargeBody {
        throw .full("no large bodies here")
    }

    package var wantsRoom: Bool { contents.withLock { $0.segmentToCompact != nil } }

    package func isBeingEmptied(_ location: Location) -> Bool {
        contents.withLock { $0.segmentToCompact == Self.segment(location) }
    }

    package func move(_ id: QueueID, from location: Location, _ state: DeliveryState) throws(QueueError) -> Location {
        duringMove(id)
        return contents.withLock { contents in
            contents.moves.append(id)
            contents.records.append(.message(id))
            contents.segmentToCompact = nil
            return Self.place(Self.segment(location) + 1, UInt32(truncatingIfNeeded: location.number))
        }
    }

    package func save(_ holds: [QueueID: Hold]) throws(QueueError) {
        let isSaved = contents.withLock { contents in
            if !contents.failsHolds { contents.holds = holds }
            return !contents.failsHolds
        }
        if !isSaved { throw .broken("holds") }
    }

    package func savedHolds() -> [QueueID: Hold] { contents.withLock { $0.holds } }

    package func hasRoom(for bytes: Int) -> Bool { true }
    package func close() {}
}
