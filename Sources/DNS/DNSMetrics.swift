// DNSMetrics.swift — counters of lookups. Names are spelled here and nowhere else; labels are closed sets.

import Mail
import Metrics

/// Made at first use, when whoever collects is in place.
package enum DNSMetrics {
    private enum Result: String, CaseIterable {
        case secure, insecure, bogus, nxdomain, timeout, failed
    }

    private static let types: [RecordType] = [.a, .aaaa, .cname, .mx, .soa, .tlsa, .txt]
    private static let counters: [RecordType: [Result: Counter]] = Dictionary(
        uniqueKeysWithValues: types.map { type in
            (type, Dictionary(uniqueKeysWithValues: Result.allCases.map { ($0, counter(type, $0)) }))
        }
    )
    private static let duration = Timer(label: "martlet_dns_lookup_seconds")

    private static func counter(_ type: RecordType, _ result: Result) -> Counter {
        Counter(
            label: "martlet_dns_lookups_total",
            dimensions: [("type", "\(type)"), ("result", result.rawValue)]
        )
    }

    /// Makes every series, so that each is there from the start, at zero.
    package static func declare() {
        _ = duration
        for counter in counters.values.flatMap(\.values) { counter.increment(by: 0) }
    }

    /// A question was answered, or not.
    static func count(_ type: RecordType, _ answer: Swift.Result<RawAnswer, DNSError>, since begin: Uptime) {
        duration.recordMilliseconds(Uptime.now().milliseconds - begin.milliseconds)
        let result: Result =
            switch answer {
            case .success(let answer): answer.isSecure ? .secure : .insecure
            case .failure(.noSuchName): .nxdomain
            case .failure(.timedOut): .timeout
            case .failure(.bogus): .bogus
            case .failure(.serverFailure): .failed
            }
        counters[type]?[result]?.increment()
    }
}
