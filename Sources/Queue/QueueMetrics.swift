// QueueMetrics.swift — what the queue measures as it goes. Its counts are in ``QueueStatistics``, which the API shows fresh.

import CoreMetrics
import Metrics

/// Made at first use, when whoever collects is in place.
enum QueueMetrics {
    /// How long the disk takes to make a batch durable.
    static let sync = Timer(label: "martlet_spool_fsync_seconds")
}
