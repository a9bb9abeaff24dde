// Parcel.swift — what is scheduled: one message, one lane, some recipients. Haraka's hmail.

/// The unit of scheduling.
package struct Parcel: Hashable, Sendable, Identifiable {
    /// Names a parcel while the process lives; parcels are computed, not stored.
    package struct ID: Hashable, Sendable {
        package let message: QueueID
        /// Its name in the index.
        package let ticket: Ticket

        package init(message: QueueID, ticket: Ticket) {
            self.message = message
            self.ticket = ticket
        }
    }

    package let id: ID
    package let lane: Lane
    /// Indices into the envelope's recipients, rising.
    package let recipients: [UInt32]
    /// Temporary failures so far: Haraka's `num_failures`.
    package let failures: Int
    /// Attempts that did not reach the next hop; they are no failures.
    package let unreached: Int
    package let acceptedAt: Timestamp
    /// When it would have been tried by itself, where somebody asked for it before: a flush, SIGHUP, a retry.
    package let ownTime: Uptime?

    package init(
        id: ID,
        lane: Lane,
        recipients: [UInt32],
        failures: Int,
        unreached: Int = 0,
        acceptedAt: Timestamp,
        ownTime: Uptime? = nil
    ) {
        self.id = id
        self.lane = lane
        self.recipients = recipients
        self.failures = failures
        self.unreached = unreached
        self.acceptedAt = acceptedAt
        self.ownTime = ownTime
    }

    /// The number of the attempt that is made now, from 1 on.
    package var attempt: Int { failures + unreached + 1 }

    /// Milliseconds until its own next attempt, while the one that is made now comes on top of its own; nil: it is its own.
    package func timeToOwn(at now: Uptime) -> Int64? {
        ownTime.flatMap { $0 > now ? $0.milliseconds(since: now) : nil }
    }
}
