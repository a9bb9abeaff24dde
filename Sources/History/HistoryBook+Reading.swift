// HistoryBook+Reading.swift — events by their numbers, and the places of those who read them.

import Database
import Mail
import Synchronization

extension HistoryBook: EventReader {
    /// Blocks looked at for one page: about as many events as others can wait for.
    private static let mostBlocks = 256

    package var span: EventSpan { numbers.withLock { $0 } }

    package func events(
        after seq: UInt64,
        matching filter: EventFilter,
        atMost limit: Int
    ) throws(HistoryError) -> EventPage {
        let span = span
        if seq > 0, seq + 1 < span.oldest { throw .tooOld(oldest: span.oldest) }
        var page = EventPage(events: [], last: max(seq, span.oldest - 1), isAtEnd: true)
        guard page.last < span.newest, limit > 0 else { return page }
        // Where everything fits, no more is read than is given back.
        let wanted = filter == EventFilter() ? UInt64(limit) : .max
        try read { database throws(DatabaseError) in
            let parts = try Self.parts(database)
            var looked = 0
            for (index, part) in parts.enumerated() {
                let end = index + 1 < parts.count ? parts[index + 1].first : span.newest + 1
                while end > page.last + 1, page.last < span.newest {
                    let before = page.last
                    let blocks = try Self.blocks(
                        of: part.number,
                        from: before + 1,
                        atMost: Self.mostBlocks - looked,
                        events: wanted,
                        database
                    )
                    for (first, count, body) in blocks {
                        looked += 1
                        take(body, first, filter, limit, &page)
                        if page.events.count >= limit { return }
                        page.last = max(page.last, first + count - 1)
                    }
                    if looked >= Self.mostBlocks { return }
                    if page.last == before { break }
                }
            }
            page.last = max(page.last, span.newest)
        }
        page.isAtEnd = page.last >= span.newest
        return page
    }

    private func take(
        _ body: [UInt8],
        _ first: UInt64,
        _ filter: EventFilter,
        _ limit: Int,
        _ page: inout EventPage
    ) {
        var scan = StoryScan(body, first: first)
        while let item = scan.item(where: { _, id in filter.message.map { $0 == id } ?? true }) {
            guard item.first + UInt64(item.entry.eventCount) > page.last + 1 else { continue }
            for event in item.events(epoch: epoch, node: options.node) where event.seq > page.last {
                if filter.fits(event) { page.events.append(event) }
                page.last = event.seq
                if page.events.count >= limit { return }
            }
        }
    }

    /// Blocks from the one that holds a number on: a mebibyte of them, or as many as hold so many events.
    private static func blocks(
        of part: Int,
        from seq: UInt64,
        atMost limit: Int,
        events wanted: UInt64,
        _ database: Database
    ) throws(DatabaseError) -> [(first: UInt64, count: UInt64, body: [UInt8])] {
        let statement = try database.statement(
            """
            SELECT first, count, body FROM block_\(part) WHERE first >= coalesce(
                (SELECT max(first) FROM block_\(part) WHERE first <= ?), 0) ORDER BY first LIMIT ?
            """
        )
        statement.bind(1, Int64(bitPattern: seq))
        // Most pages are full after one block; more are read when they are wanted.
        statement.bind(2, Int64(max(1, limit)))
        defer { statement.reset() }
        var blocks: [(first: UInt64, count: UInt64, body: [UInt8])] = []
        var (bytes, events): (Int, UInt64) = (0, 0)
        while bytes < 1 << 20, events < wanted, try statement.step() {
            let body = statement.bytes(2)
            bytes += body.count
            let (first, count) = (UInt64(bitPattern: statement.integer(0)), UInt64(statement.integer(1)))
            if first + count > seq { events += first + count - max(first, seq) }
            blocks.append((first, count, body))
        }
        return blocks
    }

    /// Does something with the connection that reads.
    func read<Value: Sendable>(_ body: (Database) throws(DatabaseError) -> Value) throws(HistoryError) -> Value {
        let result: Result<Value, DatabaseError> = reading.withLock { reading in
            do throws(DatabaseError) { return .success(try body(reading.database)) } catch { return .failure(error) }
        }
        do throws(DatabaseError) { return try result.get() } catch { throw HistoryError(error) }
    }

    package func wait(behind seq: UInt64, atMost milliseconds: Int) -> Bool {
        news.wait(atMost: milliseconds) { span.newest > seq }
    }

    package func onNews(_ body: @escaping @Sendable () -> Void) -> NewsToken { news.listen(body) }

    // MARK: - Cursors

    package func cursor(_ name: String) throws(HistoryError) -> EventCursor? {
        try read { database throws(DatabaseError) in
            let statement = try database.statement("SELECT name, seq, note FROM cursor WHERE name = ?")
            statement.bind(1, name)
            defer { statement.reset() }
            return try statement.step() ? EventCursor(statement) : nil
        }
    }

    package func cursors(named prefix: String) throws(HistoryError) -> [EventCursor] {
        try read { database throws(DatabaseError) in
            let statement = try database.statement("SELECT name, seq, note FROM cursor ORDER BY name")
            var cursors: [EventCursor] = []
            while try statement.step() { cursors.append(EventCursor(statement)) }
            return cursors.filter { $0.name.starts(withOctets: prefix) }
        }
    }

    package func keep(_ cursor: EventCursor) throws(HistoryError) {
        try write { writing throws(DatabaseError) in
            let statement = try writing.database.statement("INSERT OR REPLACE INTO cursor VALUES(?, ?, ?)")
            statement.bind(1, cursor.name)
            statement.bind(2, Int64(bitPattern: cursor.seq))
            statement.bind(3, cursor.note)
            try statement.run()
        }
    }

    package func forgetCursor(_ name: String) throws(HistoryError) {
        try write { writing throws(DatabaseError) in
            let statement = try writing.database.statement("DELETE FROM cursor WHERE name = ?")
            statement.bind(1, name)
            try statement.run()
        }
    }
}

extension EventCursor {
    fileprivate init(_ row: Statement) {
        self.init(name: row.text(0), seq: UInt64(bitPattern: row.integer(1)), note: row.bytes(2))
    }
}
