// MessageEdits.swift — what a plugin wants changed in a message that is about to be queued, beside its envelope.

/// Changes of a message.
package struct MessageEdits: Hashable, Sendable {
    /// A header field that is put in front: its name, and its lines, complete with their ends.
    package struct Field: Hashable, Sendable {
        package let name: String
        package let lines: String

        package init(name: String, lines: String) {
            self.name = name
            self.lines = lines
        }
    }

    /// Fields that one answer may add, and names that it may take away.
    package static let mostFields = 100
    /// Octets of the fields that all answers add to one message.
    package static let mostBytes = 64 << 10
    /// Recipients that one answer may add.
    package static let mostRecipients = 100

    /// In the order in which they stand.
    package var added: [Field] = []
    /// Names, in lower case, of fields that are taken out wherever they stand.
    package var removed: Set<String> = []
    /// Why it is held back once it is queued; nil: it is not.
    package var hold: String?
    /// What events and tallies of it carry; nil: what its header says.
    package var tag: String?

    package init() {}

    package var isEmpty: Bool { self == MessageEdits() }

    /// Adds what another plugin wants; of a hold and a tag the first word stays.
    package mutating func add(_ other: MessageEdits) {
        added += other.added
        removed.formUnion(other.removed)
        hold = hold ?? other.hold
        tag = tag ?? other.tag
    }

    /// False when plugins added more than a message may get.
    package var isWithinBounds: Bool { added.reduce(0) { $0 + $1.lines.utf8.count } <= Self.mostBytes }
}
