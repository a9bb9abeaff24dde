// SharedPatience.swift — transactions that wait for nobody's lock for long, and the trial that says whether mail can be committed.
//
// A COMMIT that waits for a standby keeps its row locks until it ends, whether or not its client is still there. Whoever asks for the
// same rows would wait behind it, give up, and leave one more process of the server waiting, each time.

import Database
import Mail

extension ServerConnection {
    /// Milliseconds that a lock is waited for.
    static let lockPatience = 1_000

    /// Runs statements as one transaction that gives up where somebody keeps a lock.
    func patiently<Value>(
        _ body: (ServerConnection) throws(ServerError) -> Value
    ) throws(ServerError) -> Value {
        do throws(ServerError) {
            try run("BEGIN; SET LOCAL lock_timeout = \(Self.lockPatience)")
            let value = try body(self)
            try run("COMMIT")
            return value
        } catch {
            if !error.isLost { try? run("ROLLBACK") }
            throw error
        }
    }

    /// Does all that a batch does, and takes it back but for a row that was there: what it needs is there when this succeeds.
    ///
    /// - Parameters:
    ///   - id: of a message that nobody has.
    ///   - batch: of the last batch, as it was written.
    func tryMail(_ id: QueueID, node: String, batch: (incarnation: Int64, number: Int64)) throws(ServerError) {
        let number = Int64(bitPattern: id.rawValue)
        let name = "convert_from('\\x\(Array(node.utf8).hexadecimal)'::bytea,'UTF8')"
        do throws(ServerError) {
            // Some pages of a body, so that a disk without any says so.
            try run(
                """
                BEGIN; SET LOCAL lock_timeout = \(Self.lockPatience); SAVEPOINT trial;
                INSERT INTO martlet.mail (id, piece, head, content)
                    VALUES (\(number), 0, '', decode(repeat('5aa5', 16384), 'hex'));
                INSERT INTO martlet.message (id, owner, size) VALUES (\(number), -1, 0);
                INSERT INTO martlet.journal (node, number, id, kind, facts) VALUES (\(name), -1, \(number), 0, '');
                UPDATE martlet.message SET state = '' WHERE id = \(number);
                DELETE FROM martlet.message WHERE id = \(number);
                ROLLBACK TO trial;
                INSERT INTO martlet.batch VALUES (\(batch.incarnation), \(batch.number))
                    ON CONFLICT (incarnation) DO UPDATE SET number = excluded.number;
                COMMIT
                """
            )
        } catch {
            if !error.isLost { try? run("ROLLBACK") }
            throw error
        }
    }
}
