// ReactionMetrics.swift — what reactions did, and how much they hold down. Their names are spelled here and nowhere else.

import CoreMetrics
import Mail
import Metrics

/// Made at first use, when whoever collects is in place.
package enum ReactionMetrics {
    private static let counters = Dictionary(
        uniqueKeysWithValues: Deed.words.map {
            ($0, Counter(label: "martlet_reactions_total", dimensions: [("deed", $0)]))
        }
    )
    private static let unwell = Gauge(label: "martlet_sources_unwell")
    private static let slowed = Gauge(label: "martlet_destinations_slowed")

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() {
        for counter in counters.values { counter.increment(by: 0) }
        slowed.record(0)
        unwell.record(0)
    }

    /// One was due.
    static func count(_ deed: Deed) { counters[deed.word]?.increment() }

    static func show(slowed count: Int, unwell: Int) {
        slowed.record(Double(count))
        Self.unwell.record(Double(unwell))
    }
}
