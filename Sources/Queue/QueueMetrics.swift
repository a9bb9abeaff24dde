// QueueMetrics.swift — what the queue measures as it goes. Its counts are in ``QueueStatistics``, which the API shows fresh.

import CoreMetrics
import Metrics
import Storage

/// By which door a message came in.
package enum Entrance: String, CaseIterable, Sendable {
    case smtp, smtps, api
    /// Made by the relay itself: reports, and mail of plugins.
    case inside
}

/// Made at first use, when whoever collects is in place.
package enum QueueMetrics {
    /// In the order of ``Entrance/allCases``.
    private static let accepted = Entrance.allCases.map {
        Counter(label: "martlet_messages_accepted_total", dimensions: [("listener", $0.rawValue)])
    }
    /// Recipients of messages that an administrator removed; what else becomes of recipients is counted by delivery.
    private static let removed = Counter(
        label: "martlet_recipients_total",
        dimensions: [("result", "removed"), ("route", "none")]
    )

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() {
        StorageMetrics.declare()
        ReactionMetrics.declare()
        for counter in accepted + [removed] { counter.increment(by: 0) }
    }

    /// An administrator removed a message for so many recipients.
    static func countRemoved(_ recipients: Int) { removed.increment(by: recipients) }

    /// A message is ours.
    static func countAccepted(by entrance: Entrance) {
        switch entrance {
        case .smtp: accepted[0].increment()
        case .smtps: accepted[1].increment()
        case .api: accepted[2].increment()
        case .inside: accepted[3].increment()
        }
    }
}
