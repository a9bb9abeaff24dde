// IngestMetrics.swift — counters of mail that was refused for want of a place to keep it, and of TLS with clients. Names are
// spelled here and nowhere else; what was accepted is counted by the queue.

import CoreMetrics
import Metrics
import OpenSSL
import Queue

/// Made at first use, when whoever collects is in place.
package enum IngestMetrics {
    private static let full = refused("452", "full")
    private static let broken = refused("451", "storage")
    private static let encrypted = ["TLSv1.2", "TLSv1.3"].map { version in
        ["full", "resumed"].map { kind in
            Counter(label: "martlet_inbound_tls_total", dimensions: [("version", version), ("handshake", kind)])
        }
    }
    private static let handshakesFailed = Counter(label: "martlet_inbound_tls_failures_total")

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
        for counter in encrypted.joined() { counter.increment(by: 0) }
        handshakesFailed.increment(by: 0)
        for counter in AuthMetrics.all { counter.increment(by: 0) }
    }

    /// A client's session is encrypted from now on.
    static func secured(_ summary: TLSSummary) {
        encrypted[summary.version == "TLSv1.3" ? 1 : 0][summary.isResumed ? 1 : 0].increment()
    }

    /// A handshake with a client came to nothing.
    static func handshakeFailed() { handshakesFailed.increment() }

    static func countRefused(_ error: QueueError) {
        if case .full = error { full.increment() } else { broken.increment() }
    }
}
