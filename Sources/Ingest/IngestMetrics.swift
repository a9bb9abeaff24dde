// IngestMetrics.swift — counters of mail that was refused for want of a place to keep it. Names are spelled here and nowhere
// else; what was accepted is counted by the queue.

import CoreMetrics
import Metrics
import Queue

/// Made at first use, when whoever collects is in place.
package enum IngestMetrics {
    private static let full = refused("452", "full")
    private static let broken = refused("451", "storage")

    private static func refused(_ code: String, _ reason: String) -> Counter {
        Counter(
            label: "martlet_messages_rejected_total",
            dimensions: [("listener", "smtp"), ("code", code), ("reason", reason)]
        )
    }

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() {
        full.increment(by: 0)
        broken.increment(by: 0)
        for counter in [AuthMetrics.accepted, AuthMetrics.refused, AuthMetrics.throttled] { counter.increment(by: 0) }
    }

    static func countRefused(_ error: QueueError) {
        if case .full = error { full.increment() } else { broken.increment() }
    }
}
