// SpoolJournal.swift — what the writer and one who follows the log tell each other.
//
// The writer says how far the log is on the disk; the follower says what it has passed. Both are looked at without a lock,
// because the writer does so with every batch.

import Files
import Synchronization

/// Between the writer's thread and the follower's.
final class SpoolJournal: Sendable {
    /// Somebody follows: segments wait for it.
    let isFollowed: Bool
    private let synced = Atomic<UInt64>(0)
    private let passed = Atomic<UInt32>(0)
    private let hasUnsynced = Atomic<Bool>(false)
    private let isWaiting = Atomic<Bool>(false)
    private let isStopping = Atomic<Bool>(false)
    /// Where the records of closed segments end.
    private let ends = Mutex<[UInt32: UInt32]>([:])
    let bell = Doorbell()

    init(isFollowed: Bool) { self.isFollowed = isFollowed }

    // MARK: the writer

    /// Everything before this place is on the disk.
    func setSynced(_ segment: UInt32, _ offset: Int) {
        guard isFollowed else { return }
        synced.store(UInt64(segment) << 32 | UInt64(UInt32(truncatingIfNeeded: offset)), ordering: .releasing)
        hasUnsynced.store(false, ordering: .relaxed)
        ringIfAwaited()
    }

    /// Notes were written that are not on the disk as yet.
    func noteUnsynced() {
        guard isFollowed else { return }
        hasUnsynced.store(true, ordering: .relaxed)
        ringIfAwaited()
    }

    /// A segment is written no more; what counts of it ends there.
    func close(_ segment: UInt32, at end: Int) {
        guard isFollowed else { return }
        ends.withLock { $0[segment] = UInt32(truncatingIfNeeded: end) }
    }

    /// A segment was given up: only what was synced of it counts.
    func giveUp(_ segment: UInt32) {
        let known = synced.load(ordering: .relaxed)
        close(segment, at: UInt32(known >> 32) == segment ? Int(known & 0xFFFF_FFFF) : SegmentHeader.size)
    }

    func forget(_ segment: UInt32) {
        guard isFollowed else { return }
        ends.withLock { $0[segment] = nil }
    }

    /// The follower is done with the segment, or there is none.
    func isPast(_ segment: UInt32) -> Bool { !isFollowed || segment < passed.load(ordering: .acquiring) }

    // MARK: the follower

    /// Nothing before this segment is needed again.
    func setPassed(_ segment: UInt32) { passed.store(segment, ordering: .releasing) }

    var syncedSegment: UInt32 { UInt32(synced.load(ordering: .acquiring) >> 32) }

    /// Where to stop reading a segment for now; nil: nothing of it is on the disk.
    func limit(of segment: UInt32) -> Int? {
        let known = synced.load(ordering: .acquiring)
        // Looked at second: a segment is closed before the next one is synced.
        if let end = ends.withLock({ $0[segment] }) { return Int(end) }
        let open = UInt32(known >> 32)
        if segment == open { return Int(known & 0xFFFF_FFFF) }
        return segment < open ? Int(UInt32.max) : nil
    }

    var wantsSync: Bool { hasUnsynced.load(ordering: .relaxed) }

    private func ringIfAwaited() {
        if isWaiting.exchange(false, ordering: .acquiringAndReleasing) { bell.ring() }
    }

    /// Waits until something is written behind this place, or ``stop()``.
    ///
    /// - Parameter nanoseconds: at most.
    func wait(behind segment: UInt32, _ offset: UInt32, atMost nanoseconds: Int) {
        isWaiting.store(true, ordering: .sequentiallyConsistent)
        let known = synced.load(ordering: .sequentiallyConsistent)
        if known > UInt64(segment) << 32 | UInt64(offset) || wantsSync || isStopping.load(ordering: .relaxed) {
            isWaiting.store(false, ordering: .relaxed)
            return
        }
        bell.wait(atMost: nanoseconds)
        isWaiting.store(false, ordering: .relaxed)
    }

    /// Ends the wait, and every later one.
    func stop() {
        isStopping.store(true, ordering: .relaxed)
        bell.ring()
    }
}
