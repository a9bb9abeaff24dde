// Statement.swift — a prepared statement: values in, rows out.

import CSQLite

/// A prepared statement of a connection, used where the connection is.
package final class Statement {
    private let handle: OpaquePointer
    private unowned let database: Database

    init(_ handle: OpaquePointer, of database: Database) {
        self.handle = handle
        self.database = database
    }

    deinit { sqlite3_finalize(handle) }

    /// Sets the parameter at a place, from 1 on.
    package func bind(_ place: Int32, _ number: Int64) { sqlite3_bind_int64(handle, place, number) }

    /// Sets the parameter at a place, from 1 on.
    package func bind(_ place: Int32, _ text: String) {
        var text = text
        text.withUTF8 { bytes in
            _ = bytes.withMemoryRebound(to: CChar.self) { chars in
                martlet_bind_text(handle, place, chars.baseAddress, Int32(clamping: chars.count))
            }
        }
    }

    /// Sets the parameter at a place, from 1 on.
    package func bind(_ place: Int32, _ bytes: [UInt8]) {
        bytes.withUnsafeBytes { raw in
            // No address is NULL to SQLite, and an empty array may have none.
            if let start = raw.baseAddress {
                _ = martlet_bind_blob(handle, place, start, UInt64(raw.count))
            } else {
                _ = sqlite3_bind_zeroblob(handle, place, 0)
            }
        }
    }

    /// Goes to the next row.
    ///
    /// - Returns: false when there is none; then the statement is ready to be used again.
    package func step() throws(DatabaseError) -> Bool {
        switch sqlite3_step(handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE:
            sqlite3_reset(handle)
            return false
        case let code:
            let error = database.error(code, sqlite3_sql(handle).map { String(cString: $0) } ?? "")
            sqlite3_reset(handle)
            throw error
        }
    }

    /// Runs a statement that gives no rows, once.
    package func run() throws(DatabaseError) { while try step() {} }

    /// Ends it early, so that it can be bound again.
    package func reset() {
        sqlite3_reset(handle)
        sqlite3_clear_bindings(handle)
    }

    /// A column of the row, from 0 on.
    package func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

    /// A column of the row, from 0 on; bytes that are no UTF-8 are replaced.
    package func text(_ column: Int32) -> String { String(decoding: bytes(column), as: UTF8.self) }

    /// A column of the row, from 0 on.
    package func bytes(_ column: Int32) -> [UInt8] { withBytes(column) { Array($0) } }

    /// A column of the row where it lies: valid in `body` only.
    package func withBytes<Value>(_ column: Int32, _ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        let start = sqlite3_column_blob(handle, column)
        let count = Int(sqlite3_column_bytes(handle, column))
        return body(UnsafeRawBufferPointer(start: start, count: start == nil ? 0 : count))
    }
}
