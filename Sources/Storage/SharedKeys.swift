// SharedKeys.swift — keys of requests that are done once by all nodes of a queue: a row for each, made before the request is carried
// out.
//
// Guarantees: of several requests with one key one is carried out, whichever nodes they come to. A message gets its id before it is
// accepted and the row has it, so that whether it was accepted is read from the rows of mail: those are written in the
// transaction that accepts it. So a node that dies between the two leaves no doubt behind.

import Database
package import Mail

/// What is known of a key.
package enum KeyClaim: Hashable, Sendable {
    /// Nobody had it: the request is to be carried out.
    case mine
    /// It was used for another request.
    case other
    /// The first request runs, on the node of that name.
    case running(String)
    /// What was answered.
    case answered([UInt8])
    /// The message was accepted by a node that died before it could answer.
    case accepted(QueueID)
}

/// Keys of all nodes.
package protocol KeyRows: Sendable {
    /// Takes a key, or tells what became of it.
    ///
    /// Blocks.
    /// - Parameters:
    ///   - name: a digest of the key and of whose it is.
    ///   - request: a digest of the request.
    ///   - message: the id that the message will have.
    func claim(_ name: String, _ request: String, message: QueueID?) throws(QueueError) -> KeyClaim

    /// Notes what was answered.
    ///
    /// Blocks.
    /// - Parameter answer: nil: the request was refused, and may be tried again.
    func settle(_ name: String, _ answer: [UInt8]?) throws(QueueError)
}

extension SharedStore: KeyRows {
    /// Of a row: it is older than keys are kept, nobody carries it out any more, and its message was accepted.
    private static let states = """
        SELECT o.request, o.answer, o.message, o.at < clock_timestamp() - interval '1 day',
            coalesce(n.name, ''), o.at < clock_timestamp() - interval '10 minutes' OR n.incarnation IS NULL,
            o.message IS NOT NULL AND (o.node = 0 OR EXISTS (SELECT FROM martlet.mail m WHERE m.id = o.message))
        FROM martlet.once o LEFT JOIN martlet.node n ON n.incarnation = o.node AND NOT n.is_dead
        WHERE o.name = $1 FOR UPDATE OF o
        """
    /// Of rows that nobody carries out any more: what was accepted is noted before its rows of mail are dropped, the rest may be
    /// tried again.
    static let tidyKeys = """
        DELETE FROM martlet.once WHERE at < clock_timestamp() - interval '1 day';
        DELETE FROM martlet.once WHERE answer IS NOT NULL
            AND at < (SELECT at FROM martlet.once ORDER BY at DESC OFFSET 100000 LIMIT 1);
        UPDATE martlet.once o SET node = 0 WHERE answer IS NULL AND node <> 0 AND \(isLeft)
            AND EXISTS (SELECT FROM martlet.mail m WHERE m.id = o.message);
        DELETE FROM martlet.once o WHERE answer IS NULL AND node <> 0 AND \(isLeft)
        """
    private static let isLeft = """
        (o.at < clock_timestamp() - interval '10 minutes'
            OR NOT EXISTS (SELECT FROM martlet.node n WHERE n.incarnation = o.node AND NOT n.is_dead))
        """

    package func claim(_ name: String, _ request: String, message: QueueID?) throws(QueueError) -> KeyClaim {
        let own = incarnation ?? 0
        let id = message.map { ServerValue.number(Int64(bitPattern: $0.rawValue)) } ?? .null
        return try pool.use { connection throws(ServerError) in
            try connection.run("BEGIN ISOLATION LEVEL READ COMMITTED")
            do throws(ServerError) {
                let made = try connection.rows(
                    """
                    INSERT INTO martlet.once (name, request, node, message) VALUES ($1, $2, $3, $4)
                        ON CONFLICT (name) DO NOTHING RETURNING 1
                    """,
                    [.text(name), .text(request), .number(own), id]
                )
                let claim = made.count > 0 ? .mine : try Self.state(name, request, connection)
                if made.count == 0, claim == .mine {
                    _ = try connection.rows(
                        """
                        UPDATE martlet.once SET request = $2, node = $3, message = $4, answer = NULL,
                            at = clock_timestamp() WHERE name = $1 RETURNING 1
                        """,
                        [.text(name), .text(request), .number(own), id]
                    )
                }
                try connection.run("COMMIT")
                return claim
            } catch {
                if !error.isLost { try? connection.run("ROLLBACK") }
                throw error
            }
        }
    }

    /// What is known of a key that is there; ``KeyClaim/mine``: it may be taken.
    private static func state(
        _ name: String,
        _ request: String,
        _ connection: ServerConnection
    ) throws(ServerError) -> KeyClaim {
        let rows = try connection.rows(states, [.text(name)])
        // It was given back a moment ago.
        guard rows.count > 0 else { return .running("") }
        if rows.truth(0, 3) { return .mine }
        guard rows.text(0, 0).isSame(octets: request) else { return .other }
        if !rows.isNull(0, 1) { return .answered(rows.bytes(0, 1)) }
        guard rows.truth(0, 5) else { return .running(rows.text(0, 4)) }
        guard rows.truth(0, 6) else { return .mine }
        return .accepted(QueueID(rawValue: UInt64(bitPattern: rows.integer(0, 2))))
    }

    package func settle(_ name: String, _ answer: [UInt8]?) throws(QueueError) {
        _ = try pool.use { connection throws(ServerError) in
            guard let answer else {
                return try connection.rows(
                    "DELETE FROM martlet.once WHERE name = $1 AND answer IS NULL RETURNING 1",
                    [.text(name)]
                )
            }
            return try connection.rows(
                "UPDATE martlet.once SET answer = $2 WHERE name = $1 RETURNING 1",
                [.text(name), .bytes(answer)]
            )
        }
    }
}
