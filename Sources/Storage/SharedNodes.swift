// SharedNodes.swift — the nodes of a shared queue as every one of them sees them.

import Database
package import Mail

/// One node of a shared queue.
package struct NodeStatus: Hashable, Sendable {
    package let name: String
    /// The number of its life.
    package let incarnation: Int64
    /// Its lease has not run out.
    package let isAlive: Bool
    /// It takes no mail and gives away what it has.
    package let isDraining: Bool
    /// It is the one that was asked.
    package let isThis: Bool
    package let startedAt: Timestamp
    /// Its last heartbeat.
    package let seenAt: Timestamp
    /// Of its program.
    package let version: String
    /// Messages that belong to it.
    package let messages: Int
    /// What it said of its configuration; empty: nothing.
    package let config: String
}

/// What every node can say and do about all of them.
package protocol Cluster: Errands, KeyRows {
    /// This node's name.
    var name: String { get }

    /// The number of this node's life; 0: it is none of the queue's now.
    var number: Int64 { get }

    /// Those that are there, and those that went within a week, newest first.
    ///
    /// Blocks.
    func nodes() throws(QueueError) -> [NodeStatus]

    /// Has a node emptied, or take part again.
    ///
    /// It learns of it with its next heartbeat. Blocks.
    /// - Returns: false when there is no such node.
    func drain(_ name: String, _ isDraining: Bool) throws(QueueError) -> Bool

    /// What the others are to know of this node's configuration, from its next heartbeat on.
    func tell(config: String)

    /// Has every node know what holds from now on, those that are away before they begin anything.
    ///
    /// Blocks.
    /// - Parameter said: nil: nothing any more.
    func say(_ scope: String, _ said: [UInt8]?) throws(QueueError)
}

extension SharedStore: Cluster {
    package var name: String { options.node }

    package var number: Int64 { incarnation ?? 0 }

    package func tell(config: String) { node.setConfig(config) }

    package func nodes() throws(QueueError) -> [NodeStatus] {
        let own = incarnation
        return try pool.use { connection throws(ServerError) in
            let rows = try connection.rows(
                """
                SELECT n.name, n.incarnation, NOT n.is_dead AND n.lease_until > clock_timestamp(), n.is_draining,
                    (extract(epoch FROM n.started) * 1000)::bigint, (extract(epoch FROM n.seen) * 1000)::bigint, n.version,
                    (SELECT count(*) FROM martlet.message q WHERE q.owner = n.incarnation), n.config
                FROM martlet.node n ORDER BY n.incarnation DESC LIMIT 1000
                """
            )
            return (0..<rows.count).map { row in
                NodeStatus(
                    name: rows.text(row, 0),
                    incarnation: rows.integer(row, 1),
                    isAlive: rows.truth(row, 2),
                    isDraining: rows.truth(row, 3),
                    isThis: rows.integer(row, 1) == own,
                    startedAt: Timestamp(milliseconds: rows.integer(row, 4)),
                    seenAt: Timestamp(milliseconds: rows.integer(row, 5)),
                    version: rows.text(row, 6),
                    messages: Int(rows.integer(row, 7)),
                    config: rows.text(row, 8)
                )
            }
        }
    }

    package func drain(_ name: String, _ isDraining: Bool) throws(QueueError) -> Bool {
        try pool.use { connection throws(ServerError) in
            try connection.rows(
                """
                UPDATE martlet.node SET is_draining = $2 <> 0
                WHERE name = $1 AND NOT is_dead AND lease_until > clock_timestamp() RETURNING 1
                """,
                [.text(name), .number(isDraining ? 1 : 0)]
            ).count > 0
        }
    }
}
