// MessageStory.swift — a message as history knows it: its context, its events, and what became of each recipient.

package import Mail

/// What became of a recipient, in one word; the raw value is the word of the API.
package enum RecipientStatus: String, Hashable, Sendable, CaseIterable {
    /// Nothing was said about it as yet.
    case waiting
    case deferred, delivered, bounced, suppressed, removed
}

/// A message with everything that happened to it.
package struct MessageStory: Hashable, Sendable {
    /// A recipient and the last that was said about it.
    package struct Fate: Hashable, Sendable {
        package let address: String
        package let status: RecipientStatus
        /// How often it was tried.
        package let attempts: Int
        /// The event that says so; nil while it waits.
        package let last: Event?
    }

    package let context: MessageContext
    /// In order.
    package let events: [Event]

    package init(_ context: MessageContext, _ events: [Event]) {
        self.context = context
        self.events = events
    }

    /// When every recipient was done; nil while some are not.
    package var finishedAt: Timestamp? { events.last { $0.type == .finished }?.time }

    /// What became of each recipient, in the order of the envelope.
    package var fates: [Fate] {
        var last: [String: Event] = [:]
        var attempts: [String: Int] = [:]
        var isRemoved = false
        for event in events {
            if event.type == .removed { isRemoved = true }
            guard event.type.isOfRecipient, let recipient = event.data.recipient else { continue }
            last[recipient] = event
            attempts[recipient] = max(attempts[recipient] ?? 0, event.data.attempt ?? 0)
        }
        return context.recipients.map { recipient in
            let event = last[recipient.address]
            var status = Self.status(event?.type)
            if isRemoved, status == .waiting || status == .deferred { status = .removed }
            return Fate(
                address: recipient.address,
                status: status,
                attempts: attempts[recipient.address] ?? 0,
                last: event
            )
        }
    }

    private static func status(_ type: EventType?) -> RecipientStatus {
        switch type {
        case .deferred: .deferred
        case .delivered: .delivered
        case .bounced, .bouncedLate: .bounced
        // Whoever complains has it.
        case .complained: .delivered
        case .suppressed: .suppressed
        default: .waiting
        }
    }
}

/// Which messages are sought; all conditions must hold.
package struct HistoryQuery: Hashable, Sendable {
    /// Of the message and of one of its recipients; `types` is not looked at.
    package var filter = EventFilter()
    /// One of these became of a recipient; empty: any.
    package var statuses: Set<RecipientStatus> = []
    /// Accepted before this event; nil: the newest first.
    package var before: UInt64?

    package init() {}
}

/// Some messages, the newest first.
package struct HistoryPage: Sendable {
    package var stories: [MessageStory] = []
    /// Where to go on as ``HistoryQuery/before``; nil: there are no more.
    package var next: UInt64?
}
