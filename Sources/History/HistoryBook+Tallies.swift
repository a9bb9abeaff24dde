// HistoryBook+Tallies.swift — the numbers of each hour: added with the events that they count, in the same transaction, and
// summed up for those who ask.
//
//   tally(hour, number, body)   what a commit counted, or several together; hour: of the clock, since 1970
//
// Rows of one hour are put together when there are many, so an answer costs as much as there are names and hours, whatever was
// sent.

import Database
package import Mail

extension HistoryBook {
    /// Rows of an hour before they are put together.
    private static let mostRows = 32
    static let hour: Int64 = 3_600_000

    /// The counts of an hour, by its number.
    typealias HourSheet = (hour: Int64, sheet: TallySheet)

    /// Counts what is about to be committed; few hours, mostly one.
    static func tally(_ items: [HistoryItem]) -> [HourSheet] {
        var sheets: [HourSheet] = []
        func place(of time: Timestamp) -> Int {
            let hour = time.milliseconds / hour
            if let place = sheets.lastIndex(where: { $0.hour == hour }) { return place }
            sheets.append((hour, TallySheet()))
            return sheets.count - 1
        }
        for item in items {
            switch item {
            case .accepted(let context):
                guard context.tag != nil || context.user != nil else { continue }
                let place = place(of: context.acceptedAt)
                context.forEachTallied { sheets[place].sheet.with($0, $1) { $0.accepted += 1 } }
            case .adopted: continue
            case .note(_, let facts, _, let context):
                AttemptGlance.each(of: facts) { attempt in
                    sheets[place(of: attempt.time)].sheet.add(attempt, context)
                }
            case .event: continue
            }
        }
        return sheets
    }

    /// Adds them to what is there.
    static func add(_ sheets: [HourSheet], _ database: Database) throws(DatabaseError) {
        for (hour, sheet) in sheets {
            let newest = try database.statement("SELECT count(*), coalesce(max(number), 0) FROM tally WHERE hour = ?")
            newest.bind(1, hour)
            let (count, number) = try newest.step() ? (newest.integer(0), newest.integer(1)) : (0, 0)
            newest.reset()
            var sheet = sheet
            if count >= mostRows {
                var whole = TallySheet()
                try read(hour...hour, database) { whole.add(encoded: $0) }
                whole.add(sheet)
                sheet = whole
                let old = try database.statement("DELETE FROM tally WHERE hour = ?")
                old.bind(1, hour)
                try old.run()
            }
            let insert = try database.statement("INSERT INTO tally VALUES(?, ?, ?)")
            insert.bind(1, hour)
            insert.bind(2, number + 1)
            insert.bind(3, sheet.encoded)
            try insert.run()
        }
    }

    private static func read(
        _ hours: ClosedRange<Int64>,
        _ database: Database,
        _ take: ([UInt8]) -> Void
    ) throws(DatabaseError) {
        let rows = try database.statement("SELECT body FROM tally WHERE hour BETWEEN ? AND ? ORDER BY hour, number")
        rows.bind(1, hours.lowerBound)
        rows.bind(2, hours.upperBound)
        defer { rows.reset() }
        while try rows.step() { take(rows.bytes(0)) }
    }

    /// The numbers of whole hours.
    ///
    /// Blocks. A few milliseconds for a day of a thousand names.
    /// - Parameters:
    ///   - start: its hour is the first one.
    ///   - end: the hour before it is the last one, or its own when it does not begin with it.
    package func tallies(from start: Timestamp, to end: Timestamp) throws(HistoryError) -> TallySheet {
        try read { database throws(DatabaseError) in
            var sheet = TallySheet()
            let first = start.milliseconds / Self.hour
            let last = max(first, (end.milliseconds - 1) / Self.hour)
            try Self.read(first...last, database) { sheet.add(encoded: $0) }
            return sheet
        }
    }

    /// Forgets the hours that are older than the days that are kept.
    static func expireTallies(before day: Int64, _ database: Database) throws(DatabaseError) {
        let old = try database.statement("DELETE FROM tally WHERE hour < ?")
        old.bind(1, day * 24)
        try old.run()
    }
}

extension MessageContext {
    /// Under which names it is counted, apart from where it went.
    fileprivate func forEachTallied(_ take: (TallyKind, String) -> Void) {
        if let tag { take(.tag, tag) }
        if let user { take(.user, user) }
    }
}

extension TallySheet {
    fileprivate mutating func add(_ attempt: AttemptGlance, _ context: MessageContext?) {
        let age = context.map { attempt.time.milliseconds(since: $0.acceptedAt) } ?? 0
        func count(_ tally: inout Tally) {
            switch attempt.result {
            case .delivered: tally.deliver(attempt.recipients, after: age)
            case .deferred: tally.deferred += attempt.recipients
            case .suppressed: tally.suppressed += attempt.recipients
            case .bounced: tally.bounced[attempt.reason ?? .other, default: 0] += attempt.recipients
            }
        }
        with(.route, attempt.route, count)
        if let provider = attempt.provider { with(.provider, provider, count) }
        context?.forEachTallied { with($0, $1, count) }
    }
}
