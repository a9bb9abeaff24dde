// RetrySchedule.swift — how long to wait after the nth temporary failure, and when to give up. Pure.

/// The delays between attempts: Haraka's `temp_fail_intervals` and `maxTempFailures`.
///
/// Without a list the delay after the nth failure is 2^(n+5) seconds (64 s, 128 s … 131 072 s after the 12th), and the
/// `maxFailures`th failure bounces. With a list the nth failure waits for the nth interval, and the failure after the
/// last interval bounces. Where an age ends a message (`queue_lifetime`), the delays go on until then: the formula's up to
/// 68 minutes, the last interval again and again.
package struct RetrySchedule: Hashable, Sendable {
    private let maxFailures: Int?
    private let intervals: [Int]?
    private let goesOn: Bool

    /// The longest wait of the formula: 2^17 seconds, 36 hours.
    ///
    /// More failures do not make it longer.
    private static let longestPower = 17

    /// The longest wait of the formula for a next hop that cannot be reached: 2^12 seconds, 68 minutes.
    private static let longestUnreachedPower = 12

    /// - Parameters:
    ///   - maxFailures: the failure that bounces, nil: none; ignored when there are intervals that do not go on.
    ///   - intervals: seconds; an empty list bounces at the first failure.
    ///   - goesOn: another delay follows the last one, because an age ends what waits.
    package init(maxFailures: Int? = 13, intervals: [Int]? = nil, goesOn: Bool = false) {
        self.maxFailures = maxFailures
        self.intervals = intervals
        self.goesOn = goesOn
    }

    /// Milliseconds to wait after the nth failure (n ≥ 1), or nil: bounce now.
    package func delay(afterFailures n: Int) -> Int64? {
        if goesOn { return n < maxFailures ?? .max ? delay(afterUnreached: n) : nil }
        if let intervals {
            return n >= 1 && n <= intervals.count ? Int64(intervals[n - 1]) * 1000 : nil
        }
        guard n < maxFailures ?? .max else { return nil }
        return Int64(1000) << Int64(min(max(n, 1) + 5, Self.longestPower))
    }

    /// Milliseconds to wait after the nth attempt (n ≥ 1) that did not reach the next hop, or nil: bounce now.
    ///
    /// Such an attempt is no failure, so the last interval goes on; only who wants no second attempt gets none.
    package func delay(afterUnreached n: Int) -> Int64? {
        if let intervals {
            return intervals.isEmpty ? nil : Int64(intervals[min(max(n, 1), intervals.count) - 1]) * 1000
        }
        guard maxFailures ?? .max > 1 else { return nil }
        return Int64(1000) << Int64(min(max(n, 1) + 5, Self.longestUnreachedPower))
    }
}
