// Database.swift — SQLite behind a small interface: statements, transactions, rows. The only importer of the library.
//
// Not thread-safe, on purpose: a connection belongs to one thread, or to whoever holds the lock that it stands behind. Every
// call may block on the disk, so none belongs on an event loop.

import CSQLite

/// One connection to one database file.
///
/// `@unchecked Sendable`: it may go from thread to thread, and is used by one at a time, since whoever shares it keeps it in a
/// `Mutex`; the library itself has no data in common between connections.
package final class Database: @unchecked Sendable {
    /// When a commit is on the disk.
    package enum Syncing: String, Hashable, Sendable {
        /// At some later time; after a power cut the database is whole, but the last commits may be missing.
        case later = "NORMAL"
        /// When the commit returns.
        case atOnce = "FULL"
    }

    private let handle: OpaquePointer
    private var cache: [String: Statement] = [:]

    /// Opens a database file, and makes it when it is missing.
    ///
    /// - Parameters:
    ///   - path: of the file; `:memory:` is none.
    ///   - pageSize: bytes of a page, of a database that is made.
    ///   - isReadOnly: for a reader beside the one that writes.
    ///   - patience: milliseconds to wait for another connection that writes.
    /// - Throws: ``DatabaseError``; what is no database is found by the first statement.
    package init(
        _ path: String,
        pageSize: Int = 8192,
        isReadOnly: Bool = false,
        patience: Int = 5_000
    ) throws(DatabaseError) {
        var opened: OpaquePointer?
        let flags =
            (isReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX
        let code = sqlite3_open_v2(path, &opened, flags, nil)
        guard code == SQLITE_OK, let opened else {
            let error = DatabaseError(code: code, text: "open \(path): \(Self.words(opened, code))")
            sqlite3_close_v2(opened)
            throw error
        }
        handle = opened
        sqlite3_extended_result_codes(handle, 1)
        sqlite3_busy_timeout(handle, Int32(clamping: patience))
        try run("PRAGMA page_size = \(pageSize)")
        if !isReadOnly {
            try run("PRAGMA journal_mode = WAL")
            // 32 MiB of 8 KiB pages: fewer syncs, and the log never grows far beyond.
            try run("PRAGMA wal_autocheckpoint = 4096")
            try run("PRAGMA journal_size_limit = \(64 << 20)")
        }
        try run("PRAGMA temp_store = MEMORY")
    }

    deinit {
        cache = [:]
        sqlite3_close_v2(handle)
    }

    /// Makes later commits durable when they return, or some time after.
    package func sync(_ syncing: Syncing) throws(DatabaseError) { try run("PRAGMA synchronous = \(syncing.rawValue)") }

    /// Runs statements that give no rows.
    package func run(_ sql: String) throws(DatabaseError) {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw error(code, sql) }
    }

    /// A statement, ready to be bound: prepared once, kept for the next time.
    package func statement(_ sql: String) throws(DatabaseError) -> Statement {
        if let kept = cache[sql] {
            kept.reset()
            return kept
        }
        let made = try prepare(sql)
        // Partitions come and go, and their names stand in the text.
        if cache.count >= 64 { cache = [:] }
        cache[sql] = made
        return made
    }

    /// A statement of the caller's own.
    package func prepare(_ sql: String) throws(DatabaseError) -> Statement {
        var made: OpaquePointer?
        let code = sqlite3_prepare_v2(handle, sql, -1, &made, nil)
        guard code == SQLITE_OK, let made else { throw error(code, sql) }
        return Statement(made, of: self)
    }

    /// Forgets prepared statements, so that no table is in use by one.
    package func forgetStatements() { cache = [:] }

    /// Does everything in `body`, or nothing.
    package func transaction<Value, Failure: Error>(
        _ body: () throws(Failure) -> Value,
        failing wrap: (DatabaseError) -> Failure
    ) throws(Failure) -> Value {
        do throws(DatabaseError) { try run("BEGIN IMMEDIATE") } catch { throw wrap(error) }
        let value: Value
        do throws(Failure) {
            value = try body()
        } catch {
            rollBack()
            throw error
        }
        do throws(DatabaseError) {
            try run("COMMIT")
        } catch {
            rollBack()
            throw wrap(error)
        }
        return value
    }

    private func rollBack() {
        for statement in cache.values { statement.reset() }
        // It fails where SQLite has rolled back by itself.
        do throws(DatabaseError) { try run("ROLLBACK") } catch {}
    }

    /// Bytes that the database takes, those of free pages left out.
    package func usedBytes() throws(DatabaseError) -> Int {
        let size = try number("PRAGMA page_size")
        return (try number("PRAGMA page_count") - (try number("PRAGMA freelist_count"))) * size
    }

    /// The first column of the first row.
    package func number(_ sql: String) throws(DatabaseError) -> Int {
        let statement = try prepare(sql)
        return try statement.step() ? Int(statement.integer(0)) : 0
    }

    func error(_ code: Int32, _ doing: String) -> DatabaseError {
        let known = sqlite3_extended_errcode(handle)
        let words = doing.utf8.count > 80 ? String(decoding: doing.utf8.prefix(80), as: UTF8.self) + "…" : doing
        return DatabaseError(code: known == SQLITE_OK ? code : known, text: "\(words): \(Self.words(handle, code))")
    }

    private static func words(_ handle: OpaquePointer?, _ code: Int32) -> String {
        if let handle, let text = sqlite3_errmsg(handle) { return String(cString: text) }
        return sqlite3_errstr(code).map { String(cString: $0) } ?? "error \(code)"
    }
}
