// DeliveryMetrics.swift — why deliveries failed and how long they took. Names are spelled here and nowhere else; labels are
// closed sets, so that no peer and no address can make a new series. Recipients are counted by the queue.

import CoreMetrics
import Mail
import Metrics

/// Made at first use, when whoever collects is in place.
package enum DeliveryMetrics {
    /// By reason, in the order of their numbers.
    private static let temporary = failures("temporary")
    private static let permanent = failures("permanent")
    /// From acceptance to delivery.
    private static let delay = Timer(label: "martlet_delivery_delay_seconds")

    private static let opened = connections("opened")
    private static let refused = connections("failed")
    /// From the first packet to a session that is ready: connection, greeting, TLS and login.
    private static let connecting = Timer(label: "martlet_attempt_phase_seconds", dimensions: [("phase", "connect")])

    private static func connections(_ result: String) -> Counter {
        Counter(label: "martlet_outbound_connections_total", dimensions: [("result", result)])
    }

    private static func failures(_ kind: String) -> [Counter] {
        FailureReason.allCases.map {
            Counter(label: "martlet_delivery_failures_total", dimensions: [("class", kind), ("reason", $0.name)])
        }
    }

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() {
        for counter in temporary + permanent + [opened, refused] { counter.increment(by: 0) }
        _ = (delay, connecting)
        TrustMetrics.declare()
    }

    /// A session was opened, ready for mail, or was not.
    static func countOpening(_ isOpen: Bool, since begin: Uptime) {
        (isOpen ? opened : refused).increment()
        connecting.recordMilliseconds(Uptime.now().milliseconds - begin.milliseconds)
    }

    /// A message was delivered.
    ///
    /// - Parameter milliseconds: since it was accepted.
    static func countDelivered(after milliseconds: Int64) { delay.recordMilliseconds(max(0, milliseconds)) }

    /// A recipient failed for now.
    static func countDeferred(_ failure: Failure) { temporary[Int(FailureReason(failure).rawValue)].increment() }

    /// A recipient failed for good.
    static func countBounced(_ failure: Failure) { permanent[Int(FailureReason(failure).rawValue)].increment() }
}
