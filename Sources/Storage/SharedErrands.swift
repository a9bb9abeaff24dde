// SharedErrands.swift — what one node asks another one: a question as a row, answered in the same row by whom it is for.
//
// Nothing of a session is relied on: whoever has a question waits for the row to change, and whoever may be asked looks for
// rows. Guarantees: a question is carried out by the node it names or by nobody; one that nobody answers in time is withdrawn.

import Database
import Glibc
package import Mail

/// Answers a question when it can: it may keep it for a while, and calls back once, on any thread.
package typealias ErrandDesk = @Sendable ([UInt8], @escaping @Sendable ([UInt8]) -> Void) -> Void

/// Carries questions from node to node.
package protocol Errands: AnyObject, Sendable {
    /// Answers what other nodes ask.
    ///
    /// - Parameter desk: called on a thread of the store, which it must not block.
    func serve(_ desk: @escaping ErrandDesk)

    /// Nodes that are alive, but for this one, by the number of their life and name.
    ///
    /// Blocks.
    func peers() throws(QueueError) -> [(number: Int64, name: String)]

    /// The name of the node that has a message, and the number of its life; nil: it is not in the queue, or on its way.
    ///
    /// Blocks.
    func owner(of id: QueueID) throws(QueueError) -> (number: Int64, name: String)?

    /// Asks nodes the same, or each something else.
    ///
    /// Blocks.
    /// - Parameter patience: milliseconds.
    /// - Returns: in the same order; nil of a node that did not answer in time.
    func ask(_ questions: [(node: Int64, question: [UInt8])], patience: Int64) throws(QueueError) -> [[UInt8]?]
}

/// The rows of questions.
enum SharedErrands {
    /// Questions taken at once.
    private static let batch = 16
    /// Milliseconds between two looks for an answer.
    private static let pause: UInt32 = 30

    /// What this node is asked.
    static func open(
        _ own: Int64,
        _ connection: ServerConnection
    ) throws(ServerError) -> [(number: Int64, question: [UInt8])] {
        let rows = try connection.rows(
            """
            SELECT number, question FROM martlet.errand WHERE node = $1 AND answer IS NULL
                AND asked > clock_timestamp() - interval '30 seconds' ORDER BY number LIMIT \(batch)
            """,
            [.number(own)]
        )
        return (0..<rows.count).map { (rows.integer($0, 0), rows.bytes($0, 1)) }
    }

    static func close(_ number: Int64, _ answer: [UInt8], _ pool: SharedPool) throws(QueueError) {
        _ = try pool.use { connection throws(ServerError) in
            try connection.rows(
                "UPDATE martlet.errand SET answer = $2 WHERE number = $1 RETURNING 1",
                [.number(number), .bytes(answer)]
            )
        }
    }

    static func ask(
        _ questions: [(node: Int64, question: [UInt8])],
        _ pool: SharedPool,
        until end: Uptime
    ) throws(QueueError) -> [[UInt8]?] {
        guard !questions.isEmpty else { return [] }
        var numbers: [Int64] = []
        for (node, question) in questions {
            numbers.append(
                try pool.use { connection throws(ServerError) in
                    try connection.rows(
                        "INSERT INTO martlet.errand (node, question) VALUES ($1, $2) RETURNING number",
                        [.number(node), .bytes(question)]
                    ).integer(0, 0)
                }
            )
        }
        var answers: [Int64: [UInt8]] = [:]
        while answers.count < numbers.count, Uptime.now() < end {
            usleep(Self.pause * 1_000)
            let open = numbers.filter { answers[$0] == nil }
            let rows = try pool.use { connection throws(ServerError) in
                try connection.rows(
                    "DELETE FROM martlet.errand WHERE number = ANY($1) AND answer IS NOT NULL RETURNING number, answer",
                    [.numbers(open)]
                )
            }
            for row in 0..<rows.count { answers[rows.integer(row, 0)] = rows.bytes(row, 1) }
        }
        let open = numbers.filter { answers[$0] == nil }
        if !open.isEmpty {
            _ = try pool.use { connection throws(ServerError) in
                try connection.rows("DELETE FROM martlet.errand WHERE number = ANY($1) RETURNING 1", [.numbers(open)])
            }
        }
        return numbers.map { answers[$0] }
    }
}

extension SharedStore: Errands {
    package func serve(_ desk: @escaping ErrandDesk) { turn.serve(desk) }

    package func peers() throws(QueueError) -> [(number: Int64, name: String)] {
        let own = incarnation ?? 0
        return try pool.use { connection throws(ServerError) in
            let rows = try connection.rows(
                """
                SELECT incarnation, name FROM martlet.node
                WHERE NOT is_dead AND lease_until > clock_timestamp() AND incarnation <> $1 ORDER BY incarnation
                """,
                [.number(own)]
            )
            return (0..<rows.count).map { (rows.integer($0, 0), rows.text($0, 1)) }
        }
    }

    package func owner(of id: QueueID) throws(QueueError) -> (number: Int64, name: String)? {
        try pool.use { connection throws(ServerError) in
            let rows = try connection.rows(
                """
                SELECT n.incarnation, n.name FROM martlet.message q JOIN martlet.node n ON n.incarnation = q.owner
                WHERE q.id = $1 AND NOT n.is_dead AND n.lease_until > clock_timestamp()
                """,
                [.number(Int64(bitPattern: id.rawValue))]
            )
            return rows.count > 0 ? (rows.integer(0, 0), rows.text(0, 1)) : nil
        }
    }

    package func ask(
        _ questions: [(node: Int64, question: [UInt8])],
        patience: Int64
    ) throws(QueueError) -> [[UInt8]?] {
        try SharedErrands.ask(questions, pool, until: Uptime.now().adding(milliseconds: patience))
    }
}
