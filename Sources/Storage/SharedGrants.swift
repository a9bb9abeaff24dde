// SharedGrants.swift — grants as rows: what this node asks for, gets and gives back, under one lock of the database.
//
// Guarantees: a row is raised only in a transaction that has seen all rows of its lane behind the lock, and what was raised is
// used only when its COMMIT was answered; a row is lowered only to what the node has at that moment, when it begins no more.

import Database
package import Mail

/// What a node could use of a lane, or of a limit that counts for several lanes.
package struct GrantWish: Hashable, Sendable {
    /// What is divided, and how.
    package enum Kind: Hashable, Sendable {
        /// Sessions of a lane: who has none gives its mail away.
        case lane
        /// Sessions of a limit: what cannot be divided goes round.
        case sessions
        /// A rate, in equal buckets, each of so many of ``RateParts/whole``; it is used up at most so many microseconds ahead.
        case rate(parts: Int, fill: Int64)
    }

    /// The lane by its description, or the limit.
    package let lane: String
    /// Sessions, or buckets, of all nodes together.
    package let limit: Int
    /// Those that could be used now.
    package let wanted: Int
    package var kind = Kind.lane
    /// Those that are kept where nobody else wants them.
    package var kept = 0

    package init(lane: String, limit: Int, wanted: Int) { (self.lane, self.limit, self.wanted) = (lane, limit, wanted) }

    /// Of a row, that one session or bucket is.
    fileprivate var unit: Int { if case .rate(let parts, _) = kind { parts } else { 1 } }
    fileprivate var fill: Int64 { if case .rate(_, let fill) = kind { fill } else { 0 } }
}

/// What a node has of something now.
package struct GrantHeld: Hashable, Sendable {
    /// Sessions that it has, those included that are ending; 0 of a rate, which ends at once.
    package var sessions: Int
    /// What it may use.
    package var usable = 0
    /// Microseconds until it has used up what it had of a rate.
    package var ahead: Int64 = 0

    package init(sessions: Int, usable: Int = 0, ahead: Int64 = 0) {
        (self.sessions, self.usable, self.ahead) = (sessions, usable, ahead)
    }
}

/// What a shared store asks the queue about grants.
package struct GrantNews: Sendable {
    /// Lanes and limits with what they could use: those that lack something, or all that have something or want it.
    package var wishes: @Sendable (_ isAll: Bool) -> [GrantWish] = { _ in [] }
    /// Begins no session of a lane beyond so many, uses no more of a rate; gives what it has.
    package var lower: @Sendable (_ lane: String, _ sessions: Int) -> GrantHeld = { _, _ in GrantHeld(sessions: 0) }
    /// So many sessions may be had from now on, and so many are written down.
    ///
    /// More where some end that are not to begin anew. Of a rate: so much may be used, after so many microseconds.
    package var grant: @Sendable (_ lane: String, _ sessions: Int, _ written: Int, _ ahead: Int64) -> Void = {
        _,
        _,
        _,
        _ in
    }
    /// Days of which messages are wanted or given back; all that is left when nothing more is sent.
    package var days: @Sendable (_ isLast: Bool) -> [DayWish] = { _ in [] }
    /// So many messages of a day may be sent.
    package var allow: @Sendable (_ scope: String, _ allowance: DayAllowance) -> Void = { _, _ in }
    /// Nothing may be begun until it is granted anew.
    package var lose: @Sendable () -> Void = {}
    /// Takes messages of a lane out of the queue that are due and that no session has.
    package var hand: @Sendable (_ lane: String, _ count: Int) -> [QueueID] = { _, _ in [] }
    /// Messages that are due.
    package var due: @Sendable () -> Int = { 0 }
    /// The lane with the longest line.
    package var fullest: @Sendable () -> GrantWish? = { nil }

    package init() {}
}

/// One node's rows.
struct SharedGrants {
    /// Taken for the length of a transaction that changes grants.
    static let lock = "SELECT pg_advisory_xact_lock(7250115)"
    /// Lanes of one transaction.
    static let most = 500
    /// Milliseconds that a lane goes without a part until its mail is given to who has one.
    private static let patience: Int64 = 3_000
    /// The server's clock, in microseconds.
    private static let clock = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

    /// Since when lanes want something and have nothing.
    private var poor: [String: Uptime] = [:]

    /// What becomes of a wish.
    private struct Division {
        let wish: GrantWish
        /// As rows have them.
        let written: Int
        let usable: Int
        let held: GrantHeld
        /// What the row said before.
        let before: Int
        var ahead: Int64 = 0
    }

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
        var divisions: [Division] = []
        var heirs: [(lane: String, heir: Int64)] = []
        do throws(ServerError) {
            let time = try Self.begin(own, connection)
            let claims = try Self.claims(wishes.map(\.lane), connection)
            for wish in wishes {
                let all = claims[wish.lane] ?? []
                let division = Self.divide(wish, all, own, at: time, news.lower)
                divisions.append(division)
                let others = all.filter { $0.node != own }
                if case .lane = wish.kind, let heir = heir(wish, division.written, others, at: now) {
                    heirs.append((wish.lane, heir))
                }
            }
            try Self.write(divisions, own, connection)
            try Self.movePaces(&divisions, connection)
            try connection.run("COMMIT")
        } catch {
            if !error.isLost { try? connection.run("ROLLBACK") }
            throw error
        }
        // What is held beyond the target is written, and not to be used again.
        for division in divisions {
            news.grant(division.wish.lane, division.usable, division.written, division.ahead)
        }
        return heirs
    }

    /// Begins a transaction behind the lock.
    ///
    /// - Returns: the server's time, in milliseconds.
    static func begin(_ own: Int64, _ connection: ServerConnection) throws(ServerError) -> Int64 {
        try connection.run(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = \(ServerConnection.lockPatience); \(lock)"
        )
        let alive = try connection.rows(
            """
            SELECT \(clock) / 1000 FROM martlet.node
            WHERE incarnation = $1 AND NOT is_dead AND lease_until > clock_timestamp()
            """,
            [.number(own)]
        )
        guard alive.count > 0 else { throw ServerError(state: "", text: "this node is none of the queue's") }
        return alive.integer(0, 0)
    }

    /// - Parameter time: the server's, in milliseconds.
    private static func divide(
        _ wish: GrantWish,
        _ claims: [GrantClaim],
        _ own: Int64,
        at time: Int64,
        _ lower: (String, Int) -> GrantHeld
    ) -> Division {
        let unit = wish.unit
        // Whoever counts in other units has the next larger number of these.
        let all = claims.map { claim in
            var claim = claim
            (claim.sessions, claim.wanted) = ((claim.sessions + unit - 1) / unit, (claim.wanted + unit - 1) / unit)
            return claim
        }
        var mine = all.first { $0.node == own } ?? GrantClaim(node: own, sessions: 0, wanted: 0)
        let others = all.filter { $0.node != own }
        mine.wanted = wish.wanted
        let turn: Int64?
        switch wish.kind {
        case .lane: turn = nil
        case .sessions: turn = time / RateParts.turn(fill: 0)
        case .rate(_, let fill): turn = time / RateParts.turn(fill: fill)
        }
        let target = Grants.target(wish.limit, own: mine, others: others, turn: turn, kept: wish.kept)
        let held = lower(wish.lane, target * unit)
        let next = Grants.next(wish.limit, held: (held.sessions + unit - 1) / unit, target: target, others: others)
        return Division(
            wish: wish,
            written: next * unit,
            usable: min(next, target) * unit,
            held: held,
            before: claims.first { $0.node == own }?.sessions ?? 0
        )
    }

    /// What is given back of rates leaves behind how far it was used, and who gets some begins behind that.
    private static func movePaces(
        _ divisions: inout [Division],
        _ connection: ServerConnection
    ) throws(ServerError) {
        let released = divisions.filter { $0.wish.fill > 0 && $0.written < $0.before }
        if !released.isEmpty {
            _ = try connection.rows(
                """
                INSERT INTO martlet.pace (lane, arrival)
                    SELECT u.lane, \(clock) + u.ahead FROM unnest($1::text[], $2::bigint[]) AS u(lane, ahead)
                    ON CONFLICT (lane) DO UPDATE SET arrival = greatest(pace.arrival, excluded.arrival) RETURNING 1
                """,
                [.texts(released.map(\.wish.lane)), .numbers(released.map(\.held.ahead))]
            )
        }
        let raised = divisions.indices.filter {
            divisions[$0].wish.fill > 0 && divisions[$0].usable > divisions[$0].held.usable
        }
        guard !raised.isEmpty else { return }
        let rows = try connection.rows(
            "SELECT lane, greatest(0, arrival - \(clock)) FROM martlet.pace WHERE lane = ANY($1)",
            [.texts(raised.map { divisions[$0].wish.lane })]
        )
        var paces: [String: Int64] = [:]
        for row in 0..<rows.count { paces[rows.text(row, 0)] = rows.integer(row, 1) }
        for place in raised { divisions[place].ahead = paces[divisions[place].wish.lane] ?? 0 }
    }

    /// What stands at the end of a statement whose `gone` are rows of grants that nobody has any more: their rates count as
    /// used up from now on.
    static let leavePaces = """
        INSERT INTO martlet.pace (lane, arrival)
            SELECT lane, max(\(clock) + fill) FROM gone WHERE fill > 0 GROUP BY lane
            ON CONFLICT (lane) DO UPDATE SET arrival = greatest(pace.arrival, excluded.arrival) RETURNING 1
        """

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
    static func claims(
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
        _ divisions: [Division],
        _ own: Int64,
        _ connection: ServerConnection
    ) throws(ServerError) {
        let kept = divisions.filter { $0.written > 0 || $0.wish.wanted > 0 }
        if !kept.isEmpty {
            _ = try connection.rows(
                """
                INSERT INTO martlet.grants (lane, node, sessions, wanted, fill)
                    SELECT u.lane, $2, u.sessions, u.wanted, u.fill
                    FROM unnest($1::text[], $3::bigint[], $4::bigint[], $5::bigint[]) AS u(lane, sessions, wanted, fill)
                    ON CONFLICT (lane, node) DO UPDATE SET sessions = excluded.sessions, wanted = excluded.wanted,
                        fill = excluded.fill
                        WHERE (grants.sessions, grants.wanted, grants.fill)
                            IS DISTINCT FROM (excluded.sessions, excluded.wanted, excluded.fill)
                    RETURNING 1
                """,
                [
                    .texts(kept.map(\.wish.lane)), .number(own), .numbers(kept.map { Int64($0.written) }),
                    .numbers(kept.map { Int64($0.wish.wanted * $0.wish.unit) }), .numbers(kept.map(\.wish.fill)),
                ]
            )
        }
        let gone = divisions.filter { $0.written == 0 && $0.wish.wanted == 0 }
        if !gone.isEmpty {
            _ = try connection.rows(
                "DELETE FROM martlet.grants WHERE lane = ANY($1) AND node = $2 RETURNING 1",
                [.texts(gone.map(\.wish.lane)), .number(own)]
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
    /// connection to the server. Of a rate nobody uses anything past its lease.
    static func free(_ connection: ServerConnection) throws(ServerError) {
        _ = try connection.rows(
            """
            WITH gone AS (
                DELETE FROM martlet.grants g USING martlet.node n WHERE n.incarnation = g.node AND n.is_dead AND (
                    g.fill > 0 OR n.lease_until < clock_timestamp() - interval '300 seconds'
                    OR n.backend IS NOT NULL AND pg_postmaster_start_time() <= n.seen AND NOT EXISTS (
                        SELECT FROM pg_stat_activity a WHERE a.pid = n.backend
                            AND (a.backend_start IS NULL OR a.backend_start = n.backend_start)))
                RETURNING g.lane, g.fill)
            \(leavePaces)
            """
        )
    }
}
