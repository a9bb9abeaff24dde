// TrustMetrics.swift — counters of how sessions to next hops were protected, and of logins.

import CoreMetrics
package import Mail
import Metrics

/// Counted once per session.
///
/// Made at first use, when whoever counts them is in place.
package enum TrustMetrics {
    private static let plain = session("none", "")
    private static let opportunistic = [session("opportunistic", "TLSv1.2"), session("opportunistic", "TLSv1.3")]
    private static let verified = [session("verified", "TLSv1.2"), session("verified", "TLSv1.3")]
    private static let policy = [session("mta_sts", "TLSv1.2"), session("mta_sts", "TLSv1.3")]
    private static let dane = [session("dane", "TLSv1.2"), session("dane", "TLSv1.3")]
    private static let refusals = Counter(label: "martlet_outbound_logins_refused_total")
    private static let unauthenticated = Counter(label: "martlet_outbound_sessions_without_auth_total")
    private static let refusing = Meter(label: "martlet_outbound_hosts_refusing_login")
    private static let failures = Counter(label: "martlet_outbound_tls_failures_total")
    private static let inTheClear = Counter(label: "martlet_outbound_tls_fallbacks_total")
    private static let testFailures = Counter(label: "martlet_outbound_sts_test_failures_total")

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() {
        let single = [plain, refusals, unauthenticated, failures, testFailures, inTheClear]
        for counter in single + opportunistic + verified + policy + dane { counter.increment(by: 0) }
        refusing.set(0)
    }

    /// A host did not come up to an MTA-STS policy of mode `testing`.
    package static func failedTest() { testFailures.increment() }

    /// The alarm: a next hop does not let us in.
    package static func loginRefused() { refusals.increment() }

    /// So many hosts refuse our login now.
    static func hostsRefusing(_ count: Int) { refusing.set(count) }

    /// A route has credentials and its host offers no AUTH that can be used.
    package static func sentWithoutAuth() { unauthenticated.increment() }

    /// TLS came to nothing.
    package static func handshakeFailed() { failures.increment() }

    /// A session stands in the clear, for no other reason than that TLS with its host came to nothing.
    package static func stoodInTheClear() { inTheClear.increment() }

    /// A session stands.
    ///
    /// - Parameter isNamedByPolicy: an MTA-STS policy in force names its host.
    package static func stands(_ security: ChannelSecurity?, isNamedByPolicy: Bool) {
        guard let security else { return plain.increment() }
        let isNew = security.version == "TLSv1.3"
        switch security.trust {
        case .none: opportunistic[isNew ? 1 : 0].increment()
        case .name: (isNamedByPolicy ? policy : verified)[isNew ? 1 : 0].increment()
        case .dane: dane[isNew ? 1 : 0].increment()
        }
    }

    private static func session(_ level: String, _ version: String) -> Counter {
        Counter(label: "martlet_outbound_tls_total", dimensions: [("level", level), ("version", version)])
    }
}
