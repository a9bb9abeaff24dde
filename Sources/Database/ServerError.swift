// ServerError.swift — why a database server did not do what it was asked, and whether it is worth asking again.

/// A call of libpq that failed, or an answer of the server that is an error.
package struct ServerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The five characters of SQLSTATE; empty where the server said nothing.
    package let state: String
    /// The connection is gone: what was asked may have been done all the same.
    package let isLost: Bool
    /// In words, one line, without a secret.
    package let text: String

    package init(state: String, isLost: Bool = false, text: String) {
        self.state = state
        self.isLost = isLost
        let words = text.utf8.split { $0 < 0x20 || $0 == 0x7F }.map { String(decoding: $0, as: UTF8.self) }
        self.text = words.joined(separator: " ")
    }

    /// It passes by itself: a server that starts, stops or was replaced, a conflict, too many connections.
    package var isPassing: Bool {
        if isLost { return true }
        let groups = ["08", "40", "57P"].contains { state.utf8.starts(with: $0.utf8) }
        // A standby after a failover; too many connections; a lock that was not to be had.
        return groups || ["25006", "53300", "55P03", "57014"].contains(state)
    }

    /// The server's disk is full.
    package var isFull: Bool { state == "53100" || state == "53200" }

    /// The server, or this session of it, takes no changes: it is a standby by now, or somebody said so.
    package var isReadOnly: Bool { state == "25006" }

    /// A transaction that the server has never heard of.
    package var isUnknownTransaction: Bool { state == "22023" }

    package var description: String { state.isEmpty ? text : "\(text) (\(state))" }
}
