// IngestMetrics.swift — counters of mail that was refused, and of TLS with clients. Names are spelled here and nowhere
// else; what was accepted is counted by the queue.

import CoreMetrics
import Metrics
import OpenSSL
import Queue
import SMTP

/// Made at first use, when whoever collects is in place.
package enum IngestMetrics {
    /// By listener and reason.
    private static let rejected: [Entrance: [Rejection: Counter]] = Dictionary(
        uniqueKeysWithValues: [Entrance.smtp, .smtps].map { listener in
            (listener, Dictionary(uniqueKeysWithValues: Rejection.allCases.map { ($0, counter(listener, $0)) }))
        }
    )
    private static let encrypted = ["TLSv1.2", "TLSv1.3"].map { version in
        ["full", "resumed"].map { kind in
            Counter(label: "martlet_inbound_tls_total", dimensions: [("version", version), ("handshake", kind)])
        }
    }
    private static let handshakesFailed = Counter(label: "martlet_inbound_tls_failures_total")

    private static func counter(_ listener: Entrance, _ rejection: Rejection) -> Counter {
        Counter(
            label: "martlet_messages_rejected_total",
            dimensions: [
                ("listener", listener.rawValue), ("code", rejection.code ?? "other"), ("reason", rejection.rawValue),
            ]
        )
    }

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() {
        for counter in rejected.values.flatMap(\.values) { counter.increment(by: 0) }
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

    /// A message was refused, or a recipient of a client that may not relay.
    static func count(_ rejection: Rejection, at listener: Entrance) { rejected[listener]?[rejection]?.increment() }
}
