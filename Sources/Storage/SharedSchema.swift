// SharedSchema.swift — the tables of a queue that several relays share, and how an older version becomes this one.
//
// Bodies are inserted and never changed, in partitions by the hour of their id, which are dropped when nothing in them is
// live; what changes is small and in a table of its own, so that vacuum has little to do. Every name is qualified: a search
// path would be state of a session.

import Database
import Mail

/// The tables.
enum SharedSchema {
    /// What this program writes and reads.
    static let version = 3
    /// Taken for the length of a transaction that changes what tables or nodes there are.
    static let lock = "SELECT pg_advisory_xact_lock(7250114)"
    /// Milliseconds of ids in one partition.
    static let span: Int64 = 3_600_000
    /// Partitions made before they are needed.
    static let ahead: Int64 = 3

    private static let first = """
        CREATE SCHEMA IF NOT EXISTS martlet;
        CREATE TABLE martlet.schema (version integer NOT NULL, identity bigint NOT NULL);
        INSERT INTO martlet.schema VALUES (1, (random() * 2000000000)::bigint + 1);
        CREATE SEQUENCE martlet.incarnation AS bigint MINVALUE 1 MAXVALUE 4000000000;
        CREATE TABLE martlet.node (
            incarnation bigint PRIMARY KEY,
            name text NOT NULL,
            instance bigint NOT NULL,
            started timestamptz NOT NULL DEFAULT clock_timestamp(),
            seen timestamptz NOT NULL DEFAULT clock_timestamp(),
            lease_until timestamptz NOT NULL,
            is_dead boolean NOT NULL DEFAULT false,
            is_draining boolean NOT NULL DEFAULT false,
            version text NOT NULL DEFAULT '',
            config text NOT NULL DEFAULT ''
        );
        CREATE TABLE martlet.mail (
            id bigint NOT NULL,
            piece integer NOT NULL,
            head bytea,
            content bytea NOT NULL,
            PRIMARY KEY (id, piece)
        ) PARTITION BY RANGE (id);
        ALTER TABLE martlet.mail ALTER content SET STORAGE EXTERNAL;
        CREATE TABLE martlet.mail_rest PARTITION OF martlet.mail DEFAULT;
        CREATE TABLE martlet.message (
            id bigint PRIMARY KEY,
            owner bigint NOT NULL,
            size bigint NOT NULL,
            state bytea
        ) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
        CREATE INDEX message_owner ON martlet.message (owner, id);
        CREATE TABLE martlet.hold (
            id bigint PRIMARY KEY,
            since bigint NOT NULL,
            until bigint,
            reason bytea NOT NULL
        );
        CREATE TABLE martlet.journal (
            node text NOT NULL,
            number bigint NOT NULL,
            id bigint NOT NULL,
            kind smallint NOT NULL,
            facts bytea NOT NULL,
            PRIMARY KEY (node, number)
        ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
        CREATE TABLE martlet.batch (incarnation bigint PRIMARY KEY, number bigint NOT NULL) WITH (fillfactor = 10);
        CREATE TABLE martlet.reader (node text PRIMARY KEY, passed bigint NOT NULL);
        """

    private static let second = """
        ALTER TABLE martlet.node ADD backend integer, ADD backend_start timestamptz, ADD due bigint NOT NULL DEFAULT 0;
        CREATE TABLE martlet.grants (
            lane text NOT NULL,
            node bigint NOT NULL,
            sessions bigint NOT NULL,
            wanted bigint NOT NULL,
            PRIMARY KEY (lane, node)
        ) WITH (fillfactor = 50);
        CREATE INDEX grants_node ON martlet.grants (node);
        CREATE INDEX grants_lacking ON martlet.grants (lane) WHERE wanted > sessions;
        CREATE TABLE martlet.errand (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            node bigint NOT NULL,
            asked timestamptz NOT NULL DEFAULT clock_timestamp(),
            question bytea NOT NULL,
            answer bytea
        );
        CREATE INDEX errand_open ON martlet.errand (node, number) WHERE answer IS NULL;
        """

    /// Rates and days that nodes divide, pauses that a node hears of when it comes back, keys of requests.
    private static let third = """
        ALTER TABLE martlet.grants ADD fill bigint NOT NULL DEFAULT 0;
        CREATE TABLE martlet.pace (lane text PRIMARY KEY, arrival bigint NOT NULL) WITH (fillfactor = 50);
        CREATE TABLE martlet.day (
            scope text NOT NULL,
            slice bigint NOT NULL,
            count bigint NOT NULL,
            PRIMARY KEY (scope, slice)
        ) WITH (fillfactor = 50);
        CREATE SEQUENCE martlet.word_number AS bigint;
        CREATE TABLE martlet.word (
            scope text PRIMARY KEY,
            number bigint NOT NULL,
            said bytea,
            at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        CREATE TABLE martlet.once (
            name text PRIMARY KEY,
            request text NOT NULL,
            node bigint NOT NULL,
            at timestamptz NOT NULL DEFAULT clock_timestamp(),
            message bigint,
            answer bytea
        );
        CREATE INDEX once_at ON martlet.once (at);
        """

    /// The steps from one version to the next.
    private static let steps: [Int: String] = [0: first, 1: second, 2: third]

    /// The version of what is there; 0: nothing.
    static func found(_ connection: ServerConnection) throws(ServerError) -> Int {
        guard !(try connection.rows("SELECT to_regclass('martlet.schema')::text").isNull(0, 0)) else { return 0 }
        let rows = try connection.rows("SELECT version FROM martlet.schema")
        return rows.count > 0 ? Int(rows.integer(0, 0)) : 0
    }

    /// Brings an older version up to this one.
    ///
    /// - Returns: the version that was there.
    static func migrate(_ connection: ServerConnection) throws(QueueError) -> Int {
        do throws(ServerError) {
            try connection.run("BEGIN; \(lock)")
            let before = try found(connection)
            if let trouble = Self.trouble(before, mayMigrate: true) {
                try connection.run("ROLLBACK")
                throw ServerError(state: "", text: trouble)
            }
            for version in before..<Self.version {
                try connection.run(steps[version] ?? "")
                try connection.run("UPDATE martlet.schema SET version = \(version + 1)")
            }
            try connection.run("COMMIT")
            try makePartitions(connection, around: .now())
            return before
        } catch {
            throw QueueError(error)
        }
    }

    /// Why a version keeps a node from starting; nil: it does not.
    static func trouble(_ found: Int, mayMigrate: Bool) -> String? {
        if found > version {
            return "the tables are of version \(found), made by a newer martlet; this one knows version \(version)"
        }
        if found < version, !mayMigrate {
            let what = found == 0 ? "there are no tables" : "the tables are of version \(found)"
            return "\(what); run: martlet storage migrate"
        }
        return nil
    }

    // MARK: - Partitions

    /// The first id of the span that a time lies in.
    static func start(of time: Timestamp) -> Int64 { (time.milliseconds / span * span) << 20 }

    private static func name(_ start: Int64) -> String { "mail_\((start >> 20) / span)" }

    /// Makes the partitions for now and the next hours, where they are missing.
    ///
    /// A clock that was wrong may have put mail of an hour into the rest already; then that hour stays there.
    static func makePartitions(_ connection: ServerConnection, around now: Timestamp) throws(ServerError) {
        for step in -1...ahead {
            let from = start(of: now.adding(milliseconds: step * span))
            let table = "martlet.\(name(from))"
            guard try connection.rows("SELECT to_regclass('\(table)')::text").isNull(0, 0) else { continue }
            do throws(ServerError) {
                try connection.run(
                    """
                    BEGIN; SET LOCAL lock_timeout = '2s'; \(lock);
                    CREATE TABLE IF NOT EXISTS \(table) PARTITION OF martlet.mail
                        FOR VALUES FROM (\(from)) TO (\(from + span << 20));
                    COMMIT
                    """
                )
            } catch {
                if error.isLost { throw error }
                try connection.run("ROLLBACK")
            }
        }
    }

    /// Drops the partitions in which nothing is live and nothing is left to be told.
    ///
    /// - Parameter now: those of the last two hours stay, for what is on its way.
    /// - Returns: how many.
    static func dropPartitions(_ connection: ServerConnection, before now: Timestamp) throws(ServerError) -> Int {
        let rows = try connection.rows(
            """
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'martlet.mail'::regclass AND c.relname <> 'mail_rest' ORDER BY c.relname
            """
        )
        let newest = start(of: now.adding(milliseconds: -2 * span))
        var dropped = 0
        for row in 0..<rows.count {
            guard let hour = Int64(rows.text(row, 0).dropFirst("mail_".count)) else { continue }
            let from = (hour * span) << 20
            let to = from + span << 20
            guard from < newest, !(try isInUse(connection, from, to)) else { continue }
            do throws(ServerError) {
                try connection.run(
                    "BEGIN; SET LOCAL lock_timeout = '500ms'; LOCK TABLE martlet.\(name(from)) IN ACCESS EXCLUSIVE MODE"
                )
                // Asked again behind the lock: nothing can be inserted any more.
                if try isInUse(connection, from, to) {
                    try connection.run("ROLLBACK")
                } else {
                    try connection.run("DROP TABLE martlet.\(name(from)); COMMIT")
                    dropped += 1
                }
            } catch {
                if error.isLost { throw error }
                try connection.run("ROLLBACK")
            }
        }
        try connection.run(
            """
            DELETE FROM martlet.mail_rest r WHERE r.id < \(newest)
                AND NOT EXISTS (SELECT FROM martlet.message q WHERE q.id = r.id)
                AND NOT EXISTS (SELECT FROM martlet.journal j WHERE j.id = r.id)
            """
        )
        return dropped
    }

    private static func isInUse(
        _ connection: ServerConnection,
        _ from: Int64,
        _ to: Int64
    ) throws(ServerError) -> Bool {
        let rows = try connection.rows(
            """
            SELECT EXISTS (SELECT FROM martlet.message WHERE id >= \(from) AND id < \(to))
                OR EXISTS (SELECT FROM martlet.journal WHERE id >= \(from) AND id < \(to))
            """
        )
        return rows.truth(0, 0)
    }
}

extension QueueError {
    /// What a server's error means for mail.
    init(_ error: ServerError) { self = error.isFull ? .full("\(error)") : .broken("\(error)") }
}
