// Facts.swift — what a note in the queue's log says of events: bytes that travel with it and that only history reads.

/// Facts that are made durable together with a note about a message.
///
/// Opaque to the queue and its store; `History/Fact` writes and reads them. One after the other, each behind its length, so
/// that those of two notes can be written as one.
package struct Facts: Hashable, Sendable {
    package private(set) var bytes: [UInt8]
    /// They may stand in the log already, because a write of them did not end well.
    package private(set) var mayBeThere = false

    /// Nothing is told; costs nothing.
    package static let none = Facts([])

    package init(_ bytes: [UInt8], mayBeThere: Bool = false) {
        self.bytes = bytes
        self.mayBeThere = mayBeThere
    }

    package var isEmpty: Bool { bytes.isEmpty }

    /// These, and then those of a later note.
    package func followed(by later: Facts) -> Facts {
        if later.isEmpty { return self }
        if isEmpty { return later }
        return Facts(bytes + later.bytes, mayBeThere: mayBeThere || later.mayBeThere)
    }

    /// Its facts one by one.
    package var each: [Facts] {
        bytes.withUnsafeBytes { raw in
            var reader = StoredReader(raw)
            var found: [Facts] = []
            while reader.remaining > 0 {
                let start = reader.position
                guard (try? reader.piece()) != nil else { break }
                found.append(Facts(Array(raw[start..<reader.position])))
            }
            return found
        }
    }

    /// The same, to be written again.
    package var again: Facts { Facts(bytes, mayBeThere: true) }
}
