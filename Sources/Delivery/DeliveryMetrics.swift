// DeliveryMetrics.swift — sessions that were opened, and how long the steps of an attempt took. Names are spelled here and
// nowhere else; what became of recipients is counted in `RouteMetrics.swift`.

import CoreMetrics
import Departure
import Mail
import Metrics
import NIOCore

/// Made at first use, when whoever collects is in place.
package enum DeliveryMetrics {
    /// A step of an attempt.
    enum Phase: Int, CaseIterable {
        /// From a lane to its hosts and their addresses; often answered without the network.
        case dns
        /// From the first packet to a session that is ready: connection, greeting, TLS and login.
        case connect
        /// The part of it that is the handshake.
        case tls
        /// From MAIL to the answer to DATA.
        case envelope
        /// From the first octet of a message to the answer to its dot.
        case data
    }

    private static let opened = connections("opened")
    private static let refused = connections("failed")
    private static let lostReports = Counter(label: "martlet_reports_undelivered_total")
    private static let fruitless = Counter(label: "martlet_outbound_fruitless_sessions_total")
    private static let phases = Phase.allCases.map {
        Timer(label: "martlet_attempt_phase_seconds", dimensions: [("phase", "\($0)")])
    }

    private static func connections(_ result: String) -> Counter {
        Counter(label: "martlet_outbound_connections_total", dimensions: [("result", result)])
    }

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() {
        for counter in [opened, refused, lostReports, fruitless] { counter.increment(by: 0) }
        _ = phases
        RouteMetrics.declare()
        TrustMetrics.declare()
    }

    /// A session was opened, ready for mail, or was not.
    static func countOpening(_ isOpen: Bool, since begin: NIODeadline) {
        (isOpen ? opened : refused).increment()
        record(.connect, since: begin)
    }

    /// A report of ours reached nobody.
    static func countLostReport() { lostReports.increment() }

    /// A session that stood has ended without having been given a message.
    static func countFruitless() { fruitless.increment() }

    /// A step is over.
    static func record(_ phase: Phase, since begin: NIODeadline, at now: NIODeadline = .now()) {
        phases[phase.rawValue].recordNanoseconds((now - begin).nanoseconds)
    }
}
