// Scheduler+LookUps.swift — who may find out where to go: G9 for names, policies and tokens.
//
// Of the places for look-ups the last eighth is for lanes that have answered lately and hold no session, the eighth before it
// for them and those that nobody knows yet; lanes that could not be reached or named have half together. A look-up that takes
// long gives its place back when such lanes wait, and asks again among the last: its mail is neither deferred nor counted.
// Of lanes that nobody knows yet every second one is the newest: whoever comes behind ten thousand dead ones need not wait
// until each of them was tried. So no number of dead names keeps a good one from being asked about.

import DequeModule
import Mail

extension Scheduler {
    /// Milliseconds after which a look-up makes room for others: the resolver's answers come within one, or not for many.
    static let lookUpPatience: Int64 = 2000

    /// Look-ups below which a lane that nobody knows may begin one.
    private var freshBound: Int { max(1, limits.lookUps - limits.lookUps / 8) }

    mutating func nextToLookUp() -> LaneNumber? {
        guard seeking < limits.lookUps else { return nil }
        if let number = lookRings.first(.swift) { return number }
        guard seeking < freshBound else { return nil }
        if let number = lookRings.next(.fresh, looks.last) { return number }
        guard seeking < max(1, limits.lookUps * 3 / 4) else { return nil }
        if let number = lookRings.first(.slow) ?? lookRings.first(.common) { return number }
        guard seeking < max(1, limits.lookUps / 2) else { return nil }
        return lookRings.first(.failing) ?? lookRings.first(.eager)
    }

    mutating func startLookUp(_ number: LaneNumber, at now: Uptime) -> Turn.LookUp {
        looks.last += 1
        seeking += 1
        lanes[number].lookingUp += 1
        if lanes[number].lookClass != .failing {
            looks.out.insert(looks.last)
            looks.line.append(LookUpLine.Entry(number: looks.last, lane: number, since: now))
            if looks.line.count > 2 * seeking + LookUpLine.slack {
                looks.line = Deque(looks.line.filter { looks.out.contains($0.number) })
            }
        }
        return Turn.LookUp(lane: lanes[number].lane, number: looks.last)
    }

    /// A look-up of the lane is over.
    ///
    /// - Parameters:
    ///   - lookUp: its number; nil: nobody could have asked it to end.
    ///   - isKnown: it found out where to go.
    mutating func endLookUp(_ number: LaneNumber, _ lookUp: UInt64?, isKnown: Bool) {
        var wasCut = false
        if let lookUp, looks.out.remove(lookUp) == nil { wasCut = looks.cut.remove(lookUp) != nil }
        // Who was asked to end asks again, with more patience and among the last.
        if isKnown || !wasCut { lanes[number].isNameless = false }
    }

    /// Places that lanes wait for and will not find when all have ended that were asked to.
    private var missingLookUps: Int {
        let out = seeking - looks.cut.count
        let (swift, fresh) = (lookRings.count(.swift), lookRings.count(.fresh))
        return max(swift > 0 ? out + swift - limits.lookUps : 0, fresh > 0 ? out + swift + fresh - freshBound : 0)
    }

    /// Look-ups that have taken long enough while others want their places, the oldest first.
    mutating func cutLookUps(at now: Uptime) -> [UInt64] {
        looks.cutsAt = nil
        var wanted = missingLookUps
        var cuts: [UInt64] = []
        while wanted > 0, let oldest = looks.line.first {
            let end = oldest.since.adding(milliseconds: Self.lookUpPatience)
            if looks.out.contains(oldest.number) {
                guard end <= now else {
                    looks.cutsAt = end
                    break
                }
                looks.out.remove(oldest.number)
                looks.cut.insert(oldest.number)
                lanes[oldest.lane].isNameless = true
                cuts.append(oldest.number)
                wanted -= 1
            }
            looks.line.removeFirst()
        }
        return cuts
    }
}

/// Look-ups that may be asked to end.
struct LookUpLine: Sendable {
    struct Entry: Sendable {
        let number: UInt64
        let lane: LaneNumber
        let since: Uptime
    }

    /// Entries of look-ups that are over and stay until it is worth a walk.
    static let slack = 1024

    /// The number of the newest one.
    var last: UInt64 = 0
    /// In the order in which they began; those that are over are left out.
    var line = Deque<Entry>()
    /// Those that could be asked to end.
    var out: Set<UInt64> = []
    /// Those that were asked to end and have not.
    var cut: Set<UInt64> = []
    /// When the oldest one has to make room; nil while nobody wants it.
    var cutsAt: Uptime?
}
