// StorageMetrics.swift — what storage measures as it goes.

package import CoreMetrics
import Metrics

/// Made at first use, when whoever collects is in place.
package enum StorageMetrics {
    /// How long the disk takes to make a batch durable.
    package static let sync = Timer(label: "martlet_spool_fsync_seconds")

    /// How long a database takes to commit a batch, from its `BEGIN` on.
    package static let commit = Timer(label: "martlet_database_commit_seconds")

    private static let adopted = Counter(label: "martlet_node_adopted_messages_total")
    private static let handed = Counter(label: "martlet_node_handed_messages_total")
    private static let lease = Gauge(label: "martlet_node_lease_seconds")
    private static let horizon = Gauge(label: "martlet_database_horizon_seconds")

    /// Messages that were other nodes' are this one's, or the other way round.
    static func count(adopted count: Int) { adopted.increment(by: count) }
    static func count(handed count: Int) { handed.increment(by: count) }

    /// Milliseconds that are left of the lease.
    static func note(lease left: Int64) { lease.record(Double(max(0, left)) / 1000) }

    /// Seconds of the oldest transaction of the server that keeps rows from being removed.
    static func note(horizon seconds: Int64) { horizon.record(Double(seconds)) }

    private static let damaged = problem("damaged")
    private static let tornTails = problem("torn_tail")
    private static let foreign = problem("foreign")
    private static let failed = problem("failed")

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() {
        _ = (sync, commit)
        for counter in [adopted, handed] { counter.increment(by: 0) }
        for gauge in [lease, horizon] { gauge.record(0) }
        for counter in [damaged, tornTails, foreign, failed] { counter.increment(by: 0) }
    }

    /// Something was told to people: a record set aside at a start or later, a file that is not ours, a failed call.
    static func count(_ kind: SpoolProblem.Kind) {
        switch kind {
        case .damaged: damaged.increment()
        case .tornTail: tornTails.increment()
        case .foreign: foreign.increment()
        case .failed: failed.increment()
        }
    }

    private static func problem(_ kind: String) -> Counter {
        Counter(label: "martlet_spool_problems_total", dimensions: [("kind", kind)])
    }
}
