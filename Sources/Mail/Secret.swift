// Secret.swift — a password or token that cannot be printed by accident.
//
// Guarantee: however a value that holds one is described, dumped or interpolated, the text does not appear.

/// Text that must not reach a log, an error or an API answer.
package struct Secret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The text itself, for the one place that sends it.
    package let revealed: String

    package init(_ text: String) { revealed = text }

    package var description: String { "(secret)" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: []) }

    /// Octets count: two spellings of é are two passwords.
    package static func == (a: Secret, b: Secret) -> Bool { a.revealed.isSame(octets: b.revealed) }

    package func hash(into hasher: inout Hasher) {
        for octet in revealed.utf8 { hasher.combine(octet) }
    }
}
