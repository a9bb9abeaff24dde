// SharedWords.swift — what operators said to the whole queue: pauses, and the switch of delivery, as rows that a node reads before it
// begins anything.
//
// Guarantees: what was said while a node was away, or stood still, binds it before its first delivery: a lease begins behind the
// reading of it. Rows are read in the order in which they were written, and where a node was is on its own disk.

import Database
import Files
import Mail
import Synchronization

/// One thing that was said.
package struct SharedWord: Hashable, Sendable {
    /// What ``scope`` is called of the switch of delivery.
    package static let delivery = "delivery"

    /// What it is about.
    package let scope: String
    /// What holds from now on; nil: nothing any more.
    package let said: [UInt8]?
    /// This node hears for the first time what is said: there may be words among it that are older than its files.
    package let isFirst: Bool

    package init(scope: String, said: [UInt8]?, isFirst: Bool = false) {
        (self.scope, self.said, self.isFirst) = (scope, said, isFirst)
    }
}

/// What this node has heard.
final class SharedWords: Sendable {
    /// Taken while a word is written, so that their numbers are committed in order.
    private static let lock = "SELECT pg_advisory_xact_lock(7250116)"
    private static let file = "heard"
    /// Words that are over are remembered for nodes that come back within so many days.
    static let kept = 90

    private let path: String
    private let disk: any Disk
    /// The number of the last word that was heard; nil: not known yet.
    private let heard = Mutex<Int64?>(nil)

    /// - Parameter directory: of this node's own files.
    init(in directory: String, _ disk: any Disk) {
        path = "\(directory)/\(Self.file)"
        self.disk = disk
    }

    private func number() -> Int64 {
        heard.withLock { heard in
            if let heard { return heard }
            var number: Int64 = 0
            // What cannot be read is heard again.
            if let bytes = try? disk.contents(of: path, limit: 64) {
                number = Int64(String(decoding: bytes, as: UTF8.self)) ?? 0
            }
            heard = number
            return number
        }
    }

    /// Tells the queue what was said since it last heard.
    ///
    /// - Parameter newest: the number of the last word that there is, where it is known.
    func hear(
        _ connection: ServerConnection,
        upTo newest: Int64? = nil,
        _ tell: ([SharedWord]) -> Bool
    ) throws(ServerError) {
        let number = number()
        if let newest, newest <= number { return }
        let rows = try connection.rows(
            "SELECT scope, number, said FROM martlet.word WHERE number > $1 ORDER BY number",
            [.number(number)]
        )
        guard rows.count > 0 else { return }
        let words = (0..<rows.count).map { row in
            SharedWord(
                scope: rows.text(row, 0),
                said: rows.isNull(row, 2) ? nil : rows.bytes(row, 2),
                isFirst: number == 0
            )
        }
        // What could not be kept is heard again.
        guard tell(words) else { return }
        let last = rows.integer(rows.count - 1, 1)
        guard (try? disk.replace(path, with: Array("\(last)".utf8), permissions: 0o600)) != nil else { return }
        heard.withLock { $0 = last }
    }

    static func say(
        _ scope: String,
        _ said: [UInt8]?,
        _ connection: ServerConnection
    ) throws(ServerError) {
        do throws(ServerError) {
            try connection.run("BEGIN ISOLATION LEVEL READ COMMITTED; \(lock)")
            _ = try connection.rows(
                """
                INSERT INTO martlet.word (scope, number, said) VALUES ($1, nextval('martlet.word_number'), $2)
                    ON CONFLICT (scope) DO UPDATE SET number = excluded.number, said = excluded.said,
                        at = clock_timestamp() RETURNING 1
                """,
                [.text(scope), said.map { .bytes($0) } ?? .null]
            )
            try connection.run("COMMIT")
        } catch {
            if !error.isLost { try? connection.run("ROLLBACK") }
            throw error
        }
    }
}

extension SharedStore {
    package func say(_ scope: String, _ said: [UInt8]?) throws(QueueError) {
        try pool.use { connection throws(ServerError) in try SharedWords.say(scope, said, connection) }
    }
}
