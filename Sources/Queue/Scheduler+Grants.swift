// Scheduler+Grants.swift — what this node may use of a lane's sessions where several nodes share the queue.
//
// Guarantees: where grants count, a lane begins no session that it has no grant for, those that are ending included; without
// other nodes nothing of this costs anything.

import Mail
import Storage

/// Grants as this node knows them.
struct GrantBook: Sendable {
    struct Entry: Sendable {
        let lane: Lane
        var sessions = 0
        /// When its lane last wanted something.
        var usedAt: Uptime
        /// When it was last asked for.
        var askedAt: Uptime?
    }

    /// Grants count.
    var isOn = false
    var entries: [String: Entry] = [:]
    /// Lanes that could use one session more than they may.
    var lacking: Set<Lane> = []
}

extension Scheduler {
    /// Milliseconds for which a lane keeps a session's grant that nobody uses.
    private static let grantLife: Int64 = 10_000
    /// Milliseconds between two questions for one lane that may have no more as yet.
    private static let grantPause: Int64 = 500

    /// From now on sessions need grants; before the first lane is there.
    mutating func startGrants() {
        grantBook.isOn = true
        book.share()
    }

    /// The grant that a lane begins with.
    func firstGrant(_ lane: Lane) -> Int {
        guard grantBook.isOn, !lane.isPreparation else { return .max }
        return grantBook.entries[lane.description]?.sessions ?? 0
    }

    /// Notes that a lane waits for a grant, if it does.
    mutating func noteLack(_ number: LaneNumber) {
        guard lanes[number].ready > 0, lanes[number].restsUntil == nil,
            lanes[number].sessions >= lanes[number].grant,
            lanes[number].grant < min(limits.perLane, max(1, lanes[number].window))
        else { return }
        grantBook.lacking.insert(lanes[number].lane)
    }

    /// Lanes that lack something, or all that have something or want it.
    mutating func grantWishes(isAll: Bool, at now: Uptime) -> [GrantWish] {
        guard grantBook.isOn else { return [] }
        var names: Set<String> = []
        for lane in grantBook.lacking {
            let name = lane.description
            if grantBook.entries[name] == nil { grantBook.entries[name] = GrantBook.Entry(lane: lane, usedAt: now) }
            let asked = grantBook.entries[name]?.askedAt
            guard asked.map({ now.milliseconds(since: $0) >= Self.grantPause }) ?? true else { continue }
            grantBook.entries[name]?.askedAt = now
            grantBook.lacking.remove(lane)
            names.insert(name)
        }
        if isAll { names.formUnion(grantBook.entries.keys) }
        return names.compactMap { name in
            guard let entry = grantBook.entries[name] else { return nil }
            let wanted = wantedSessions(entry.lane)
            if wanted > 0 { grantBook.entries[name]?.usedAt = now }
            let lingers = wanted == 0 && entry.sessions > 0 && now.milliseconds(since: entry.usedAt) < Self.grantLife
            return GrantWish(lane: name, limit: limits.perLane, wanted: lingers ? 1 : wanted)
        }
    }

    private func wantedSessions(_ lane: Lane) -> Int {
        guard let number = laneIndex[lane], !isPaused, lanes[number].restsUntil == nil else { return 0 }
        let most = lanes[number].rests > 0 ? 1 : min(limits.perLane, max(1, lanes[number].window))
        // A little ahead, so that the window can grow.
        return min(limits.perLane, 2 * most, lanes[number].ready + lanes[number].inFlight)
    }

    /// Begins no session of a lane beyond so many.
    ///
    /// - Returns: those that it has now, the ending ones included.
    mutating func lowerGrant(_ name: String, to sessions: Int) -> Int {
        guard let entry = grantBook.entries[name] else { return 0 }
        grantBook.entries[name]?.sessions = min(entry.sessions, sessions)
        return setGrant(of: entry.lane, min(entry.sessions, sessions))
    }

    /// So many sessions of a lane may be had from now on.
    ///
    /// - Parameter written: what the others believe this node to have: more while sessions end that may not be begun anew. As long
    ///   as that is not nothing it is asked about again, so that it is given back.
    mutating func raiseGrant(_ name: String, to sessions: Int, written: Int) {
        guard let entry = grantBook.entries[name] else { return }
        if written == 0, laneIndex[entry.lane] == nil {
            grantBook.entries[name] = nil
        } else {
            grantBook.entries[name]?.sessions = sessions
        }
        _ = setGrant(of: entry.lane, sessions)
    }

    /// Nothing may be begun until it is granted anew.
    mutating func loseGrants() {
        for (name, entry) in grantBook.entries {
            grantBook.entries[name]?.sessions = 0
            _ = setGrant(of: entry.lane, 0)
        }
    }

    private mutating func setGrant(of lane: Lane, _ sessions: Int) -> Int {
        guard let number = laneIndex[lane] else { return 0 }
        let held = lanes[number].sessions
        guard lanes[number].grant != sessions else { return held }
        lanes[number].grant = sessions
        if held - lanes[number].leaving > sessions { trims = true }
        refresh(number)
        return held
    }

    /// The lane with the longest line.
    var fullestLane: Lane? {
        var best: (ready: Int, lane: Lane)?
        for number in lanes.keys where laneIndex[lanes[number].lane] == number && !lanes[number].lane.isPreparation {
            if lanes[number].ready > best?.ready ?? 0 { best = (lanes[number].ready, lanes[number].lane) }
        }
        return best?.lane
    }
}
