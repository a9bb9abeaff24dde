// QueueEntries.swift — what the index keeps of one message and of one parcel.

import Mail
import NIOCore
import Storage

/// A message whose commit is under way.
struct Arrival: Sendable {
    let message: NewMessage
    let entrance: Entrance
    let loop: any EventLoop
    let done: @Sendable (QueueError?) -> Void
    /// The first of those that are accepted together or not at all.
    var group: QueueID?
    /// What became of it elsewhere; nil: it is new.
    var known: DeliveryState?
}

/// Messages that are accepted together, while their commits are under way.
struct ArrivingGroup: Sendable {
    /// How many are still awaited.
    var left: Int
    /// Those that are written when the first is durable.
    var followers: [NewMessage] = []
    var landed: [(arrival: Arrival, location: Location?)] = []
    /// Why one of them is not durable, and so none of them is taken.
    var error: QueueError?

    init(left: Int, followers: [NewMessage]) { (self.left, self.followers) = (left, followers) }

    mutating func takeFollowers() -> [NewMessage] {
        defer { followers = [] }
        return followers
    }
}

/// One accepted message; 56 bytes.
struct MessageEntry: Sendable {
    private struct Flags: OptionSet, Sendable {
        let rawValue: UInt8
        static let delayReported = Flags(rawValue: 1)
        static let isHeld = Flags(rawValue: 2)
        static let isMoving = Flags(rawValue: 4)
        static let changedWhileMoving = Flags(rawValue: 8)
    }

    let id: QueueID
    let acceptedAt: Timestamp
    /// Its bytes, while they are in memory.
    var resident: NewMessage?
    var location: Location
    private let storedSize: UInt32
    let recipientCount: UInt32
    /// Parcels not yet finished.
    var openParcels: UInt32 = 0
    /// Its first parcel; further ones are linked by ``ParcelEntry/sibling``.
    var firstParcel = Ticket.null
    /// Who handed it in.
    var login: LoginTally.Number = 0
    private var flags: Flags = []

    init(_ id: QueueID, acceptedAt: Timestamp, location: Location, size: Int, recipients: UInt32, resident: NewMessage?)
    {
        self.id = id
        self.acceptedAt = acceptedAt
        self.location = location
        self.resident = resident
        storedSize = UInt32(clamping: size)
        recipientCount = recipients
    }

    /// Prologue and body, in bytes.
    var size: Int { Int(storedSize) }

    var delayReported: Bool {
        get { flags.contains(.delayReported) }
        set { set(.delayReported, newValue) }
    }

    var isHeld: Bool {
        get { flags.contains(.isHeld) }
        set { set(.isHeld, newValue) }
    }

    /// Its record is being copied; what happens meanwhile is recorded again afterwards.
    var isMoving: Bool {
        get { flags.contains(.isMoving) }
        set { set(.isMoving, newValue) }
    }

    var changedWhileMoving: Bool {
        get { flags.contains(.changedWhileMoving) }
        set { set(.changedWhileMoving, newValue) }
    }

    private mutating func set(_ flag: Flags, _ value: Bool) {
        if value { flags.insert(flag) } else { flags.remove(flag) }
    }
}

/// Recipients of a message that are done, while others are not.
struct Progress: Sendable {
    /// Rising.
    var done: [UInt32] = []
    /// Those of them that were not delivered, rising.
    var bounced: [UInt32] = []
}

/// One parcel, 28 bytes; its ticket is its position.
struct ParcelEntry: Sendable {
    var message = Slot.null
    /// Its first recipient.
    var first: UInt32 = 0
    /// Recipients, one behind the other in the envelope; 0 when they are not: see ``QueueState/scattered``.
    var count: UInt32 = 0
    /// The last reply; further ones are in ``QueueState/otherReplies``.
    var reply: ReplyPool.Number = 0
    /// When the last attempt ended, seconds since 1970; 0 before the first.
    var attemptedAt: UInt32 = 0
    var sibling = Ticket.null
    /// Answers of servers that deferred it.
    var failures: UInt16 = 0
    /// Attempts that did not reach its next hop.
    var unreached: UInt16 = 0

    /// Attempts that failed, for whatever reason.
    var attempts: Int { Int(failures) + Int(unreached) }
}
