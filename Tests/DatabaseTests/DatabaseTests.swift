// DatabaseTests.swift — what goes in comes out, a transaction is all or nothing, and errors say what was asked.

import Testing

@testable import Database

@Suite struct DatabaseTests {
    private func made() throws -> Database {
        let database = try Database(":memory:")
        try database.run("CREATE TABLE t(n INTEGER PRIMARY KEY, s TEXT, b BLOB)")
        return database
    }

    private func insert(_ database: Database, _ number: Int64, _ text: String, _ bytes: [UInt8]) throws {
        let insert = try database.statement("INSERT INTO t VALUES(?, ?, ?)")
        insert.bind(1, number)
        insert.bind(2, text)
        insert.bind(3, bytes)
        try insert.run()
    }

    @Test func givesBackWhatWasBound() throws {
        let database = try made()
        let rows: [(Int64, String, [UInt8])] = [(-1, "", []), (.max, "ä\u{0}b", [0, 255]), (5, "x", Array(0...255))]
        for (number, text, bytes) in rows { try insert(database, number, text, bytes) }
        for (number, text, bytes) in rows {
            let select = try database.statement("SELECT s, b FROM t WHERE n = ?")
            select.bind(1, number)
            #expect(try select.step())
            #expect(select.text(0) == text)
            #expect(select.bytes(1) == bytes)
            #expect(try !select.step())
        }
    }

    @Test func aTransactionThatFailsLeavesNothing() throws {
        let database = try made()
        struct Stop: Error {}
        #expect(throws: (any Error).self) {
            try database.transaction { () throws(DatabaseError) in
                try database.run("INSERT INTO t VALUES(1, 'a', NULL)")
                try database.run("INSERT INTO t VALUES(1, 'a', NULL)")
            } failing: {
                $0
            }
        }
        #expect(try database.number("SELECT count(*) FROM t") == 0)
        try database.transaction { () throws(DatabaseError) in
            try database.run("INSERT INTO t VALUES(1, 'a', NULL)")
        } failing: {
            $0
        }
        #expect(try database.number("SELECT count(*) FROM t") == 1)
    }

    @Test func anErrorSaysWhatWasAsked() throws {
        let database = try made()
        do throws(DatabaseError) {
            try database.run("SELECT * FROM nothing")
            Issue.record("there is no such table")
        } catch {
            #expect(error.description.contains("nothing"))
            #expect(!error.isCorrupt)
        }
        do throws(DatabaseError) {
            _ = try Database("/nowhere/at/all.db")
            Issue.record("there is no such directory")
        } catch {
            #expect(error.description.contains("/nowhere/at/all.db"))
        }
    }
}
