// SharedDays.swift — messages of a day over all nodes: each takes a few at a time out of what is left, by hours of the server's
// clock.
//
// Guarantees: what may be sent is counted before it is sent, and in the hour in which it is sent: what is left of it at the end of
// that hour, or when nobody needs it, is given back. So no 24 hours have more than they may; what a node had taken and not sent
// when it died counts as sent.

import Database
package import Mail

/// What a node wants of a day, or gives back.
package struct DayWish: Hashable, Sendable {
    /// The limit.
    package let scope: String
    /// Messages of any 24 hours, of all nodes together.
    package let limit: Int
    /// Messages that could be sent now.
    package let wanted: Int
    /// Messages of an earlier allowance that will not be sent.
    package let unused: Int
    /// The hour of that allowance.
    package let slice: Int64
    /// Somebody had what was used forgotten.
    package var isReset = false

    package init(scope: String, limit: Int, wanted: Int, unused: Int, slice: Int64) {
        (self.scope, self.limit, self.wanted, self.unused, self.slice) = (scope, limit, wanted, unused, slice)
    }
}

/// What a node may send of a day.
package struct DayAllowance: Hashable, Sendable {
    package var count = 0
    /// The hour that they are counted in.
    package var slice: Int64 = 0
    /// From then on they may not be sent any more.
    package var ends = Uptime(milliseconds: 0)
    /// When there is more, where nothing is left; nil: it may be asked for at any time.
    package var opens: Uptime?

    package init() {}
}

/// The rows of days.
enum SharedDays {
    private static let hour: Int64 = 3_600_000
    /// Of hours that count for nobody any more.
    static let oldest = "(extract(epoch FROM clock_timestamp()) / 3600)::bigint - 26"

    static func settle(
        _ wishes: [DayWish],
        _ node: SharedNode,
        _ connection: ServerConnection
    ) throws(ServerError) {
        guard !wishes.isEmpty, let own = node.incarnation else { return }
        var allowances: [(scope: String, allowance: DayAllowance)] = []
        do throws(ServerError) {
            let asked = Uptime.now()
            let time = Timestamp(milliseconds: try SharedGrants.begin(own, connection))
            for wish in wishes {
                if wish.isReset {
                    _ = try connection.rows("DELETE FROM martlet.day WHERE scope = $1 RETURNING 1", [.text(wish.scope)])
                } else if wish.unused > 0 {
                    try giveBack(wish, connection)
                }
                guard wish.wanted > 0 else { continue }
                let counts = try counts(wish.scope, at: time, connection)
                let count = DayShares.batch(wanted: wish.wanted, limit: wish.limit, used: counts.total(at: time))
                var allowance = DayAllowance()
                (allowance.count, allowance.slice) = (count, time.milliseconds / hour)
                allowance.ends = asked.adding(milliseconds: hour - time.milliseconds % hour)
                if count > 0 {
                    try take(count, wish.scope, allowance.slice, connection)
                } else {
                    let opens = counts.opens(wish.limit, at: time)
                    allowance.opens = opens.map { asked.adding(milliseconds: $0.milliseconds(since: time)) }
                }
                allowances.append((wish.scope, allowance))
            }
            try connection.run("COMMIT")
        } catch {
            if !error.isLost { try? connection.run("ROLLBACK") }
            throw error
        }
        for (scope, allowance) in allowances { node.grants.allow(scope, allowance) }
    }

    private static func counts(
        _ scope: String,
        at time: Timestamp,
        _ connection: ServerConnection
    ) throws(ServerError) -> WindowCount {
        let rows = try connection.rows(
            "SELECT slice, count FROM martlet.day WHERE scope = $1 AND slice > $2 - 25 ORDER BY slice",
            [.text(scope), .number(time.milliseconds / hour)]
        )
        var counts = WindowCount()
        for row in 0..<rows.count {
            let slice = Timestamp(milliseconds: rows.integer(row, 0) * hour)
            counts.add(Int(rows.integer(row, 1)), at: slice)
        }
        return counts
    }

    private static func take(
        _ count: Int,
        _ scope: String,
        _ slice: Int64,
        _ connection: ServerConnection
    ) throws(ServerError) {
        _ = try connection.rows(
            """
            INSERT INTO martlet.day VALUES ($1, $2, $3)
                ON CONFLICT (scope, slice) DO UPDATE SET count = day.count + excluded.count RETURNING 1
            """,
            [.text(scope), .number(slice), .number(Int64(count))]
        )
    }

    private static func giveBack(_ wish: DayWish, _ connection: ServerConnection) throws(ServerError) {
        _ = try connection.rows(
            "UPDATE martlet.day SET count = greatest(0, count - $3) WHERE scope = $1 AND slice = $2 RETURNING 1",
            [.text(wish.scope), .number(wish.slice), .number(Int64(wish.unused))]
        )
    }
}
