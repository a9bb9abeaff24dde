// ListSnapshots.swift — listings under way: which messages they hold, in which order. A pure value.
//
// A listing fixes its messages when its first page is asked for, eight bytes each; so pages neither repeat nor miss a
// message while mail moves. One of all messages in the order of their ids needs none of that: new ids are higher than all of
// them. Listings are few and forgotten when nobody asks for five minutes: memory is bounded.

import Mail

struct ListSnapshots: Sendable {
    struct Snapshot: Sendable {
        let ids: [QueueID]
        let filter: QueueFilter
        /// Every one of them satisfied the filter when the listing began.
        let isExact: Bool
        var usedAt: Uptime
        /// All messages in the order of their ids; then there are no `ids`.
        var walk: Walk?

        /// The greatest position of a cursor.
        var end: Int { walk.map { Int(truncatingIfNeeded: $0.last.rawValue &+ 1) } ?? ids.count }
    }

    /// A listing of everything.
    struct Walk: Hashable, Sendable {
        /// The highest id when it began.
        let last: QueueID
        let isDescending: Bool
        /// Messages then.
        let total: Int
    }

    /// Milliseconds without use after which a listing is forgotten.
    static let patience: Int64 = 300_000

    private let most: Int
    private let mostIDs: Int
    private var snapshots: [UInt64: Snapshot] = [:]

    /// - Parameters:
    ///   - most: listings at a time.
    ///   - mostIDs: messages in all of them together; a single longer one is allowed.
    init(most: Int = 32, mostIDs: Int = 4 << 20) {
        self.most = most
        self.mostIDs = mostIDs
    }

    var count: Int { snapshots.count }

    /// Keeps a listing; those used longest ago make room.
    mutating func add(
        _ ids: [QueueID],
        _ filter: QueueFilter,
        isExact: Bool,
        walk: Walk? = nil,
        at now: Uptime
    ) -> UInt64 {
        expire(at: now)
        while !snapshots.isEmpty,
            snapshots.count >= most || ids.count + snapshots.values.reduce(0, { $0 + $1.ids.count }) > mostIDs,
            let oldest = snapshots.min(by: { $0.value.usedAt < $1.value.usedAt })
        {
            snapshots[oldest.key] = nil
        }
        var number = UInt64.random(in: 1...UInt64.max)
        while snapshots[number] != nil { number = UInt64.random(in: 1...UInt64.max) }
        snapshots[number] = Snapshot(ids: ids, filter: filter, isExact: isExact, usedAt: now, walk: walk)
        return number
    }

    /// A listing that is still known.
    mutating func use(_ number: UInt64, at now: Uptime) -> Snapshot? {
        expire(at: now)
        snapshots[number]?.usedAt = now
        return snapshots[number]
    }

    mutating func remove(_ number: UInt64) { snapshots[number] = nil }

    private mutating func expire(at now: Uptime) {
        snapshots = snapshots.filter { $0.value.usedAt.milliseconds + Self.patience > now.milliseconds }
    }
}

/// A place in a listing, as text: listing and position, in hexadecimal.
struct ListCursor: Hashable, Sendable {
    let snapshot: UInt64
    /// Messages before it; in a ``ListSnapshots/Walk`` the id of the last one.
    let position: Int

    var text: String { String(snapshot, radix: 16) + "-" + String(position, radix: 16) }

    init(snapshot: UInt64, position: Int) {
        self.snapshot = snapshot
        self.position = position
    }

    init?(_ text: String) {
        let parts = text.split(octet: "-", omittingEmpty: false)
        guard text.utf8.count <= 40, parts.count == 2, let snapshot = UInt64(parts[0], radix: 16),
            let position = Int(parts[1], radix: 16), position >= 0
        else { return nil }
        self.init(snapshot: snapshot, position: position)
    }
}
