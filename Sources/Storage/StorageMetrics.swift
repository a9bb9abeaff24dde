// StorageMetrics.swift — what storage measures as it goes.

package import CoreMetrics
import Metrics

/// Made at first use, when whoever collects is in place.
package enum StorageMetrics {
    /// How long the disk takes to make a batch durable.
    package static let sync = Timer(label: "martlet_spool_fsync_seconds")
}
