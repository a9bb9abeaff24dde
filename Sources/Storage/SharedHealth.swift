// SharedHealth.swift — what is well and what is not with a database that several relays share, for people. Reads, and changes nothing.

import Database
import Mail

/// What was found of a shared queue's database.
package struct SharedHealth: Hashable, Sendable {
    /// One thing that was looked at.
    package struct Sign: Hashable, Sendable {
        /// In a word or two.
        package let name: String
        package let detail: String
        /// What to do; empty: it is as it should be.
        package let remedy: String
        /// Mail may be lost or stand still; otherwise it is only not what is usual.
        package let isBad: Bool

        init(_ name: String, _ detail: String, _ remedy: String = "", isBad: Bool = false) {
            (self.name, self.detail, self.remedy, self.isBad) = (name, detail, remedy, isBad)
        }
    }

    /// What the server says of itself, as it is judged.
    struct Answers: Hashable, Sendable {
        var version = 150_000
        var synchronousCommit = "on"
        /// Standbys that are waited for, and all.
        var synchronous = 0
        var standbys = 0
        var isAutovacuumOn = true
        /// Seconds of the oldest transaction that keeps rows from being removed, and whose it is.
        var horizon: Int64 = 0
        var holder = ""
        /// Replication slots that nobody uses, and prepared transactions.
        var idleSlots = 0
        var prepared = 0
        var connections = 0
        var mostConnections = 100
        /// Milliseconds that the server's clock is ahead of this one.
        var ahead: Int64 = 0
        /// Of the tables.
        var schema = 0
        /// What each living node says of its configuration, by name.
        var configs: [String: String] = [:]
    }

    package let signs: [Sign]
    /// What each living node says of its configuration, by name.
    package let configs: [String: String]

    /// Looks at a database.
    ///
    /// Blocks.
    package init(of place: String) throws(QueueError) {
        do throws(ServerError) {
            let connection = try ServerConnection(place)
            let answers = try Self.ask(connection)
            (signs, configs) = (Self.judge(answers), answers.configs)
        } catch {
            throw QueueError(error)
        }
    }

    /// Seconds that the oldest transaction of a server keeps rows from being removed.
    static func horizon(_ connection: ServerConnection) throws(ServerError) -> (seconds: Int64, holder: String) {
        let rows = try connection.rows(
            """
            SELECT extract(epoch FROM clock_timestamp() - xact_start)::bigint,
                coalesce(nullif(application_name, ''), backend_type, '') FROM pg_stat_activity
            WHERE backend_xmin IS NOT NULL AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
            ORDER BY xact_start LIMIT 1
            """
        )
        return rows.count > 0 ? (max(0, rows.integer(0, 0)), rows.text(0, 1)) : (0, "")
    }

    private static func ask(_ connection: ServerConnection) throws(ServerError) -> Answers {
        var answers = Answers()
        answers.version = connection.version
        let before = Timestamp.now()
        let rows = try connection.rows(
            """
            SELECT current_setting('synchronous_commit'), current_setting('autovacuum') = 'on',
                (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')),
                (SELECT count(*) FROM pg_stat_replication),
                (SELECT count(*) FROM pg_replication_slots WHERE NOT active),
                (SELECT count(*) FROM pg_prepared_xacts),
                (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
                current_setting('max_connections')::bigint,
                (extract(epoch FROM clock_timestamp()) * 1000)::bigint
            """
        )
        let after = Timestamp.now()
        answers.synchronousCommit = rows.text(0, 0)
        answers.isAutovacuumOn = rows.truth(0, 1)
        answers.synchronous = Int(rows.integer(0, 2))
        answers.standbys = Int(rows.integer(0, 3))
        answers.idleSlots = Int(rows.integer(0, 4))
        answers.prepared = Int(rows.integer(0, 5))
        answers.connections = Int(rows.integer(0, 6))
        answers.mostConnections = Int(rows.integer(0, 7))
        answers.ahead = rows.integer(0, 8) - (before.milliseconds + after.milliseconds) / 2
        (answers.horizon, answers.holder) = try horizon(connection)
        answers.schema = try SharedSchema.found(connection)
        guard answers.schema == SharedSchema.version else { return answers }
        let nodes = try connection.rows(
            "SELECT name, config FROM martlet.node WHERE NOT is_dead AND lease_until > clock_timestamp() AND config <> ''"
        )
        for row in 0..<nodes.count { answers.configs[nodes.text(row, 0)] = nodes.text(row, 1) }
        return answers
    }

    /// What the answers mean.
    static func judge(_ answers: Answers) -> [Sign] {
        var signs: [Sign] = []
        let (major, schema) = (answers.version / 10_000, answers.schema)
        signs.append(
            major >= 14
                ? Sign("database", "PostgreSQL \(major)")
                : Sign("database", "PostgreSQL \(major) is too old", "Use version 14 or later.", isBad: true)
        )
        if let trouble = SharedSchema.trouble(schema, mayMigrate: false) {
            signs.append(Sign("tables", trouble, "Run martlet storage migrate, or the newer martlet.", isBad: true))
        }
        switch answers.synchronousCommit {
        case "off":
            let remedy = "Set synchronous_commit = on for this database; the group commit makes it cheap."
            signs.append(
                Sign("commits", "synchronous_commit is off: a crash loses acknowledged mail", remedy, isBad: true)
            )
        case "local" where answers.synchronous > 0:
            signs.append(
                Sign(
                    "commits",
                    "synchronous_commit is local: the standby is not waited for",
                    "Set it to on.",
                    isBad: true
                )
            )
        default:
            let asynchronous = answers.standbys - answers.synchronous
            signs.append(
                answers.standbys > 0 && answers.synchronous == 0
                    ? Sign(
                        "commits",
                        "\(asynchronous) standbys, none of them synchronous: a failover may lose the last commits",
                        "Set synchronous_standby_names, if that must not be."
                    )
                    : Sign("commits", "durable when they are answered; \(answers.synchronous) synchronous standbys")
            )
        }
        return signs + judgeUpkeep(answers)
    }

    /// What keeps dead rows, and what the server has room for.
    private static func judgeUpkeep(_ answers: Answers) -> [Sign] {
        var signs: [Sign] = []
        if !answers.isAutovacuumOn {
            signs.append(Sign("vacuum", "autovacuum is off: the tables grow for ever", "Turn it on.", isBad: true))
        }
        if answers.horizon >= 300 {
            let detail = "a transaction of \(answers.holder) is open for \(answers.horizon) s and keeps dead rows"
            signs.append(Sign("horizon", detail, "End it; see backend_xmin in pg_stat_activity."))
        }
        if answers.idleSlots > 0 {
            let detail = "\(answers.idleSlots) replication slots that nobody uses keep WAL and dead rows"
            signs.append(Sign("horizon", detail, "Drop them: pg_drop_replication_slot.", isBad: true))
        }
        if answers.prepared > 0 {
            let detail = "\(answers.prepared) prepared transactions keep dead rows"
            signs.append(Sign("horizon", detail, "Commit or roll them back; see pg_prepared_xacts."))
        }
        if answers.connections * 10 >= answers.mostConnections * 9 {
            let detail = "\(answers.connections) of \(answers.mostConnections) connections are taken"
            signs.append(
                Sign("connections", detail, "Raise max_connections, or put PgBouncer in between.", isBad: true)
            )
        }
        if abs(answers.ahead) >= 2_000 {
            let detail = "the server's clock and this one are \(abs(answers.ahead)) ms apart"
            signs.append(Sign("clock", detail, "Synchronise both: partitions go by them."))
        }
        return signs
    }
}
