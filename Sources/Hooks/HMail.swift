// HMail.swift — a parcel as plugins see it: the document's `hmail`.

package import Mail

/// The mail that a hook is asked about: one message, and those of its recipients that travel together.
package struct HMail: Hashable, Sendable {
    /// The message's name in queue and log: the document's `uuid`.
    package let id: QueueID
    package let sender: ReversePath
    /// Those the hook is about; others of the same message may go other ways.
    package let recipients: [Recipient]
    /// The domain of the recipients; of the first one where a route brings several domains together.
    package let domain: Domain
    /// Temporary failures so far: the document's `num_failures`.
    package let failures: Int
    /// When the message was accepted: `queue_time`.
    package let queuedAt: Timestamp
    package let notes: Notes

    package init(
        id: QueueID,
        sender: ReversePath,
        recipients: [Recipient],
        domain: Domain,
        failures: Int,
        queuedAt: Timestamp,
        notes: Notes = Notes()
    ) {
        self.id = id
        self.sender = sender
        self.recipients = recipients
        self.domain = domain
        self.failures = failures
        self.queuedAt = queuedAt
        self.notes = notes
    }

    /// A parcel with what its envelope says; indices that the envelope does not have are left out.
    ///
    /// - Parameter failures: other than the parcel's: a deferral counts itself.
    package init(_ parcel: Parcel, _ envelope: Envelope, failures: Int? = nil) {
        let recipients = parcel.recipients.compactMap { index in
            Int(index) < envelope.recipients.count ? envelope.recipients[Int(index)] : nil
        }
        self.init(
            id: parcel.id.message,
            sender: envelope.sender,
            recipients: recipients,
            domain: recipients.first?.address.domain ?? Domain(unchecked: "invalid"),
            failures: failures ?? parcel.failures,
            queuedAt: parcel.acceptedAt,
            notes: envelope.notes
        )
    }

    /// The same mail with some of its recipients.
    package func with(_ recipients: [Recipient]) -> HMail {
        HMail(
            id: id,
            sender: sender,
            recipients: recipients,
            domain: recipients.first?.address.domain ?? domain,
            failures: failures,
            queuedAt: queuedAt,
            notes: notes
        )
    }
}
