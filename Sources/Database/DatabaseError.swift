// DatabaseError.swift — why a database did not do what it was asked.

/// A call of SQLite that failed.
package struct DatabaseError: Error, Hashable, Sendable, CustomStringConvertible {
    /// SQLite's extended result code.
    package let code: Int32
    /// What was called, and SQLite's words.
    package let text: String

    package init(code: Int32, text: String) {
        self.code = code
        self.text = text
    }

    /// The file is no database, or its pages contradict each other.
    package var isCorrupt: Bool { code & 0xFF == 11 || code & 0xFF == 26 }

    /// The disk is full.
    package var isFull: Bool { code & 0xFF == 13 }

    package var description: String { text }
}
