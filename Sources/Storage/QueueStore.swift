// QueueStore.swift — what the queue asks of durable storage, and nothing more.
//
// The embedded ``Spool`` implements it; a store shared by several nodes can: places are opaque, bodies are read in pieces, and
// nothing above this room knows of segments.

package import Mail

/// Where a message's record lies.
///
/// Opaque: values are the store's business, the index only keeps them. Twelve bytes, because it keeps one of each message.
package struct Location: Hashable, Sendable {
    /// Sequence number of the spool's segment.
    let segment: UInt32
    /// Bytes from the segment's start.
    let offset: UInt32
    /// Bytes of the whole record, its header included.
    let length: UInt32

    init(segment: UInt32, offset: UInt32, length: UInt32) {
        self.segment = segment
        self.offset = offset
        self.length = length
    }

    /// A place in a store that numbers its messages.
    package init(number: UInt64) {
        self.init(
            segment: 0,
            offset: UInt32(truncatingIfNeeded: number >> 32),
            length: UInt32(truncatingIfNeeded: number)
        )
    }

    /// The number it was made of.
    package var number: UInt64 { UInt64(offset) << 32 | UInt64(length) }
}

/// What is known of a message beyond its own record: which recipients are done, and when the others are due.
///
/// Every attempt record carries the whole state, so the latest one is enough.
package struct DeliveryState: Hashable, Sendable {
    /// Some recipients that share their next attempt.
    package struct Group: Hashable, Sendable {
        package var recipients: [UInt32]
        /// Temporary failures so far.
        package var failures: UInt16
        /// When the next attempt is due.
        package var due: Timestamp
        /// What was last said, for people; nil when nothing was.
        package var reply: LastReply?
        /// When it was said.
        package var attemptedAt: Timestamp
        /// Attempts that did not reach the next hop.
        package var unreached: UInt16
        /// It waits only because the last one did not.
        package var isOutOfReach: Bool

        package init(
            recipients: [UInt32],
            failures: UInt16,
            due: Timestamp,
            reply: LastReply?,
            attemptedAt: Timestamp,
            unreached: UInt16 = 0,
            isOutOfReach: Bool = false
        ) {
            self.recipients = recipients
            self.failures = failures
            self.due = due
            self.reply = reply
            self.attemptedAt = attemptedAt
            self.unreached = unreached
            self.isOutOfReach = isOutOfReach
        }
    }

    /// Recipients that failed for now; those that were told different things stand in different groups.
    ///
    /// A recipient in no group and not in `done` was never tried.
    package var waiting: [Group]
    /// Recipients that are delivered, bounced or dropped, rising.
    package var done: [UInt32]
    /// Those of them that were not delivered, rising.
    package var bounced: [UInt32]
    /// A delay report was sent already, so that there is only one.
    package var delayReported: Bool
    /// When this was noted: no wait was longer than from then on.
    package var notedAt: Timestamp

    package init(
        waiting: [Group] = [],
        done: [UInt32] = [],
        bounced: [UInt32] = [],
        delayReported: Bool = false,
        notedAt: Timestamp = Timestamp(milliseconds: 0)
    ) {
        self.waiting = waiting
        self.done = done
        self.bounced = bounced
        self.delayReported = delayReported
        self.notedAt = notedAt
    }
}

extension DeliveryState {
    /// Each recipient stands in one group or among the done, and who bounced is done.
    var isConsistent: Bool {
        guard waiting.count > 1 || !done.isEmpty else { return bounced.isEmpty }
        var seen = Set(done)
        guard seen.count == done.count, bounced.allSatisfy(seen.contains) else { return false }
        for group in waiting {
            for recipient in group.recipients where !seen.insert(recipient).inserted { return false }
        }
        return true
    }

    /// Whether it can be about a message with so many recipients.
    func fits(recipients count: Int) -> Bool {
        // Every list rises, so its last one is its greatest.
        (waiting.compactMap(\.recipients.last) + done.suffix(1)).allSatisfy { Int($0) < count }
    }
}

/// A message found at start-up.
///
/// Its state fits its envelope, and no two have the same id.
package struct RecoveredMessage: Sendable {
    package let id: QueueID
    package let acceptedAt: Timestamp
    package let location: Location
    package let envelope: Envelope
    /// Prologue and body, in bytes.
    package let size: Int
    package let state: DeliveryState

    package init(
        id: QueueID,
        acceptedAt: Timestamp,
        location: Location,
        envelope: Envelope,
        size: Int,
        state: DeliveryState
    ) {
        self.id = id
        self.acceptedAt = acceptedAt
        self.location = location
        self.envelope = envelope
        self.size = size
        self.state = state
    }

    /// One that was handed over just now.
    package init(_ message: NewMessage, at location: Location, _ state: DeliveryState) {
        self.init(
            id: message.id,
            acceptedAt: message.acceptedAt,
            location: location,
            envelope: message.envelope,
            size: message.content.size,
            state: state
        )
    }
}

/// The outcome of one group commit, told once per batch on the writer's thread.
package struct CommitResult: Sendable {
    package let id: QueueID
    package let result: Result<Location, QueueError>

    package init(id: QueueID, result: Result<Location, QueueError>) {
        self.id = id
        self.result = result
    }
}

/// Where accepted mail lives.
///
/// `append…` never waits: the record joins the next group commit. All other calls may block and belong on a thread of
/// the disk pool.
package protocol QueueStore: AnyObject, Sendable {
    /// Joins the next commit. When its batch is synced (or has failed), `committed` of ``start(committed:)`` is called with it.
    /// The body file of a large message belongs to the store from now on, which removes that of one that failed.
    func append(_ message: NewMessage)

    /// Notes the state of a message after an attempt. Joins the next commit; a batch of notes alone is written but not synced.
    ///
    /// - Parameter facts: are there when the note is.
    func append(_ state: DeliveryState, of id: QueueID, _ facts: Facts)

    /// The message is finished: every recipient is done. The location lets the store count what is live in a segment.
    /// The body file of a large message is removed once this record is written.
    ///
    /// - Parameter facts: are there when the note is.
    func appendSettled(_ id: QueueID, at location: Location, _ facts: Facts)

    /// Notes facts that change nothing in the queue. Joins the next commit as a note.
    ///
    /// - Parameter id: of the message that they are about; zero of none.
    func append(_ facts: Facts, of id: QueueID)

    /// Waits until everything appended so far is durable, or cannot be. Blocks.
    ///
    /// - Returns: whether all of it is.
    func confirm() -> Bool

    /// Reports can be durable together with the note of what they tell. Cheap.
    var joinsNotes: Bool { get }

    /// A note and the reports that tell of it: all are durable with the next commit, or nothing is. Only where ``joinsNotes``.
    ///
    /// `committed` of ``start(committed:)`` is called with each report. A failure means that the message is another node's, and
    /// nothing is there of either; while the outcome is not known, or cannot be had, it waits.
    func append(_ joint: JointNote)

    /// Visits live messages and sets aside what cannot be read. Blocks.
    ///
    /// A store may leave them to ``recoverRest(_:)``, so that it can be written sooner.
    /// - Parameter visit: called on this thread, before the function returns.
    func recover(_ visit: (RecoveredMessage) -> Void) throws(QueueError)

    /// Visits the live messages that ``recover(_:)`` did not, while the store is in use. Blocks.
    ///
    /// What is settled, noted or removed of a message that was visited counts at once; the others are safe until they are.
    /// - Parameter visit: called on this thread, before the function returns.
    func recoverRest(_ visit: ([RecoveredMessage], RecoveryProgress) -> Void)

    /// Has ``recoverRest(_:)`` return before its time. Cheap.
    func endRecovery()

    /// Of two messages the older one is visited later. Cheap.
    var visitsNewestFirst: Bool { get }

    /// No message that ``recoverRest(_:)`` visits has a higher id. Cheap.
    var highestID: QueueID { get }

    /// Opens the store for `append`; everything live was visited, or is left to ``recoverRest(_:)``.
    ///
    /// - Parameter committed: called on the writer's thread, once per batch, after the sync.
    func start(committed: @escaping @Sendable ([CommitResult]) -> Void) throws(QueueError)

    /// Reads a message back, verifying its checksum. Blocks. A message that turns out damaged is set aside by the store.
    func read(_ id: QueueID, at location: Location) throws(QueueError) -> NewMessage

    /// Reads the envelope alone; for listings. Blocks.
    func readEnvelope(_ id: QueueID, at location: Location) throws(QueueError) -> Envelope

    /// Keeps a message for a human that does not fit what ``recover(_:)`` said of it, and settles it. Blocks.
    func setAside(_ id: QueueID, at location: Location, because text: String)

    /// Opens a body file for a message that is being received and has outgrown memory. Blocks.
    func makeLargeBody(_ id: QueueID) throws(QueueError) -> any LargeBody

    /// Some messages lie where the store would like to have room. Asked after a settlement, cheap.
    var wantsRoom: Bool { get }

    /// Whether a message that lies there should be moved. Cheap.
    func isBeingEmptied(_ location: Location) -> Bool

    /// Copies a live message to where new ones go, with its state. Blocks until it is synced.
    func move(_ id: QueueID, from location: Location, _ state: DeliveryState) throws(QueueError) -> Location

    /// True when a message of this many bytes may be taken: enough free space and inodes, and the store is healthy. Cheap.
    func hasRoom(for bytes: Int) -> Bool

    /// Bytes free for mail on the disk, as they were known a moment ago; nil when nobody knows. Cheap.
    var freeBytes: Int? { get }

    /// Replaces the list of messages that are held back, durably. Blocks.
    func save(_ holds: [QueueID: Hold]) throws(QueueError)

    /// Changes that list, durably, at a cost that does not grow with it. Blocks; one call at a time.
    ///
    /// - Parameter all: the whole list with these changes, for a store that wants it.
    func save(_ changes: [HoldChange], all: () -> [QueueID: Hold]) throws(QueueError)

    /// The list saved last. Blocks. What cannot be read is reported and left out.
    func savedHolds() -> [QueueID: Hold]

    /// Where to tell of messages that come from other nodes or go to them; asked for before ``recover(_:)``.
    func setNews(_ news: OwnershipNews)

    /// Why nothing is committed now; nil: everything is well. Cheap.
    var trouble: String? { get }

    /// Other nodes deliver to the same lanes: sessions need grants. Cheap.
    var sharesLanes: Bool { get }

    /// The first id from this one on that no other node makes. Cheap.
    func own(_ id: QueueID) -> QueueID

    /// Another message of this name is there, or was a while ago. Blocks.
    func isUsed(_ id: QueueID) throws(QueueError) -> Bool

    /// Writes what waits, syncs, stops the writer, releases the lock file.
    func close()
}

/// How far a store has been read.
package struct RecoveryProgress: Hashable, Sendable, CustomStringConvertible {
    /// Segments that were read.
    package let done: Int
    /// All that there are.
    package let of: Int

    package init(done: Int, of: Int) { (self.done, self.of) = (done, of) }

    /// A sentence for whoever asks.
    package var description: String {
        of == 0 ? "mail of before is about to be read" : "\(done) of \(of) segments with mail of before are read"
    }
}

extension QueueStore {
    /// Each is durable by itself, a report before its note.
    package var joinsNotes: Bool { false }

    /// Reports first.
    package func append(_ joint: JointNote) {
        for report in joint.reports { append(report) }
        switch joint.note {
        case .state(let state): append(state, of: joint.id, joint.facts)
        case .end(let location): appendSettled(joint.id, at: location, joint.facts)
        }
    }

    /// The whole list is written.
    package func save(_ changes: [HoldChange], all: () -> [QueueID: Hold]) throws(QueueError) { try save(all()) }

    /// Nothing was left.
    package func recoverRest(_ visit: ([RecoveredMessage], RecoveryProgress) -> Void) {}

    /// There is nothing to end.
    package func endRecovery() {}

    /// They come as they were accepted.
    package var visitsNewestFirst: Bool { false }

    /// Every message was visited.
    package var highestID: QueueID { QueueID(rawValue: 0) }

    /// There is no other node.
    package func setNews(_ news: OwnershipNews) {}

    /// There is no other node.
    package var sharesLanes: Bool { false }

    /// The disk says so when it is asked for room.
    package var trouble: String? { nil }

    /// There is no other node.
    package func own(_ id: QueueID) -> QueueID { id }

    /// What is in the queue, the queue knows.
    package func isUsed(_ id: QueueID) throws(QueueError) -> Bool { false }
}

extension QueueStore {
    /// Notes a state that is no news.
    package func append(_ state: DeliveryState, of id: QueueID) { append(state, of: id, .none) }

    /// Notes the end of a message that is no news.
    package func appendSettled(_ id: QueueID, at location: Location) { appendSettled(id, at: location, .none) }
}

/// What can go wrong with storage.
///
/// The text is for the log and never goes to a client.
package enum QueueError: Error, Hashable, Sendable, CustomStringConvertible {
    /// No space or no inodes: answer 452 4.3.1.
    case full(String)
    /// A system call failed: answer 451 4.3.0.
    case broken(String)
    /// A record or file does not say what it should; it was set aside.
    case damaged(String)
    /// Another process holds the data directory.
    case locked(String)
    /// The store is shutting down: answer 421.
    case closing

    /// A sentence for whoever reads the log.
    package var description: String {
        switch self {
        case .full(let text): "no room for mail: \(text)"
        case .broken(let text), .damaged(let text), .locked(let text): text
        case .closing: "the queue is shutting down"
        }
    }
}
