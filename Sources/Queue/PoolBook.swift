// PoolBook.swift — what the scheduler knows of pools of addresses: who is in them, and which lanes are left alone for now. A value.

package import Mail

/// Pools in force.
struct PoolBook: Sendable {
    /// Lanes that are remembered as left alone; beyond, all are asked again.
    private static let mostAvoided = 10_000

    private(set) var pools: [String: SourcePool] = [:]
    /// Lanes that take no further mail of their pool, and until when: so that nothing is given to them and taken away again.
    private var avoided: [Lane: Uptime] = [:]
    /// Lanes whose line goes to others of their pool, a part at a time.
    var moving: [LaneNumber] = []
    /// When the next part goes.
    var againAt: Uptime?
    /// Lanes that wait although their pool has others, since those cannot take anything either.
    var stuck: Set<LaneNumber> = []
    /// Messages that were moved: who takes the next one.
    var turns: UInt64 = 0

    var isOn: Bool { !pools.isEmpty }

    mutating func set(_ new: [String: SourcePool]) { pools = new }

    /// Whether a lane is left alone.
    func avoids(_ lane: Lane, at now: Uptime) -> Bool { !avoided.isEmpty && avoided[lane].map { $0 > now } ?? false }

    mutating func avoid(_ lane: Lane, until end: Uptime) {
        if avoided.count >= Self.mostAvoided { avoided.removeAll(keepingCapacity: true) }
        avoided[lane] = end
    }

    /// Something changed that may let them go on.
    mutating func forget() { if !avoided.isEmpty { avoided.removeAll(keepingCapacity: true) } }
}

/// How a pool stands for one next hop: what `explain` and a destination show.
package struct PoolStanding: Hashable, Sendable {
    /// One of its addresses.
    package struct Member: Hashable, Sendable {
        package let source: Source
        package let weight: Int
        /// Nothing is given to it now, whoever else there is: it is more than unwell.
        package let isLeft: Bool
        /// Why it takes no mail for this next hop now; nil: it does.
        package let because: String?
        /// Until when, where that is known.
        package let until: Uptime?
    }

    package let name: String
    /// `outbound_ip.ini:12`.
    package let origin: String
    package let members: [Member]

    /// Whom most mail goes to now; where nobody takes any, whom it waits for.
    package var first: Member? {
        let (well, open) = (members.filter { $0.because == nil }, members.filter { !$0.isLeft })
        return (well.isEmpty ? open.isEmpty ? members : open : well).max { $0.weight < $1.weight }
    }
}
