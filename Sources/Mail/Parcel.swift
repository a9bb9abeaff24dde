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

    package init(
        id: ID,
        lane: Lane,
        recipients: [UInt32],
        failures: Int,
        unreached: Int = 0,
        acceptedAt: Timestamp
    ) {
        self.id = id
        self.lane = lane
        self.recipients = recipients
        self.failures = failures
        self.unreached = unreached
        self.acceptedAt = acceptedAt
    }

    /// The number of the attempt that is made now, from 1 on.
    package var attempt: Int { failures + unreached + 1 }
}
