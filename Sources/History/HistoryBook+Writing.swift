// HistoryBook+Writing.swift — a commit: blocks, their index, and the place in the log, together or not at all.

import Database
package import Mail
import Synchronization

extension HistoryBook {
    /// Adds what the log tells.
    ///
    /// Blocks.
    /// - Parameters:
    ///   - items: in the order of the log.
    ///   - position: where to go on in the log when all of them are there; nil: as before.
    ///   - durably: on the disk when it returns; else a power cut may take it back, position and all.
    ///   - now: decides whose day it is.
    package func commit(
        _ items: [HistoryItem],
        at position: [UInt8]?,
        durably: Bool,
        now: Timestamp
    ) throws(HistoryError) {
        let newest = try write { writing throws(DatabaseError) in
            if durably { try writing.database.sync(.atOnce) }
            defer { if durably { try? writing.database.sync(.later) } }
            try Self.write(items, position, &writing, options, now)
            return writing.next - 1
        }
        added(newest)
    }

    package func add(_ type: EventType, _ data: EventData, at time: Timestamp) throws(HistoryError) {
        var fact = CommandFact(type, at: time)
        (fact.actor, fact.subject, fact.text, fact.until, fact.count) =
            (data.actor, data.subject, data.text, data.until, data.count)
        try commit([.event(fact)], at: nil, durably: true, now: time)
    }

    /// Does something with the connection that writes; after an error its memory of the database is read anew.
    func write<Value: Sendable>(
        _ body: (inout Writing) throws(DatabaseError) -> Value
    ) throws(HistoryError) -> Value {
        let result: Result<Value, DatabaseError> = writing.withLock { writing in
            let before = writing
            do throws(DatabaseError) {
                return .success(try body(&writing))
            } catch {
                writing.next = before.next
                writing.position = before.position
                writing.part = before.part
                return .failure(error)
            }
        }
        do throws(DatabaseError) { return try result.get() } catch { throw HistoryError(error) }
    }

    /// Everybody who waits may look.
    func added(_ newest: UInt64) {
        numbers.withLock { $0.newest = max($0.newest, newest) }
        news.tell()
    }

    private static func write(
        _ items: [HistoryItem],
        _ position: [UInt8]?,
        _ writing: inout Writing,
        _ options: HistoryOptions,
        _ now: Timestamp
    ) throws(DatabaseError) {
        let blocks = blocks(of: items, from: writing.next)
        let sheets = tally(items)
        let database = writing.database
        var part = writing.part
        let next = blocks.last.map { $0.first + $0.eventCount } ?? writing.next
        try database.transaction { () throws(DatabaseError) in
            if !blocks.isEmpty {
                var current = try self.part(for: now, part, first: writing.next, options, database)
                let size = try insert(blocks, into: current.number, database)
                current.bytes += size
                try count(current, database)
                part = current
                try set(database, "next", Array("\(next)".utf8))
                try add(sheets, database)
            }
            if let position, position != writing.position { try set(database, "position", position) }
        } failing: {
            $0
        }
        writing.next = next
        if let position { writing.position = position }
        writing.part = part
    }

    /// - Parameter first: number of the first event.
    private static func blocks(of items: [HistoryItem], from first: UInt64) -> [StoryBlock] {
        var blocks: [StoryBlock] = []
        var block = StoryBlock(first: first)
        // They stand before their first note: alone they are no event, and a block has one at least.
        var adopted: [QueueID: MessageContext] = [:]
        for item in items {
            switch item {
            case .accepted(let context): block.add(.message(context))
            case .adopted(let context): adopted[context.id] = context
            case .note(let id, let facts, let isEnd, let context):
                // A block is known by its first event, so what becomes none has no place.
                guard StoryEntry.note(id, facts, isEnd: isEnd).eventCount > 0 else { continue }
                if let context = adopted.removeValue(forKey: id) {
                    block.add(.adopted(context))
                } else if let context, !block.known.contains(id) {
                    let isOne = context.recipients.count == 1
                    block.add(.context(isOne ? context : context.only(facts.places)))
                }
                block.add(.note(id, facts, isEnd: isEnd))
            case .event(let fact): block.add(.event(fact))
            }
            if block.isFull {
                blocks.append(block)
                block = StoryBlock(first: block.first + block.eventCount)
            }
        }
        if !block.isEmpty { blocks.append(block) }
        return blocks
    }

    private static func insert(
        _ blocks: [StoryBlock],
        into part: Int,
        _ database: Database
    ) throws(DatabaseError) -> Int {
        var size = 0
        var entries: [IndexEntry] = []
        for block in blocks {
            let statement = try database.statement("INSERT INTO block_\(part)(first, count, body) VALUES(?, ?, ?)")
            statement.bind(1, Int64(bitPattern: block.first))
            statement.bind(2, Int64(clamping: block.eventCount))
            statement.bind(3, block.bytes)
            try statement.run()
            size += block.bytes.count
            for key in block.keys { entries.append(IndexEntry(key: key, block: block.first)) }
        }
        entries.sort()
        entries = entries.withoutRepetitions
        try IndexStore(database, part).add(entries)
        return size + entries.count * IndexRun.entrySize
    }

    // MARK: - Partitions

    private static func part(
        for now: Timestamp,
        _ known: Part?,
        first: UInt64,
        _ options: HistoryOptions,
        _ database: Database
    ) throws(DatabaseError) -> Part {
        let day = now.milliseconds / 86_400_000
        // A clock that goes back makes no new part.
        if let known, known.day >= day, known.bytes < options.bytes / shares { return known }
        let part = Part(number: (known?.number ?? 0) + 1, day: max(day, known?.day ?? day), first: first, bytes: 0)
        let insert = try database.statement("INSERT INTO part VALUES(?, ?, ?, 0)")
        insert.bind(1, Int64(part.number))
        insert.bind(2, part.day)
        insert.bind(3, Int64(bitPattern: first))
        try insert.run()
        try database.run(
            """
            CREATE TABLE block_\(part.number)(first INTEGER PRIMARY KEY, count INTEGER, body BLOB);
            CREATE TABLE run_\(part.number)(run INTEGER PRIMARY KEY, count INTEGER, lows BLOB);
            CREATE TABLE piece_\(part.number)(place INTEGER PRIMARY KEY, body BLOB);
            """
        )
        return part
    }

    private static func count(_ part: Part, _ database: Database) throws(DatabaseError) {
        let statement = try database.statement("UPDATE part SET bytes = ? WHERE number = ?")
        statement.bind(1, Int64(part.bytes))
        statement.bind(2, Int64(part.number))
        try statement.run()
    }

    /// Drops the parts that are too old or too much.
    ///
    /// Blocks.
    /// - Returns: how many.
    @discardableResult
    package func expire(now: Timestamp) throws(HistoryError) -> Int {
        let oldestDay = now.milliseconds / 86_400_000 - Int64(options.days)
        let (dropped, first) = try write { writing throws(DatabaseError) in
            let database = writing.database
            var parts = try Self.parts(database)
            var used = try database.usedBytes()
            var dropped = 0
            while parts.count > 1, let part = parts.first, part.day < oldestDay || used > options.bytes {
                database.forgetStatements()
                try database.transaction { () throws(DatabaseError) in
                    for table in ["block", "run", "piece"] { try database.run("DROP TABLE \(table)_\(part.number)") }
                    let statement = try database.prepare("DELETE FROM part WHERE number = ?")
                    statement.bind(1, Int64(part.number))
                    try statement.run()
                } failing: {
                    $0
                }
                parts.removeFirst()
                used = try database.usedBytes()
                dropped += 1
            }
            try Self.expireTallies(before: oldestDay, database)
            return (dropped, parts.first?.first ?? writing.next)
        }
        if dropped > 0 { numbers.withLock { $0.oldest = max($0.oldest, first) } }
        return dropped
    }
}

extension Facts {
    /// The recipients that they are about.
    var places: Set<UInt32> {
        var places: Set<UInt32> = []
        for case .attempt(let attempt) in decoded {
            for part in attempt.parts { places.formUnion(part.recipients) }
        }
        return places
    }
}
