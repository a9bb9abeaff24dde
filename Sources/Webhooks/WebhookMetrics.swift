// WebhookMetrics.swift — how much receivers take and how far they are behind. Names are spelled here and nowhere else; the
// label is a section's name.

import CoreMetrics
import Metrics

/// Made at first use, when whoever collects is in place.
package enum WebhookMetrics {
    /// What can become of a request.
    private static let results = ["taken", "dropped", "divided", "failed", "disabled"]
    private static let receivers = Meter(label: "martlet_webhook_receivers")

    /// Makes the series that do not depend on a receiver.
    package static func declare() { receivers.set(0) }

    static func show(receivers count: Int) { receivers.set(count) }

    private static func requests(_ name: String, _ result: String) -> Counter {
        Counter(label: "martlet_webhook_requests_total", dimensions: [("webhook", name), ("result", result)])
    }

    private static func lag(_ name: String) -> Meter {
        Meter(label: "martlet_webhook_lag_events", dimensions: [("webhook", name)])
    }

    private static func disabled(_ name: String) -> Meter {
        Meter(label: "martlet_webhook_disabled", dimensions: [("webhook", name)])
    }

    /// Makes every series of a receiver, at zero.
    static func declare(_ name: String) {
        for result in results { requests(name, result).increment(by: 0) }
        lag(name).set(0)
        disabled(name).set(0)
    }

    static func count(_ name: String, _ result: String) { requests(name, result).increment() }

    static func show(_ name: String, lag count: UInt64, isDisabled: Bool) {
        lag(name).set(Double(count))
        disabled(name).set(isDisabled ? 1 : 0)
    }

    /// A receiver is gone.
    static func forget(_ name: String) {
        for result in results { requests(name, result).destroy() }
        lag(name).destroy()
        disabled(name).destroy()
    }
}
