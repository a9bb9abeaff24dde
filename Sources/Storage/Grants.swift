// Grants.swift — how the sessions that a lane may have are divided among nodes. Pure.
//
// A lane's limit holds over all nodes: what each may use is a row, its grant, and the sum of all rows never exceeds the limit. A
// node writes its own row alone, under a lock, and lowers it only to what it really has; so what peers see is never more than
// what is written, whoever dies or stands still in between.

/// What one node has of a lane, and what it could use.
struct GrantClaim: Hashable, Sendable {
    /// The number of the node's life.
    let node: Int64
    /// Sessions that it may have; at least those that it has.
    var sessions: Int
    /// Sessions that it could use now.
    var wanted: Int
    /// It can take part: one that is gone keeps what it may still have at a peer, and gets nothing more.
    var isAlive = true
}

/// Grants of one lane.
enum Grants {
    /// Divides sessions so that nobody has two more than one who wants more; nobody gets more than is wanted.
    ///
    /// What cannot be divided goes to those who come first.
    static func shares(of limit: Int, _ wanted: [Int]) -> [Int] {
        var shares = wanted.map { _ in 0 }
        var left = max(0, limit)
        var open = wanted.indices.filter { wanted[$0] > 0 }
        while left > 0, !open.isEmpty {
            let each = max(1, left / open.count)
            for place in open where left > 0 {
                let more = min(each, wanted[place] - shares[place], left)
                shares[place] += more
                left -= more
            }
            open.removeAll { shares[$0] >= wanted[$0] }
        }
        return shares
    }

    /// What a node should have: its share where the nodes want more than there is, else what it wants, or has already.
    ///
    /// - Parameters:
    ///   - turn: who comes first where something cannot be divided: the turn goes round; nil: who has it.
    ///   - kept: what it keeps although it wants nothing, as long as nobody else wants it.
    static func target(
        _ limit: Int,
        own: GrantClaim,
        others: [GrantClaim],
        turn: Int64? = nil,
        kept: Int = 0
    ) -> Int {
        // What those who are gone may still have at the peer is nobody's to divide.
        let gone = others.filter { !$0.isAlive }.reduce(0) { $0 + $1.sessions }
        let limit = max(0, limit - gone)
        let living = inTurn(others.filter(\.isAlive) + [own], turn)
        let wanted = living.map { min(max(0, $0.wanted), limit) }
        if wanted.reduce(0, +) > limit {
            let shares = shares(of: limit, wanted)
            return living.firstIndex { $0.node == own.node }.map { shares[$0] } ?? 0
        }
        guard own.wanted > 0 else { return min(own.sessions, kept, max(0, limit - wanted.reduce(0, +))) }
        let unwanted = limit - wanted.reduce(0, +) + min(own.wanted, limit)
        return max(min(own.wanted, limit), min(own.sessions, unwanted))
    }

    /// Without turns those first who have something, so that it does not change hands for nothing; else those who want something,
    /// each first in its turn, and behind them those who want nothing.
    private static func inTurn(_ claims: [GrantClaim], _ turn: Int64?) -> [GrantClaim] {
        guard let turn else {
            return claims.sorted { ($0.sessions > 0 ? 0 : 1, $0.node) < ($1.sessions > 0 ? 0 : 1, $1.node) }
        }
        let sorted = claims.sorted { $0.node < $1.node }
        let wanting = sorted.filter { $0.wanted > 0 }
        guard wanting.count > 1 else { return sorted }
        let first = Int(turn % Int64(wanting.count))
        return wanting[first...] + wanting[..<first] + sorted.filter { $0.wanted <= 0 }
    }

    /// What a node may write into its row.
    ///
    /// - Parameters:
    ///   - held: sessions that it has now, those that are ending included; it begins none beyond the target meanwhile.
    ///   - target: of ``target(_:own:others:)``.
    static func next(_ limit: Int, held: Int, target: Int, others: [GrantClaim]) -> Int {
        let free = max(0, limit - others.reduce(0) { $0 + max(0, $1.sessions) })
        return max(held, min(target, free))
    }

    /// Who should get the mail of a node that has no part of a lane: the one with most of it.
    static func heir(_ others: [GrantClaim]) -> Int64? {
        others.filter { $0.isAlive && $0.sessions > 0 }
            .max { ($0.sessions, $1.node) < ($1.sessions, $0.node) }?.node
    }
}

/// Rates among nodes: each has so many parts of the whole, and the time that its parts are used up to.
///
/// A rate is as many equal buckets as it has events in its burst, at most ``most``; a node has some of them, runs them as one, and
/// no two nodes have the same. A bucket that changes hands takes along when its next event may come, so that no window holds
/// more than rate × window + burst, whoever has what.
package enum RateParts {
    /// Parts of a whole; every number up to ``most`` divides it.
    package static let whole = 720_720
    /// Buckets that a rate is divided into at most.
    private static let most = 16

    /// Buckets of a rate with that burst.
    package static func buckets(burst: Int) -> Int { min(most, max(1, burst)) }

    /// Milliseconds for which who has what cannot be divided keeps it: long enough for one event.
    static func turn(fill: Int64) -> Int64 { max(30_000, fill / 1000) }

    /// Microseconds that parts are used ahead when some were added: no less than either was.
    package static func joined(_ own: Int64, _ added: Int64) -> Int64 { max(own, added) }
}

/// Messages of a day among nodes: each takes a few at a time out of what is left.
enum DayShares {
    /// Messages taken at once.
    static let most = 100

    /// How many a node takes: what it wants, and never so many that others wait for what it does not use.
    static func batch(wanted: Int, limit: Int, used: Int) -> Int {
        let left = limit - used
        guard left > 0 else { return 0 }
        return min(wanted, most, max(1, left / 8))
    }
}

/// Giving mail to nodes that have less.
enum Balance {
    /// Due messages below which nobody gives any.
    static let least = 200
    /// Messages that change hands at once.
    static let most = 1_000

    /// Whether a node can have a part of a lane: it has one, or fewer nodes than there are sessions want one.
    ///
    /// Mail that is given to any other node comes back from it: whoever has no part gives its mail to who has one.
    static func mayTake(_ node: Int64, _ limit: Int, _ claims: [GrantClaim]) -> Bool {
        if claims.contains(where: { $0.node == node && $0.sessions > 0 }) { return true }
        let others = claims.filter { $0.node != node }
        // What those who are gone may still have is nobody's to divide.
        let gone = others.filter { !$0.isAlive }.reduce(0) { $0 + $1.sessions }
        return others.count { $0.isAlive && ($0.sessions > 0 || $0.wanted > 0) } < limit - gone
    }

    /// How many messages of a lane a node gives, and to whom; nil: none.
    ///
    /// Whoever has four times as much as another one gives it half of the difference; so nothing goes to and fro.
    /// - Parameter others: those that ``mayTake(_:_:_:)`` them.
    static func gift(own: Int, others: [(node: Int64, due: Int)]) -> (node: Int64, count: Int)? {
        guard own >= least, let poorest = others.min(by: { ($0.due, $0.node) < ($1.due, $1.node) }),
            own >= 4 * max(1, poorest.due)
        else { return nil }
        return (poorest.node, min(most, (own - poorest.due) / 2))
    }
}
