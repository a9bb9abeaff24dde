// LaneRings.swift — lanes that wait for the same thing, in turn: each in the ring where it belongs, or in none. A value.
//
// A lane is moved as soon as something about it changes, so that nobody makes room for a lane that wants nothing. Joining
// and leaving cost the same however many wait.

/// Lanes that wait alike.
enum Ring: UInt8, CaseIterable, Sendable {
    /// They have answered quickly and hold no session: nothing is kept from them.
    case swift
    /// Nothing is known of them yet, and they hold no session.
    case fresh
    /// They could not be reached lately.
    case failing
    /// They take their time over a message, and hold no session.
    case slow
    /// They have answered, hold sessions and want more.
    case common
    /// They hold sessions that have answered nothing yet: nobody makes room for them.
    case eager
}

/// A ring of each kind.
struct LaneRings: Sendable {
    /// A lane's neighbours.
    private struct Links: Sendable {
        var next = LaneNumber.null
        var previous = LaneNumber.null
        var ring: Ring?
    }

    private struct Ends: Sendable {
        var first = LaneNumber.null
        var last = LaneNumber.null
        var count = 0
    }

    private var links = HandleTable<LaneNumber, Links>()
    private var ends = Array(repeating: Ends(), count: Ring.allCases.count)

    /// The lane whose turn it is.
    func first(_ ring: Ring) -> LaneNumber? {
        let first = ends[Int(ring.rawValue)].first
        return first == .null ? nil : first
    }

    /// The lane whose turn it is where the newest has every second turn.
    func next(_ ring: Ring, _ turn: UInt64) -> LaneNumber? {
        let last = ends[Int(ring.rawValue)].last
        return turn & 1 == 0 || last == .null ? first(ring) : last
    }

    func count(_ ring: Ring) -> Int { ends[Int(ring.rawValue)].count }

    /// Puts a lane behind the others of a ring, unless it is in that ring already; or into none.
    mutating func put(_ lane: LaneNumber, in ring: Ring?) {
        links.reach(lane, with: Links())
        guard links[lane].ring != ring else { return }
        if let old = links[lane].ring { unlink(lane, from: Int(old.rawValue)) }
        links[lane].ring = ring
        if let ring { append(lane, to: Int(ring.rawValue)) }
    }

    private mutating func append(_ lane: LaneNumber, to ring: Int) {
        let last = ends[ring].last
        links[lane].next = .null
        links[lane].previous = last
        if last == .null { ends[ring].first = lane } else { links[last].next = lane }
        ends[ring].last = lane
        ends[ring].count += 1
    }

    private mutating func unlink(_ lane: LaneNumber, from ring: Int) {
        let (previous, next) = (links[lane].previous, links[lane].next)
        if previous == .null { ends[ring].first = next } else { links[previous].next = next }
        if next == .null { ends[ring].last = previous } else { links[next].previous = previous }
        ends[ring].count -= 1
    }
}
