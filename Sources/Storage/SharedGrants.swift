// SharedGrants.swift — grants as rows: what this node asks for, gets and gives back, under one lock of the database.
//
// Guarantees: a row is raised only in a transaction that has seen all rows of its lane behind the lock, and what was raised is
// used only when its COMMIT was answered; a row is lowered only to what the node has at that moment, when it begins no more.

import Database
package import Mail

/// What a node could use of a lane.
package struct GrantWish: Hashable, Sendable {
    /// The lane by its description.
    package let lane: String
    /// Sessions of all nodes together.
    package let limit: Int
    /// Sessions that could be used now.
    package let wanted: Int

    package init(lane: String, limit: Int, wanted: Int) { (self.lane, self.limit, self.wanted) = (lane, limit, wanted) }
}

/// What a shared store asks the queue about grants.
package struct GrantNews: Sendable {
    /// Lanes with what they could use: those that lack something, or all that have something or want it.
    package var wishes: @Sendable (_ isAll: Bool) -> [GrantWish] = { _ in [] }
    /// Begins no session of a lane beyond so many; gives those that it has, the ending ones included.
    package var lower: @Sendable (_ lane: String, _ sessions: Int) -> Int = { _, _ in 0 }
    /// So many sessions may be had from now on, and so many are written down: more while some end that are not to begin anew.
    package var grant: @Sendable (_ lane: String, _ sessions: Int, _ written: Int) -> Void = { _, _, _ in }
    /// Nothing may be begun until it is granted anew.
    package var lose: @Sendable () -> Void = {}
    /// Takes messages of a lane out of the queue that are due and that no session has; nil: of the fullest lane.
    package var hand: @Sendable (_ lane: String?, _ count: Int) -> [QueueID] = { _, _ in [] }
    /// Messages that are due.
    package var due: @Sendable () -> Int = { 0 }

    package init() {}
}

/// One node's rows.
struct SharedGrants {
    /// Taken for the length of a transaction that changes grants.
    private static let lock = "SELECT pg_advisory_xact_lock(7250115)"
    /// Lanes of one transaction.
    static let most = 500
    /// Milliseconds that a lane goes without a part until its mail is given to who has one.
    private static let patience: Int64 = 3_000

    /// Since when lanes want something and have nothing.
    private var poor: [String: Uptime] = [:]

    /// Brings rows and queue to what they should be.
    ///
    /// - Returns: lanes whose mail others should have, and who.
    mutating func settle(
        _ wishes: [GrantWish],
        _ node: SharedNode,
        _ connection: ServerConnection,
        at now: Uptime
    ) throws(ServerError) -> [(lane: String, heir: Int64)] {
        guard !wishes.isEmpty, let own = node.incarnation else { return [] }
        let news = node.grants
        var rows: [(lane: String, sessions: Int, wanted: Int)] = []
        var usable: [Int] = []
        var heirs: [(lane: String, heir: Int64)] = []
        do throws(ServerError) {
            try connection.run(
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = \(ServerConnection.lockPatience); \(Self.lock)"
            )
            let alive = try connection.rows(
                "SELECT 1 FROM martlet.node WHERE incarnation = $1 AND NOT is_dead AND lease_until > clock_timestamp()",
                [.number(own)]
            )
            guard alive.count > 0 else { throw ServerError(state: "", text: "this node is none of the queue's") }
            let claims = try Self.claims(wishes.map(\.lane), connection)
            for wish in wishes {
                let all = claims[wish.lane] ?? []
                var mine = all.first { $0.node == own } ?? GrantClaim(node: own, sessions: 0, wanted: 0)
                let others = all.filter { $0.node != own }
                mine.wanted = wish.wanted
                let target = Grants.target(wish.limit, own: mine, others: others)
                let held = news.lower(wish.lane, target)
                let next = Grants.next(wish.limit, held: held, target: target, others: others)
                rows.append((wish.lane, next, wish.wanted))
                usable.append(min(next, target))
                if let heir = heir(wish, next, others, at: now) { heirs.append((wish.lane, heir)) }
            }
            try Self.write(rows, own, connection)
            try connection.run("COMMIT")
        } catch {
            if !error.isLost { try? connection.run("ROLLBACK") }
            throw error
        }
        // What is held beyond the target is written, and not to be used again.
        for (row, sessions) in zip(rows, usable) { news.grant(row.lane, sessions, row.sessions) }
        return heirs
    }

    private mutating func heir(_ wish: GrantWish, _ sessions: Int, _ others: [GrantClaim], at now: Uptime) -> Int64? {
        guard sessions == 0, wish.wanted > 0 else {
            poor[wish.lane] = nil
            return nil
        }
        guard let since = poor[wish.lane] else {
            poor[wish.lane] = now
            return nil
        }
        guard now.milliseconds(since: since) >= Self.patience, let heir = Grants.heir(others) else { return nil }
        poor[wish.lane] = nil
        return heir
    }

    /// Rows of some lanes, of all nodes.
    private static func claims(
        _ lanes: [String],
        _ connection: ServerConnection
    ) throws(ServerError) -> [String: [GrantClaim]] {
        var claims: [String: [GrantClaim]] = [:]
        let rows = try connection.rows(
            """
            SELECT g.lane, g.node, g.sessions, g.wanted,
                EXISTS (SELECT FROM martlet.node n WHERE n.incarnation = g.node AND NOT n.is_dead)
            FROM martlet.grants g WHERE g.lane = ANY($1)
            """,
            [.texts(lanes)]
        )
        for row in 0..<rows.count {
            claims[rows.text(row, 0), default: []].append(
                GrantClaim(
                    node: rows.integer(row, 1),
                    sessions: Int(rows.integer(row, 2)),
                    wanted: Int(rows.integer(row, 3)),
                    isAlive: rows.truth(row, 4)
                )
            )
        }
        return claims
    }

    private static func write(
        _ rows: [(lane: String, sessions: Int, wanted: Int)],
        _ own: Int64,
        _ connection: ServerConnection
    ) throws(ServerError) {
        let kept = rows.filter { $0.sessions > 0 || $0.wanted > 0 }
        if !kept.isEmpty {
            _ = try connection.rows(
                """
                INSERT INTO martlet.grants (lane, node, sessions, wanted)
                    SELECT u.lane, $2, u.sessions, u.wanted FROM unnest($1::text[], $3::bigint[], $4::bigint[])
                        AS u(lane, sessions, wanted)
                    ON CONFLICT (lane, node) DO UPDATE SET sessions = excluded.sessions, wanted = excluded.wanted
                        WHERE (grants.sessions, grants.wanted) IS DISTINCT FROM (excluded.sessions, excluded.wanted)
                    RETURNING 1
                """,
                [
                    .texts(kept.map(\.lane)), .number(own), .numbers(kept.map { Int64($0.sessions) }),
                    .numbers(kept.map { Int64($0.wanted) }),
                ]
            )
        }
        let gone = rows.filter { $0.sessions == 0 && $0.wanted == 0 }
        if !gone.isEmpty {
            _ = try connection.rows(
                "DELETE FROM martlet.grants WHERE lane = ANY($1) AND node = $2 RETURNING 1",
                [.texts(gone.map(\.lane)), .number(own)]
            )
        }
    }

    /// Lanes of which this node has something that another one lacks.
    static func contested(_ own: Int64, _ connection: ServerConnection) throws(ServerError) -> Set<String> {
        let rows = try connection.rows(
            """
            SELECT DISTINCT g.lane FROM martlet.grants g
            WHERE g.wanted > g.sessions AND g.node <> $1
                AND EXISTS (SELECT FROM martlet.grants o WHERE o.lane = g.lane AND o.node = $1 AND o.sessions > 0)
            LIMIT \(most)
            """,
            [.number(own)]
        )
        return Set((0..<rows.count).map { rows.text($0, 0) })
    }

    /// Frees what those had who are gone for sure.
    ///
    /// Whoever only stands still has its connections, and its sessions at peers, as long as its kernel keeps them: its part is
    /// kept for as long as a peer waits for a command (RFC 5321 §4.5.3.2.7). A process that died has lost both, which shows at its
    /// connection to the server.
    static func free(_ connection: ServerConnection) throws(ServerError) {
        _ = try connection.rows(
            """
            DELETE FROM martlet.grants g USING martlet.node n WHERE n.incarnation = g.node AND n.is_dead AND (
                n.lease_until < clock_timestamp() - interval '300 seconds'
                OR n.backend IS NOT NULL AND pg_postmaster_start_time() <= n.seen AND NOT EXISTS (
                    SELECT FROM pg_stat_activity a WHERE a.pid = n.backend
                        AND (a.backend_start IS NULL OR a.backend_start = n.backend_start)))
                RETURNING 1
            """
        )
    }
}
