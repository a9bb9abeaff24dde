// AuthMetrics.swift — counters of AUTH.

import CoreMetrics
import Metrics

/// What became of attempts to authenticate.
///
/// Made at first use, when whoever counts them is in place.
enum AuthMetrics {
    static let accepted = counter("accepted")
    static let refused = counter("refused")
    /// Sessions ended because their client had failed too often.
    static let throttled = counter("throttled")
    static let all = [accepted, refused, throttled]

    private static func counter(_ result: String) -> Counter {
        Counter(label: "martlet_auth_attempts_total", dimensions: [("result", result)])
    }
}
