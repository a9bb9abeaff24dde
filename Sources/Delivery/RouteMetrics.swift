// RouteMetrics.swift — what became of recipients, by route; those that an administrator removed are counted by the queue.
//
// Labels are closed sets, so that no peer and no address can make a new series: the first routes that are used have a
// label of their own, all others share one.

import CoreMetrics
import Mail
import Metrics
import Synchronization

/// The series of one route.
final class RouteMetrics: Sendable {
    /// Routes with a label of their own.
    private static let most = 20
    /// Those that every relay may have, whenever they are used first.
    private static let always: Set<String> = ["dns", "*", "address", "hook"]
    private static let known = Mutex(Known())

    private struct Known {
        var all: [String: RouteMetrics] = [:]
        /// Labels that are not among ``always``.
        var named = 0
    }

    private let results: [Counter]
    /// By reason, in the order of their numbers.
    private let temporary: [Counter]
    private let permanent: [Counter]
    private let delay: Timer
    /// Now.
    private let sessions: Meter

    private enum Result: Int, CaseIterable {
        case delivered, deferred, bounced, expired, dropped, discarded
    }

    /// The series of a lane's route.
    static func of(_ lane: Lane) -> RouteMetrics { labelled(lane.metricLabel) }

    /// Makes the series that every relay has, so that each is there from the start, at zero.
    static func declare() {
        for label in ["dns", "*"] { _ = labelled(label) }
    }

    private static func labelled(_ label: String) -> RouteMetrics {
        known.withLock { known in
            if let metrics = known.all[label] { return metrics }
            let isNamed = known.named < most - always.count
            let name = always.contains(label) || isNamed ? label : "other"
            if name == label, !always.contains(label) { known.named += 1 }
            let metrics = known.all[name] ?? RouteMetrics(name)
            known.all[name] = metrics
            return metrics
        }
    }

    private init(_ route: String) {
        func failures(_ kind: String) -> [Counter] {
            FailureReason.allCases.map { reason in
                Counter(
                    label: "martlet_delivery_failures_total",
                    dimensions: [
                        ("class", kind), ("reason", reason.name), ("reply_class", reason.replyClass.name),
                        ("route", route),
                    ]
                )
            }
        }
        results = Result.allCases.map {
            Counter(label: "martlet_recipients_total", dimensions: [("result", "\($0)"), ("route", route)])
        }
        temporary = failures("temporary")
        permanent = failures("permanent")
        delay = Timer(label: "martlet_delivery_delay_seconds", dimensions: [("route", route)])
        sessions = Meter(label: "martlet_outbound_connections", dimensions: [("route", route)])
        for counter in results + temporary + permanent { counter.increment(by: 0) }
    }

    /// A session stands.
    func sessionOpened() { sessions.increment() }

    /// A session that stood is gone.
    func sessionEnded() { sessions.decrement() }

    /// Recipients were delivered.
    ///
    /// - Parameter milliseconds: since their message was accepted.
    func countDelivered(_ recipients: Int, after milliseconds: Int64) {
        count(.delivered, recipients)
        delay.recordMilliseconds(max(0, milliseconds))
    }

    /// Recipients whose mail the route discards.
    func countDiscarded(_ recipients: Int) { count(.discarded, recipients) }

    /// Recipients failed, for now or for good, or were dropped by a plugin.
    func countFailed(_ verdicts: Verdicts) {
        count(.deferred, verdicts.deferred.count)
        count(.dropped, verdicts.dropped.count)
        for failed in verdicts.deferred { temporary[Int(failed.reason.rawValue)].increment() }
        for failed in verdicts.bounced {
            count(failed.wasDeferred ? .expired : .bounced, 1)
            permanent[Int(failed.reason.rawValue)].increment()
        }
    }

    private func count(_ result: Result, _ recipients: Int) {
        if recipients > 0 { results[result.rawValue].increment(by: recipients) }
    }
}
