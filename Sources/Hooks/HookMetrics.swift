// HookMetrics.swift — how long plugins take and how often they fail. Names are spelled here and nowhere else; labels are
// closed sets.

package import Mail
import Metrics

/// Made at first use, when whoever collects is in place.
package enum HookMetrics {
    /// What can go wrong with one call.
    package enum Fault: String, CaseIterable, Sendable {
        /// No answer within the deadline.
        case late
        /// An answer that cannot be used.
        case useless
        /// There is nobody to ask, or the connection breaks.
        case unreachable
        /// A program that failed again and again is left alone, and was not asked.
        case skipped
    }

    private static let durations = Dictionary(
        uniqueKeysWithValues: Hook.allCases.map { hook in
            (hook, Timer(label: "martlet_hook_seconds", dimensions: [("hook", hook.rawValue)]))
        }
    )
    private static let failures = Dictionary(
        uniqueKeysWithValues: Hook.allCases.map { hook in
            (hook, Dictionary(uniqueKeysWithValues: Fault.allCases.map { ($0, counter(hook, $0)) }))
        }
    )

    private static func counter(_ hook: Hook, _ fault: Fault) -> Counter {
        Counter(
            label: "martlet_hook_failures_total",
            dimensions: [("hook", hook.rawValue), ("kind", fault.rawValue)]
        )
    }

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() {
        _ = durations
        for counter in failures.values.flatMap(\.values) { counter.increment(by: 0) }
    }

    static func count(_ hook: Hook, since begin: Uptime) {
        durations[hook]?.recordMilliseconds(Uptime.now().milliseconds - begin.milliseconds)
    }

    /// A call without an answer that can be used.
    package static func count(_ fault: Fault, of hook: Hook) { failures[hook]?[fault]?.increment() }
}
