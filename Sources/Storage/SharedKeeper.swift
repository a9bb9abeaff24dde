// SharedKeeper.swift — the thread that keeps this node among the others: heartbeat, adoption, giving away, partitions.
//
// Guarantees: a lease is judged by the server's clock, and by this node's own from before it asked, less a margin; past that
// nothing is begun here, so that whoever takes over begins nothing that is begun here too. A node that was given up joins anew
// under another number and forgets what waits: it is adopted like any other's. What changed hands is written in a transaction
// whose outcome is known, or this node joins anew.

import Database
import Files
import Mail
import Synchronization

final class SharedKeeper: Sendable {
    /// Messages that change hands in one transaction.
    private static let batch = 500
    /// Milliseconds of one beat that may go into taking over.
    private static let share: Int64 = 1_500
    /// Milliseconds between two looks at partitions.
    private static let upkeep: Int64 = 60_000
    /// Rows of one node's journal that wait to be read; beyond, the oldest go unread.
    private static let journalMost = 2_000_000

    private let options: SharedOptions
    private let instance: Int64
    private let node: SharedNode
    private let words: SharedWords
    private let say: @Sendable (SharedNotice) -> Void
    private let thread = SharedThread()
    /// Has notes written that waited for the database.
    private let poke: @Sendable () -> Void

    /// - Parameter instance: tells the data directory of this node from every other one.
    init(
        _ options: SharedOptions,
        instance: Int64,
        _ node: SharedNode,
        _ words: SharedWords,
        poke: @escaping @Sendable () -> Void,
        say: @escaping @Sendable (SharedNotice) -> Void
    ) {
        self.options = options
        self.instance = instance
        self.node = node
        self.words = words
        self.poke = poke
        self.say = say
    }

    /// Begins; takes the connection that the node joined with.
    func start(_ connection: ServerConnection) -> Bool { thread.start { self.work(connection) } }

    /// Gives away what is left, and ends.
    func stop() { thread.stop() }

    private func work(_ first: ServerConnection) {
        var connection: ServerConnection? = first
        var lastUpkeep = Uptime.now()
        var wait: Int64 = 0
        while !thread.isStopping {
            if wait > 0 { thread.rest(milliseconds: Int(wait)) }
            guard !thread.isStopping else { break }
            let began = Uptime.now()
            do throws(ServerError) {
                let open = try Self.opened(connection, options, patience: 4_000)
                connection = open
                let isMore = try beat(open)
                if began.milliseconds(since: lastUpkeep) >= Self.upkeep {
                    lastUpkeep = began
                    try lookAfter(open)
                }
                if node.trouble != nil { poke() }
                wait = isMore ? 1 : max(1, SharedNode.beat - Uptime.now().milliseconds(since: began))
            } catch {
                // What is left of a transaction goes with the connection.
                connection = nil
                if node.setTrouble("\(error)") { say(.away("\(error)")) }
                wait = 500
            }
        }
        do throws(ServerError) {
            try leave(try Self.opened(connection, options, patience: 2_000))
        } catch {}  // the lease runs out by itself
    }

    private static func opened(
        _ connection: ServerConnection?,
        _ options: SharedOptions,
        patience: Int
    ) throws(ServerError) -> ServerConnection {
        if let connection, !connection.isLost { return connection }
        return try ServerConnection(options.place, patience: patience)
    }

    // MARK: - One beat

    /// - Returns: whether there is more to take over at once.
    private func beat(_ connection: ServerConnection) throws(ServerError) -> Bool {
        let asked = Uptime.now()
        guard let incarnation = node.incarnation else {
            try rejoin(connection)
            return true
        }
        let rows = try connection.patiently { connection throws(ServerError) in
            try connection.rows(
                """
                UPDATE martlet.node SET seen = clock_timestamp(), backend = CASE WHEN pg_backend_pid() = $2 THEN pg_backend_pid() END,
                    backend_start = (SELECT a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()),
                    lease_until = clock_timestamp() + interval '\(SharedNode.lease) milliseconds', config = $3
                WHERE incarnation = $1 AND NOT is_dead
                    RETURNING is_draining, (SELECT coalesce(max(number), 0) FROM martlet.word)
                """,
                [.number(incarnation), .number(Int64(connection.backend)), .text(node.config)]
            )
        }
        guard rows.count > 0 else {
            say(.wasGivenUp)
            try rejoin(connection)
            return true
        }
        // Before anything is begun under the new lease.
        try words.hear(connection, upTo: rows.integer(0, 1), node.news.heard)
        StorageMetrics.note(lease: node.leaseEnd.milliseconds(since: .now()))
        node.lease(from: asked)
        let isDraining = rows.truth(0, 0)
        if node.setDraining(isDraining) { say(.draining(isDraining)) }
        try bury(connection)
        if isDraining {
            try giveAway(connection, incarnation)
            return false
        }
        guard options.takesOver else { return false }
        return try adopt(connection, incarnation, until: asked.adding(milliseconds: Self.share))
    }

    /// Says of nodes whose lease ran out that they are gone.
    private func bury(_ connection: ServerConnection) throws(ServerError) {
        let rows = try connection.patiently { connection throws(ServerError) in
            try connection.rows(
                """
                UPDATE martlet.node SET is_dead = true, due = -1
                WHERE NOT is_dead AND lease_until < clock_timestamp() RETURNING name
                """
            )
        }
        for row in 0..<rows.count { say(.gone(rows.text(row, 0))) }
        // One of those that are left tells of one that stopped by itself.
        let stopped = try connection.rows(
            "UPDATE martlet.node SET due = -1 WHERE is_dead AND due <> -1 AND name <> $1 RETURNING name",
            [.text(options.node)]
        )
        for row in 0..<stopped.count { say(.left(stopped.text(row, 0))) }
        try SharedGrants.free(connection)
    }

    // MARK: - Joining and leaving

    /// Joins under a new number.
    ///
    /// - Parameter former: the life of this very process that it comes from; nil: the process is new.
    /// - Throws: ``QueueError/locked(_:)`` while another process has this name.
    static func join(
        _ connection: ServerConnection,
        _ options: SharedOptions,
        instance: Int64,
        former: Int64? = nil
    ) throws(QueueError) -> Int64 {
        do throws(ServerError) {
            try connection.run("BEGIN; \(SharedSchema.lock)")
            let others = try connection.rows(
                """
                SELECT 1 FROM martlet.node WHERE name = $1 AND instance <> $2
                    AND NOT is_dead AND lease_until > clock_timestamp()
                """,
                [.text(options.node), .number(instance)]
            )
            if others.count > 0 {
                try connection.run("ROLLBACK")
                throw ServerError(state: "locked", text: "another process is node \(options.node) of this queue")
            }
            _ = try connection.rows(
                """
                UPDATE martlet.node SET is_dead = true WHERE name = $1 AND instance = $2 AND NOT is_dead RETURNING 1
                """,
                [.text(options.node), .number(instance)]
            )
            var number: Int64 = 0
            // Ids end in the number's rest: no two living nodes may have the same.
            repeat {
                number = try connection.rows("SELECT nextval('martlet.incarnation')").integer(0, 0)
            } while try connection.rows(
                "SELECT 1 FROM martlet.node WHERE NOT is_dead AND incarnation % $2 = $1 % $2",
                [.number(number), .number(Int64(SharedNode.shares))]
            ).count > 0
            _ = try connection.rows(
                """
                INSERT INTO martlet.node (incarnation, name, instance, lease_until, version) VALUES ($1, $2, $3,
                    clock_timestamp() + interval '\(SharedNode.lease) milliseconds', $4) RETURNING 1
                """,
                [.number(number), .text(options.node), .number(instance), .text(options.version)]
            )
            try takeGrants(connection, options, instance, from: former, to: number)
            try connection.run("COMMIT")
            return number
        } catch {
            throw error.state == "locked" ? .locked(error.text) : QueueError(error)
        }
    }

    /// Sessions of this process go on under its new number; those of an earlier one are gone with it.
    private static func takeGrants(
        _ connection: ServerConnection,
        _ options: SharedOptions,
        _ instance: Int64,
        from former: Int64?,
        to number: Int64
    ) throws(ServerError) {
        if let former {
            _ = try connection.rows(
                "UPDATE martlet.grants SET node = $2 WHERE node = $1 RETURNING 1",
                [.number(former), .number(number)]
            )
        }
        _ = try connection.rows(
            """
            WITH gone AS (
                DELETE FROM martlet.grants g USING martlet.node n WHERE g.node = n.incarnation AND n.is_dead
                    AND n.name = $1 AND n.instance = $2 RETURNING g.lane, g.fill)
            \(SharedGrants.leavePaces)
            """,
            [.text(options.node), .number(instance)]
        )
    }

    private func rejoin(_ connection: ServerConnection) throws(ServerError) {
        let asked = Uptime.now()
        var failure: QueueError?
        node.writing.withLock { _ in
            let former = node.own.last
            node.join(as: nil)
            node.grants.lose()
            node.news.lost(nil)
            do throws(QueueError) {
                let number = try Self.join(connection, options, instance: instance, former: former)
                node.join(as: number)
                say(.joined(number, options.node))
            } catch {
                failure = error
            }
        }
        if let failure { throw ServerError(state: "", isLost: true, text: "\(failure)") }
        try words.hear(connection, node.news.heard)
        node.lease(from: asked)
    }

    /// What is left belongs to the others from now on.
    private func leave(_ connection: ServerConnection) throws(ServerError) {
        guard let incarnation = node.incarnation else { return }
        _ = try connection.rows(
            """
            WITH gone AS (DELETE FROM martlet.grants WHERE node = $1 RETURNING lane, fill), paces AS (\(SharedGrants.leavePaces))
            UPDATE martlet.node SET is_dead = true, seen = clock_timestamp(), lease_until = clock_timestamp()
            WHERE incarnation = $1 RETURNING 1
            """,
            [.number(incarnation)]
        )
    }

    /// Hands over what no session has.
    private func giveAway(_ connection: ServerConnection, _ incarnation: Int64) throws(ServerError) {
        let ids = node.news.yielded()
        guard !ids.isEmpty else { return }
        do throws(ServerError) {
            _ = try connection.rows(
                "UPDATE martlet.message SET owner = 0 WHERE id = ANY($1) AND owner = ANY($2) RETURNING 1",
                [.numbers(ids.map { Int64(bitPattern: $0.rawValue) }), .numbers(node.own)]
            )
        } catch {
            // They are in nobody's memory now, and may still be this life's.
            node.join(as: nil)
            throw error
        }
    }

    // MARK: - Taking over

    /// Takes messages of those who are gone.
    ///
    /// - Returns: whether some are left.
    private func adopt(
        _ connection: ServerConnection,
        _ incarnation: Int64,
        until end: Uptime
    ) throws(ServerError) -> Bool {
        var count = 0
        var gifts = 0
        defer { if count > gifts { say(.adopted(count - gifts)) } }
        for owner in try Self.orphaned(connection) + [SharedNode.gift(to: incarnation)] {
            while true {
                let found: [Adopted]
                do throws(ServerError) {
                    found = try Self.take(connection, from: owner, to: incarnation, atMost: Self.batch, report: say)
                } catch {
                    // They may be this node's now without its knowing.
                    node.join(as: nil)
                    throw error
                }
                node.news.adopted(found.map { ($0.message, $0.hold) })
                count += found.count
                StorageMetrics.count(adopted: found.count)
                if owner == SharedNode.gift(to: incarnation) { gifts += found.count }
                if found.isEmpty { break }
                if Uptime.now() >= end || thread.isStopping { return true }
            }
        }
        return false
    }

    /// A message with what is known of it.
    struct Adopted {
        let message: RecoveredMessage
        let hold: Hold?
    }

    /// Numbers of those who have messages and are no nodes any more.
    ///
    /// One probe of the index for each number, however many messages there are.
    static func orphaned(_ connection: ServerConnection) throws(ServerError) -> [Int64] {
        let rows = try connection.rows(
            """
            WITH RECURSIVE o(owner) AS (
                (SELECT owner FROM martlet.message ORDER BY owner LIMIT 1)
                UNION ALL
                SELECT (SELECT q.owner FROM martlet.message q WHERE q.owner > o.owner ORDER BY q.owner LIMIT 1)
                FROM o WHERE o.owner IS NOT NULL)
            SELECT o.owner FROM o WHERE o.owner IS NOT NULL AND o.owner <> -1 AND NOT EXISTS (
                SELECT FROM martlet.node n
                WHERE n.incarnation = CASE WHEN o.owner < -1 THEN -1000 - o.owner ELSE o.owner END AND NOT n.is_dead)
            """
        )
        return (0..<rows.count).map { rows.integer($0, 0) }
    }

    /// Takes messages over in one transaction; those that cannot be read become nobody's.
    static func take(
        _ connection: ServerConnection,
        from owner: Int64,
        to incarnation: Int64,
        atMost count: Int,
        report: (SharedNotice) -> Void
    ) throws(ServerError) -> [Adopted] {
        let rows = try connection.rows(
            """
            WITH taken AS (
                SELECT id FROM martlet.message WHERE owner = $1 ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED
            ), mine AS (
                UPDATE martlet.message q SET owner = $2 FROM taken WHERE q.id = taken.id RETURNING q.id, q.state
            )
            SELECT mine.id, mine.state, m.head, h.since, h.until, h.reason FROM mine
                LEFT JOIN martlet.mail m ON m.id = mine.id AND m.piece = 0
                LEFT JOIN martlet.hold h ON h.id = mine.id
            ORDER BY mine.id
            """,
            [.number(owner), .number(incarnation), .number(Int64(count))]
        )
        let location = Location(number: UInt64(bitPattern: incarnation))
        var found: [Adopted] = []
        for row in 0..<rows.count {
            let id = QueueID(rawValue: UInt64(bitPattern: rows.integer(row, 0)))
            guard let message = message(rows, row, id, location) else {
                try setAside(connection, id)
                report(.setAside(id, "its rows contradict each other"))
                continue
            }
            found.append(Adopted(message: message, hold: rows.isNull(row, 3) ? nil : Hold(rows, row, from: 3)))
        }
        return found
    }

    private static func message(
        _ rows: ServerRows,
        _ row: Int,
        _ id: QueueID,
        _ location: Location
    ) -> RecoveredMessage? {
        guard !rows.isNull(row, 2), let head = SharedMail.head(decoding: rows.bytes(row, 2)) else { return nil }
        // What was noted and makes no sense was never noted: it is tried again.
        let note = rows.isNull(row, 1) ? nil : DeliveryState(stored: rows.bytes(row, 1)[...])
        guard let state = head.state(after: note) else { return nil }
        return RecoveredMessage(
            id: id,
            acceptedAt: head.head.acceptedAt,
            location: location,
            envelope: head.envelope,
            size: head.size,
            state: state
        )
    }

    /// Makes a message nobody's.
    static func setAside(_ connection: ServerConnection, _ id: QueueID) throws(ServerError) {
        _ = try connection.rows(
            "UPDATE martlet.message SET owner = -1 WHERE id = $1 RETURNING 1",
            [.number(Int64(bitPattern: id.rawValue))]
        )
    }

    private func lookAfter(_ connection: ServerConnection) throws(ServerError) {
        StorageMetrics.note(horizon: try SharedHealth.horizon(connection).seconds)
        try SharedSchema.makePartitions(connection, around: .now())
        _ = try SharedSchema.dropPartitions(connection, before: .now())
        try connection.run(
            """
            DELETE FROM martlet.node WHERE is_dead AND seen < clock_timestamp() - interval '7 days';
            DELETE FROM martlet.journal j WHERE NOT EXISTS (SELECT FROM martlet.node n WHERE n.name = j.node);
            DELETE FROM martlet.journal j USING (SELECT node, max(number) AS last FROM martlet.journal GROUP BY node) m
                WHERE j.node = m.node AND j.number < m.last - \(Self.journalMost);
            DELETE FROM martlet.errand WHERE asked < clock_timestamp() - interval '5 minutes';
            DELETE FROM martlet.grants g WHERE NOT EXISTS (SELECT FROM martlet.node n WHERE n.incarnation = g.node);
            DELETE FROM martlet.pace WHERE arrival < extract(epoch FROM clock_timestamp() - interval '1 hour') * 1000000;
            DELETE FROM martlet.day WHERE slice < \(SharedDays.oldest);
            \(SharedStore.tidyKeys);
            DELETE FROM martlet.word WHERE said IS NULL
                AND at < clock_timestamp() - interval '\(SharedWords.kept) days';
            DELETE FROM martlet.batch b WHERE NOT EXISTS (SELECT FROM martlet.node n WHERE n.incarnation = b.incarnation);
            DELETE FROM martlet.hold h WHERE NOT EXISTS (SELECT FROM martlet.message q WHERE q.id = h.id)
                AND h.since < extract(epoch FROM clock_timestamp() - interval '1 hour') * 1000
            """
        )
    }
}
