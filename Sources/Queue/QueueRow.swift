// QueueRow.swift — how one queued message looks in a listing, and in full.

package import Mail
package import Storage

/// One message in a listing.
package struct QueueRow: Hashable, Sendable, Identifiable {
    /// Recipients and lanes shown of each message; the rest is in ``MessageReport``.
    package static let shown = 20

    package let id: QueueID
    package let state: QueuedState
    package let sender: ReversePath
    /// The first ones.
    package let recipients: [EmailAddress]
    package let recipientCount: Int
    /// Prologue and body, in bytes.
    package let size: Int
    package let acceptedAt: Timestamp
    /// Failed attempts: those of the parcel that had most.
    package let attempts: Int
    /// The earliest of its parcels; nil when one is due now or in flight.
    package let nextAttempt: Timestamp?
    package let lastAttempt: Timestamp?
    /// The first ones.
    package let lanes: [Lane]
    package let reply: LastReply?
    /// Why it is held back; nil when it is not.
    package let hold: Hold?
    /// Who handed it in, for limits.
    var user: String?
    /// For limits.
    var tag: String?
}

/// Everything known of one message.
package struct MessageReport: Sendable {
    /// One recipient.
    package struct RecipientReport: Hashable, Sendable {
        /// Where a recipient stands.
        package enum State: Hashable, Sendable {
            case queued(QueuedState)
            case delivered
            /// Failed for good, or dropped.
            case bounced

            /// The word for the API.
            package var name: String {
                switch self {
                case .queued(let state): state.name
                case .delivered: "delivered"
                case .bounced: "bounced"
                }
            }
        }

        package let recipient: Recipient
        package let state: State
        /// Nil once it is finished.
        package let lane: Lane?
        package let attempts: Int
        package let nextAttempt: Timestamp?
        package let lastAttempt: Timestamp?
        package let reply: LastReply?
    }

    package let row: QueueRow
    package let envelope: Envelope
    package let recipients: [RecipientReport]
    package let waitingBecause: [WaitingReason]
    /// When it may leave, where limits, pauses or its own time tell; nil: now, or nobody knows.
    package let estimatedSend: Timestamp?
}

/// How a listing is ordered.
package struct QueueSort: Hashable, Sendable {
    /// By what.
    package enum Key: String, Hashable, Sendable, CaseIterable {
        case queuedAt = "queued_at"
        case nextAttempt = "next_attempt_at"
        case size
    }

    package var key: Key
    package var isDescending: Bool

    package init(_ key: Key = .queuedAt, descending: Bool = false) {
        self.key = key
        isDescending = descending
    }
}

/// A part of a listing.
package struct QueuePage: Sendable {
    package let rows: [QueueRow]
    /// Where the next part begins; nil at the end.
    package let next: String?
    /// Messages of the whole listing.
    package let total: Int
    /// False when envelopes decide and there are too many to read at once: ``total`` is the most it can be.
    package let isTotalExact: Bool
}

/// Why a part of a listing cannot be given.
package enum ListingError: Error, Hashable, Sendable {
    /// The cursor is none of ours: answer 400.
    case unknownCursor
    /// The listing it belongs to was forgotten: answer 410.
    case expired
    /// The queue is still being read after a start: answer 503.
    case stillReading
}
