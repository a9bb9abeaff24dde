// IngestMetrics.swift — counters of TLS with clients. Names are spelled here and nowhere else; what was refused is counted
// on the way in, what was accepted by the queue.

import CoreMetrics
import Metrics
import OpenSSL

/// Made at first use, when whoever collects is in place.
package enum IngestMetrics {
    private static let encrypted = ["TLSv1.2", "TLSv1.3"].map { version in
        ["full", "resumed"].map { kind in
            Counter(label: "martlet_inbound_tls_total", dimensions: [("version", version), ("handshake", kind)])
        }
    }
    private static let handshakesFailed = Counter(label: "martlet_inbound_tls_failures_total")

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() {
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
}
