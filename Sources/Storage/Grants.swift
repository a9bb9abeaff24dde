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
    static func target(_ limit: Int, own: GrantClaim, others: [GrantClaim]) -> Int {
        // What those who are gone may still have at the peer is nobody's to divide.
        let gone = others.filter { !$0.isAlive }.reduce(0) { $0 + $1.sessions }
        let limit = max(0, limit - gone)
        let living = (others.filter(\.isAlive) + [own]).sorted { $0.node < $1.node }
        let wanted = living.map { min(max(0, $0.wanted), limit) }
        if wanted.reduce(0, +) > limit {
            let shares = shares(of: limit, wanted)
            return living.firstIndex { $0.node == own.node }.map { shares[$0] } ?? 0
        }
        guard own.wanted > 0 else { return 0 }
        let unwanted = limit - wanted.reduce(0, +) + min(own.wanted, limit)
        return max(min(own.wanted, limit), min(own.sessions, unwanted))
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

/// Giving mail to nodes that have less.
enum Balance {
    /// Due messages below which nobody gives any.
    static let least = 200
    /// Messages that change hands at once.
    static let most = 1_000

    /// How many messages a node gives, and to whom; nil: none.
    ///
    /// Whoever has four times as much as another one gives it half of the difference; so nothing goes to and fro.
    static func gift(own: Int, others: [(node: Int64, due: Int)]) -> (node: Int64, count: Int)? {
        guard own >= least, let poorest = others.min(by: { ($0.due, $0.node) < ($1.due, $1.node) }),
            own >= 4 * max(1, poorest.due)
        else { return nil }
        return (poorest.node, min(most, (own - poorest.due) / 2))
    }
}
