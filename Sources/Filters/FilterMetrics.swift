// FilterMetrics.swift — what milters say and how often they say nothing. Names are spelled here and nowhere else; a milter's
// label is the name of its section.

import Config
import Mail
import Metrics
import Milter
import Synchronization

/// The series of one milter.
package struct FilterMetrics: Sendable {
    /// What became of a message at one milter.
    package enum Verdict: String, CaseIterable, Sendable {
        case passed, changed, refused, discarded, quarantined
    }

    /// Makes every series once, of a milter that there is not, so that each name is there from the start.
    package static func declare() { _ = FilterMetrics("none") }

    private let seconds: Timer
    private let verdicts: [Verdict: Counter]
    private let faults: [MilterFault.Kind: Counter]
    private let open: Gauge

    init(_ name: String) {
        seconds = Timer(label: "martlet_milter_seconds", dimensions: [("milter", name)])
        verdicts = Dictionary(
            uniqueKeysWithValues: Verdict.allCases.map {
                let dimensions = [("milter", name), ("verdict", $0.rawValue)]
                return ($0, Counter(label: "martlet_milter_messages_total", dimensions: dimensions))
            }
        )
        faults = Dictionary(
            uniqueKeysWithValues: MilterFault.Kind.allCases.map {
                let dimensions = [("milter", name), ("kind", $0.rawValue)]
                return ($0, Counter(label: "martlet_milter_failures_total", dimensions: dimensions))
            }
        )
        open = Gauge(label: "martlet_milter_left_alone", dimensions: [("milter", name)])
        // Each is there from the start, at zero.
        for counter in verdicts.values { counter.increment(by: 0) }
        for counter in faults.values { counter.increment(by: 0) }
        open.record(0)
    }

    func took(_ milliseconds: Int64) { seconds.recordMilliseconds(milliseconds) }
    func count(_ fault: MilterFault.Kind) { faults[fault]?.increment() }
    func leftAlone(_ isOpen: Bool) { open.record(isOpen ? 1 : 0) }

    func count(_ verdict: MilterVerdict) {
        let kind: Verdict =
            switch verdict.end {
            case .discard: .discarded
            case .refuse: .refused
            case .pass where verdict.quarantine != nil: .quarantined
            case .pass: verdict.changesNothing && verdict.refused.isEmpty ? .passed : .changed
            }
        verdicts[kind]?.increment()
    }
}
