// RetrySchedule.swift — how long to wait after the nth temporary failure, and when to give up. Pure.

/// The delays between attempts: Haraka's `temp_fail_intervals` and `maxTempFailures`.
///
/// Without a list the delay after the nth failure is 2^(n+5) seconds (64 s, 128 s … 131 072 s after the 12th), and the
/// `maxFailures`th failure bounces. With a list the nth failure waits for the nth interval, and the failure after the
/// last interval bounces.
package struct RetrySchedule: Hashable, Sendable {
    private let maxFailures: Int
    private let intervals: [Int]?

    /// The longest wait of the formula: 2^17 seconds, 36 hours.
    ///
    /// More failures do not make it longer.
    private static let longestPower = 17

    /// The longest wait of the formula for a next hop that cannot be reached: 2^12 seconds, 68 minutes.
    private static let longestUnreachedPower = 12

    /// - Parameters:
    ///   - maxFailures: the failure that bounces; ignored when there are intervals.
    ///   - intervals: seconds; an empty list bounces at the first failure.
    package init(maxFailures: Int = 13, intervals: [Int]? = nil) {
        self.maxFailures = maxFailures
        self.intervals = intervals
    }

    /// Milliseconds to wait after the nth failure (n ≥ 1), or nil: bounce now.
    package func delay(afterFailures n: Int) -> Int64? {
        if let intervals {
            return n >= 1 && n <= intervals.count ? Int64(intervals[n - 1]) * 1000 : nil
        }
        guard n < maxFailures else { return nil }
        return Int64(1000) << Int64(min(max(n, 1) + 5, Self.longestPower))
    }

    /// Milliseconds to wait after the nth attempt (n ≥ 1) that did not reach the next hop, or nil: bounce now.
    ///
    /// Such an attempt is no failure, so the last interval goes on; only who wants no second attempt gets none.
    package func delay(afterUnreached n: Int) -> Int64? {
        if let intervals {
            return intervals.isEmpty ? nil : Int64(intervals[min(max(n, 1), intervals.count) - 1]) * 1000
        }
        guard maxFailures > 1 else { return nil }
        return Int64(1000) << Int64(min(max(n, 1) + 5, Self.longestUnreachedPower))
    }
}
