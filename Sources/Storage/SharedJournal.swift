// SharedJournal.swift — the journal of one node in a shared queue: rows that stand in the transaction of what they tell.
//
// Each node writes rows of its own, numbered by its one writer, so that they are committed in their order and nobody passes
// one by that comes late. What was read is deleted; a node that comes back goes on where it was.

import Database
import Files
import Mail
import Synchronization

/// The rows of one node, read in order.
final class SharedJournal: Sendable {
    private static let rows = 2_000

    private let options: SharedOptions
    private let pool: SharedPool
    /// Of the last row that is known to be there.
    private let last = Atomic<Int64>(0)
    /// Of the last row that may be there.
    private let taken = Atomic<Int64>(0)
    /// Tells the database from every other one.
    private let identity = Atomic<Int64>(0)
    private let isStopping = Atomic<Bool>(false)
    private let follows: Atomic<Bool>
    private let bell = Doorbell()

    init(_ options: SharedOptions, _ pool: SharedPool) {
        self.options = options
        self.pool = pool
        follows = Atomic(options.isFollowed)
    }

    /// Learns where the numbers are.
    func begin(_ connection: ServerConnection) throws(ServerError) {
        identity.store(
            try connection.rows("SELECT identity FROM martlet.schema").integer(0, 0),
            ordering: .relaxed
        )
        let rows = try connection.rows(
            """
            SELECT greatest(
                coalesce((SELECT max(number) FROM martlet.journal WHERE node = $1), 0),
                coalesce((SELECT passed FROM martlet.reader WHERE node = $1), 0))
            """,
            [.text(options.node)]
        )
        last.store(rows.integer(0, 0), ordering: .releasing)
        taken.store(rows.integer(0, 0), ordering: .relaxed)
    }

    // MARK: the writer

    /// Somebody reads what is written.
    var isFollowed: Bool { follows.load(ordering: .relaxed) }

    /// Numbers for so many rows: no attempt to write them has those of another one, which may have come through.
    ///
    /// - Returns: the last of them.
    func take(_ count: Int) -> Int64 { taken.wrappingAdd(Int64(count), ordering: .relaxed).newValue }

    /// The rows up to this number are durable.
    func wrote(upTo number: Int64) {
        guard number > last.load(ordering: .relaxed) else { return }
        last.store(number, ordering: .releasing)
        bell.ring()
    }

    // MARK: the follower

    func follow(
        from position: JournalPosition?,
        atMost bytes: Int,
        _ visit: (JournalEntry) -> Void
    ) throws(QueueError) -> JournalReading {
        let start = number(position)
        let rows = try pool.use { connection throws(ServerError) in
            try connection.rows(
                """
                SELECT j.number, j.id, j.kind, j.facts, m.head,
                    substring(m.content FROM 1 FOR \(Spool.headerBytes)), substring(p.content FROM 1 FOR \(Spool.headerBytes))
                FROM martlet.journal j
                    LEFT JOIN martlet.mail m ON j.kind = 1 AND m.id = j.id AND m.piece = 0
                    LEFT JOIN martlet.mail p ON j.kind = 1 AND p.id = j.id AND p.piece = 1
                WHERE j.node = $1 AND j.number > $2 ORDER BY j.number LIMIT \(Self.rows)
                """,
                [.text(options.node), .number(start)]
            )
        }
        var end = start
        for row in 0..<rows.count {
            end = rows.integer(row, 0)
            if let entry = Self.entry(rows, row) { visit(entry) }
        }
        return JournalReading(position: place(end), isAtEnd: rows.count < Self.rows)
    }

    private static func entry(_ rows: ServerRows, _ row: Int) -> JournalEntry? {
        let id = QueueID(rawValue: UInt64(bitPattern: rows.integer(row, 1)))
        let kind = SharedBatch.Kind(rawValue: Int16(truncatingIfNeeded: rows.integer(row, 2)))
        switch kind {
        case nil: return nil
        case .message:
            return message(rows, row, id, from: 4).map { .message($0) }
        case .note, .settled: return .note(id, Facts(rows.bytes(row, 3)), isEnd: kind == .settled)
        case .noteAgain, .settledAgain:
            return .note(id, Facts(rows.bytes(row, 3), mayBeThere: true), isEnd: kind == .settledAgain)
        }
    }

    /// - Parameter column: of the head; the beginnings of the first two pieces follow.
    private static func message(
        _ rows: ServerRows,
        _ row: Int,
        _ id: QueueID,
        from column: Int32
    ) -> JournalMessage? {
        guard !rows.isNull(row, column), let head = SharedMail.head(decoding: rows.bytes(row, column)) else {
            return nil
        }
        return JournalMessage(
            id: id,
            acceptedAt: head.head.acceptedAt,
            envelope: head.envelope,
            size: head.size,
            isCopy: false,
            beginning: rows.bytes(row, column + 1) + (rows.isNull(row, column + 2) ? [] : rows.bytes(row, column + 2))
        )
    }

    /// A message of another node: its rows are there as long as some journal speaks of it.
    func message(_ id: QueueID) throws(QueueError) -> JournalMessage? {
        let rows = try pool.use { connection throws(ServerError) in
            try connection.rows(
                """
                SELECT m.head, substring(m.content FROM 1 FOR \(Spool.headerBytes)),
                    substring(p.content FROM 1 FOR \(Spool.headerBytes))
                FROM martlet.mail m LEFT JOIN martlet.mail p ON p.id = m.id AND p.piece = 1
                WHERE m.id = $1 AND m.piece = 0
                """,
                [.number(Int64(bitPattern: id.rawValue))]
            )
        }
        return rows.count > 0 ? Self.message(rows, 0, id, from: 0) : nil
    }

    func passed(_ position: JournalPosition) {
        // Nobody will read: what is there goes, and no more is written.
        if position.segment == .max { follows.store(false, ordering: .relaxed) }
        let passed = min(number(position), last.load(ordering: .acquiring))
        guard passed > 0 else { return }
        // What is not deleted now is deleted the next time.
        do throws(ServerError) {
            try pool.once { connection throws(ServerError) in
                _ = try connection.rows(
                    """
                    WITH gone AS (DELETE FROM martlet.journal WHERE node = $1 AND number <= $2)
                    INSERT INTO martlet.reader VALUES ($1, $2)
                        ON CONFLICT (node) DO UPDATE SET passed = greatest(reader.passed, excluded.passed)
                        RETURNING 1
                    """,
                    [.text(options.node), .number(passed)]
                )
            }
        } catch {}
    }

    func awaitNews(behind position: JournalPosition?, atMost milliseconds: Int) {
        guard last.load(ordering: .acquiring) <= number(position), !isStopping.load(ordering: .relaxed) else { return }
        bell.wait(atMost: milliseconds * 1_000_000)
    }

    func stop() {
        isStopping.store(true, ordering: .relaxed)
        bell.ring()
    }

    /// A place in another database, or in a spool, is none here.
    private func number(_ position: JournalPosition?) -> Int64 {
        guard let position else { return 0 }
        if position.segment == .max { return .max }
        guard Int64(position.seed) == identity.load(ordering: .relaxed) else { return 0 }
        return Int64(position.segment) << 32 | Int64(position.offset)
    }

    private func place(_ number: Int64) -> JournalPosition {
        JournalPosition(
            segment: UInt32(truncatingIfNeeded: number >> 32),
            offset: UInt32(truncatingIfNeeded: number),
            seed: UInt32(truncatingIfNeeded: identity.load(ordering: .relaxed))
        )
    }
}
