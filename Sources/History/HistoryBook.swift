// HistoryBook.swift — the past in an SQLite database: blocks of events in their order, runs of an index over them, and how far
// the queue's log was read, all in one transaction.
//
// A day is a partition: two tables of its own that are dropped together, and one more whenever a sixteenth of the room is
// used up. Guarantees: what one commit brings is there with its position or not at all; numbers go on where they stopped.
//
//   meta(key, value)                    version, epoch, the log's position, the next number
//   part(number, day, first, bytes)     a partition
//   block_N(first, count, body)         events
//   run_N(run, count, lows)             a sorted list; lows: the first key of each of its pieces
//   piece_N(place, body)                its pieces; place: run << 20 | number
//   cursor(name, seq, note)             places of readers
//   tally(hour, number, body)           numbers, see HistoryBook+Tallies

import Database
import Mail
import Synchronization

/// The searchable past.
package final class HistoryBook: Sendable {
    static let version = 2
    /// A partition's share of the room.
    static let shares = 16

    /// What the writing side knows without asking the database.
    struct Writing {
        let database: Database
        var next: UInt64
        var position: [UInt8]
        var part: Part?
    }

    /// A partition.
    struct Part: Hashable, Sendable {
        let number: Int
        let day: Int64
        /// Its first event.
        let first: UInt64
        var bytes: Int
    }

    struct Reading {
        let database: Database
    }

    let options: HistoryOptions
    /// Tells this history from every other.
    package let epoch: String
    /// Random bytes that nobody else has: a key for hashes.
    package let salt: [UInt8]
    // A lock around each connection, which is not made for two threads. Both are held while a disk is waited for, by threads that
    // may wait: the follower's and those of the API.
    let writing: Mutex<Writing>
    let reading: Mutex<Reading>
    let numbers: Mutex<EventSpan>
    let news = EventNews()

    /// Opens the database and makes it when it is missing.
    ///
    /// Blocks.
    /// - Parameters:
    ///   - path: of the file.
    ///   - makeEpoch: makes a name that no other history has, of letters and digits.
    /// - Throws: ``HistoryError``; a file that cannot be used stays as it is.
    package init(path: String, options: HistoryOptions, makeEpoch: () -> String) throws(HistoryError) {
        self.options = options
        do throws(DatabaseError) {
            let database = try Database(path)
            try database.sync(.atOnce)
            try Self.makeTables(database, makeEpoch)
            epoch = try Self.text(database, "epoch") ?? ""
            salt = try Self.value(database, "salt") ?? []
            let next = UInt64(try Self.text(database, "next") ?? "") ?? 1
            let position = try Self.value(database, "position") ?? []
            let part = try Self.parts(database).last
            let oldest = try Self.parts(database).first?.first ?? next
            try database.sync(.later)
            numbers = Mutex(EventSpan(oldest: oldest, newest: next - 1))
            writing = Mutex(Writing(database: database, next: next, position: position, part: part))
            reading = Mutex(Reading(database: try Database(path, isReadOnly: true)))
        } catch {
            throw HistoryError(error)
        }
    }

    /// What was kept with the last commit as the place to go on from; empty at first.
    package var position: [UInt8] { writing.withLock { $0.position } }

    // MARK: - Tables

    private static func makeTables(_ database: Database, _ makeEpoch: () -> String) throws(DatabaseError) {
        let found = try database.number("PRAGMA user_version")
        guard found <= version else {
            throw DatabaseError(code: 1, text: "the history was written by a newer version")
        }
        guard found < version else { return }
        let name = makeEpoch()
        try database.transaction { () throws(DatabaseError) in
            if found < 1 {
                try database.run(
                    """
                    CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
                    CREATE TABLE part(number INTEGER PRIMARY KEY, day INTEGER, first INTEGER, bytes INTEGER);
                    CREATE TABLE cursor(name TEXT PRIMARY KEY, seq INTEGER, note BLOB) WITHOUT ROWID;
                    """
                )
                try set(database, "epoch", Array(name.utf8))
                try set(database, "salt", (0..<32).map { _ in UInt8.random(in: .min ... .max) })
            }
            try database.run(
                """
                CREATE TABLE tally(hour INTEGER, number INTEGER, body BLOB, PRIMARY KEY(hour, number));
                PRAGMA user_version = \(version);
                """
            )
        } failing: {
            $0
        }
    }

    static func set(_ database: Database, _ key: String, _ value: [UInt8]) throws(DatabaseError) {
        let statement = try database.statement("INSERT OR REPLACE INTO meta VALUES(?, ?)")
        statement.bind(1, key)
        statement.bind(2, value)
        try statement.run()
    }

    private static func value(_ database: Database, _ key: String) throws(DatabaseError) -> [UInt8]? {
        let statement = try database.statement("SELECT value FROM meta WHERE key = ?")
        statement.bind(1, key)
        defer { statement.reset() }
        return try statement.step() ? statement.bytes(0) : nil
    }

    private static func text(_ database: Database, _ key: String) throws(DatabaseError) -> String? {
        try value(database, key).map { String(decoding: $0, as: UTF8.self) }
    }

    /// All partitions, oldest first.
    static func parts(_ database: Database) throws(DatabaseError) -> [Part] {
        let statement = try database.statement("SELECT number, day, first, bytes FROM part ORDER BY number")
        var parts: [Part] = []
        while try statement.step() {
            parts.append(
                Part(
                    number: Int(statement.integer(0)),
                    day: statement.integer(1),
                    first: UInt64(bitPattern: statement.integer(2)),
                    bytes: Int(statement.integer(3))
                )
            )
        }
        return parts
    }
}

extension HistoryError {
    init(_ error: DatabaseError) { self = .broken("history.db: \(error)") }
}
