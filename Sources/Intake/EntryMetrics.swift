// EntryMetrics.swift — counters of mail that was too much for limits on the way in. Their names are spelled here and nowhere else.

import CoreMetrics
import Mail
import Metrics

/// Made at first use, when whoever collects is in place.
package enum EntryMetrics {
    private static let surplus = Dictionary(
        uniqueKeysWithValues: EntryScope.words.map { word in
            (word, Counter(label: "martlet_credentials_surplus_total", dimensions: [("scope", word)]))
        }
    )
    private static let alarms = Counter(label: "martlet_credentials_alarms_total")
    private static let refused = Counter(label: "martlet_credentials_refused_total")
    private static let parked = Gauge(label: "martlet_credentials_parked")

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() {
        for counter in surplus.values { counter.increment(by: 0) }
        for counter in [alarms, refused] { counter.increment(by: 0) }
        parked.record(0)
    }

    /// A message was too much.
    static func count(_ surplus: Surplus) {
        Self.surplus[surplus.scope.word]?.increment()
        if surplus.isNews { alarms.increment() }
    }

    /// A message of a login that is parked.
    static func countParked() { refused.increment() }

    static func show(parked count: Int) { parked.record(Double(count)) }
}
