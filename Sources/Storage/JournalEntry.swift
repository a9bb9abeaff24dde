// JournalEntry.swift — the spool's log as one who follows it sees it: records in order, and a place to go on from.

package import Mail

/// A place in the log: everything before it was read.
package struct JournalPosition: Hashable, Comparable, Sendable {
    package let segment: UInt32
    /// Bytes from the segment's start.
    package let offset: UInt32
    /// Tells one life of a segment from another: a queue that was made anew numbers from 1 again.
    package let seed: UInt32

    package init(segment: UInt32, offset: UInt32, seed: UInt32) {
        self.segment = segment
        self.offset = offset
        self.seed = seed
    }

    package static func < (a: JournalPosition, b: JournalPosition) -> Bool {
        (a.segment, a.offset) < (b.segment, b.offset)
    }
}

/// A message as its record has it.
package struct JournalMessage: Sendable {
    package let id: QueueID
    package let acceptedAt: Timestamp
    package let envelope: Envelope
    /// Prologue and body, in bytes.
    package let size: Int
    /// It was accepted earlier and is only copied forward.
    package let isCopy: Bool
    /// The first bytes of the message, up to ``Spool/headerBytes``.
    package let beginning: [UInt8]
}

/// What a record tells one who follows.
package enum JournalEntry: Sendable {
    case message(JournalMessage)
    /// A note about a message; about none where the id is zero.
    ///
    /// - isEnd: the message is finished.
    case note(QueueID, Facts, isEnd: Bool)
}

/// How far a reading of the log came.
package struct JournalReading: Hashable, Sendable {
    /// Where to go on; nil while there is no segment.
    package var position: JournalPosition?
    /// Everything that is on the disk was read.
    package var isAtEnd = false
    /// Segments that were given back before they were read, at least.
    package var lostSegments = 0
}

/// The log of a queue, as one who makes events of it reads it.
package protocol Journal: AnyObject, Sendable {
    /// Reads records of the log in order.
    ///
    /// Blocks. One caller at a time.
    /// - Parameters:
    ///   - position: where the last reading ended; nil: at the oldest record.
    ///   - bytes: of the log after which to stop.
    func follow(
        from position: JournalPosition?,
        atMost bytes: Int,
        _ visit: (JournalEntry) -> Void
    ) throws(QueueError) -> JournalReading

    /// A message that the log does not tell of: it was accepted elsewhere. Blocks.
    func message(_ id: QueueID) throws(QueueError) -> JournalMessage?

    /// Nothing before this place is needed again: it is durable elsewhere.
    func passed(_ position: JournalPosition)

    /// Waits until there is something behind a place, and it is durable.
    ///
    /// Blocks.
    /// - Parameter milliseconds: at most, until there is something.
    func awaitNews(behind position: JournalPosition?, atMost milliseconds: Int)

    /// Has notes that wait for a message made durable without one.
    ///
    /// Blocks.
    func syncNotes()

    /// Ends ``awaitNews(behind:atMost:)``, now and from now on.
    func stopFollowing()

    /// Whether the disk has room for so many bytes of history beside the mail.
    func hasDisk(for bytes: Int) -> Bool
}

extension Journal {
    /// Whatever there is, the log tells of.
    package func message(_ id: QueueID) throws(QueueError) -> JournalMessage? { nil }
}
