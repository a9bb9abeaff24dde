// IntakeMetrics.swift — the counters of mail that was refused, by every way in, and of what was put right. Their names are
// spelled here and nowhere else; what was accepted is counted by the queue.

import CoreMetrics
import Mail
import Metrics
package import Queue
package import SMTP

/// Made at first use, when whoever collects is in place.
package enum IntakeMetrics {
    /// By listener and reason.
    private static let rejected: [Entrance: [Rejection: Counter]] = Dictionary(
        uniqueKeysWithValues: Entrance.allCases.map { listener in
            (listener, Dictionary(uniqueKeysWithValues: Rejection.allCases.map { ($0, counter(listener, $0)) }))
        }
    )

    private static func counter(_ listener: Entrance, _ rejection: Rejection) -> Counter {
        Counter(
            label: "martlet_messages_rejected_total",
            dimensions: [
                ("listener", listener.rawValue), ("code", rejection.code ?? "other"), ("reason", rejection.rawValue),
            ]
        )
    }

    private static let mended = Mending.kinds.map { kind, name in
        (kind, Counter(label: "martlet_messages_mended_total", dimensions: [("kind", name)]))
    }

    /// A message was accepted in which these were put right.
    static func count(_ mending: Mending) {
        guard !mending.isEmpty else { return }
        for (kind, counter) in mended where mending.contains(kind) { counter.increment() }
    }

    /// What became of a copy for an archive.
    package enum Copy: String, CaseIterable, Sendable {
        /// It is durable, with its message.
        case made
        /// The message was taken without it.
        case missed
        /// The message was not taken for want of it.
        case refused
        /// Its delivery failed for good.
        case lost
    }

    /// What became of mail of systems that try things out.
    enum Staged: String, CaseIterable, Sendable {
        case redirected, sunk
    }

    private static let staged = Dictionary(
        uniqueKeysWithValues: Staged.allCases.map {
            ($0, Counter(label: "martlet_messages_staged_total", dimensions: [("result", $0.rawValue)]))
        }
    )

    /// A message went nowhere real.
    static func count(_ result: Staged) { staged[result]?.increment() }

    /// What came to an address for reports.
    enum Returned: String, CaseIterable, Sendable {
        /// Mail that had been taken did not arrive after all.
        case bounce
        case complaint
        /// A report that is no news: of a delay, of an arrival.
        case other
    }

    private static let returned = Dictionary(
        uniqueKeysWithValues: Returned.allCases.map {
            ($0, Counter(label: "martlet_reports_received_total", dimensions: [("kind", $0.rawValue)]))
        }
    )

    /// A report was taken.
    static func count(_ kind: Returned) { returned[kind]?.increment() }

    private static let copies = Dictionary(
        uniqueKeysWithValues: Copy.allCases.map {
            ($0, Counter(label: "martlet_archive_copies_total", dimensions: [("result", $0.rawValue)]))
        }
    )

    /// Something became of a copy for an archive.
    package static func count(_ copy: Copy) { copies[copy]?.increment() }

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() {
        for counter in rejected.values.flatMap(\.values) { counter.increment(by: 0) }
        for (_, counter) in mended { counter.increment(by: 0) }
        for counter in copies.values { counter.increment(by: 0) }
        for counter in returned.values { counter.increment(by: 0) }
        for counter in staged.values { counter.increment(by: 0) }
    }

    /// A message was refused, or a recipient of a client that may not relay.
    package static func count(_ rejection: Rejection, at listener: Entrance) {
        rejected[listener]?[rejection]?.increment()
    }
}
