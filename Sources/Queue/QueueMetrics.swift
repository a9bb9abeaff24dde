// QueueMetrics.swift — what the queue measures as it goes. Its counts are in ``QueueStatistics``, which the API shows fresh.

import CoreMetrics
import Metrics

/// Made at first use, when whoever collects is in place.
package enum QueueMetrics {
    /// How long the disk takes to make a batch durable.
    static let sync = Timer(label: "martlet_spool_fsync_seconds")

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() { _ = sync }
}
