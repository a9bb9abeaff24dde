// SpoolShared.swift — what the writer lets other threads see of its state.

import Mail
import Synchronization

/// What the writer lets other threads see of its state.
final class SpoolShared: Sendable {
    private let compact = Atomic<UInt32>(0)
    private let room = Atomic<Int>(0)
    private let troubleUntil = Atomic<Int64>(.min)

    func publish(segmentToCompact: UInt32?, room: Int, troubleUntil: Uptime?) {
        compact.store(segmentToCompact ?? 0, ordering: .relaxed)
        self.room.store(room, ordering: .relaxed)
        self.troubleUntil.store(troubleUntil?.milliseconds ?? .min, ordering: .relaxed)
    }

    var segmentToCompact: UInt32? {
        let sequence = compact.load(ordering: .relaxed)
        return sequence == 0 ? nil : sequence
    }

    /// Bytes left in the open segment.
    var openRoom: Int { room.load(ordering: .relaxed) }

    /// There is nowhere to write, and it is too early to try again.
    func isInTrouble(at now: Uptime) -> Bool { now.milliseconds < troubleUntil.load(ordering: .relaxed) }
}
