// TokenMetrics.swift — how access tokens and refresh tokens fare. The names are spelled here and nowhere else.

import Metrics

/// Made at first use, when whoever counts them is in place.
package enum TokenMetrics {
    private static let left = Meter(label: "martlet_oauth_access_token_seconds")
    private static let failures = Counter(label: "martlet_oauth_failures_total")
    private static let idle = Meter(label: "martlet_oauth_refresh_token_idle_seconds")

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() {
        failures.increment(by: 0)
        show(secondsLeft: 0, idle: 0)
    }

    /// A token server gave no token.
    static func failed() { failures.increment() }

    /// The access token that ends first, and the refresh token that was not used for longest.
    package static func show(secondsLeft: Int64, idle seconds: Int64) {
        left.set(secondsLeft)
        idle.set(seconds)
    }
}
