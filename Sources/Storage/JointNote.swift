// JointNote.swift — what became of a message and the reports that tell of it: durable together or not at all.

package import Mail

/// A note about a message, with messages that exist because of it.
///
/// A report without its note would be sent again by whoever tries the message next; a note without its report would leave the
/// sender without a word.
package struct JointNote: Sendable {
    /// What became of the message.
    package enum Note: Sendable {
        case state(DeliveryState)
        case end(Location)
    }

    /// At least one.
    package let reports: [NewMessage]
    /// The message that they are about.
    package let id: QueueID
    package let note: Note
    /// For history, durable when the note is.
    package var facts: Facts

    package init(_ reports: [NewMessage], _ note: Note, of id: QueueID, _ facts: Facts) {
        (self.reports, self.note, self.id, self.facts) = (reports, note, id, facts)
    }

    /// The note alone.
    var alone: SpoolItem {
        switch note {
        case .state(let state): .attempt(id, state, facts)
        case .end(let location): .settled(id, location, facts)
        }
    }
}
