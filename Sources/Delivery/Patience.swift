// Patience.swift — how long mail is tried: a number of failures where servers answer, an age where nobody does. Pure.

import Config
import Mail
import Queue

/// What `outbound.ini` says of giving up.
struct Patience: Sendable {
    /// `maxTempFailures`, `temp_fail_intervals`.
    var retries = RetrySchedule()
    /// `unreachable_counts`: an attempt that reaches nobody is a failure like any other.
    var isUnreachableCounted = false
    /// `unreachable_max_age`, in milliseconds.
    var unreachableMaxAge: Int64 = 432_000_000

    init() {}

    init(_ outbound: OutboundSettings) {
        retries = RetrySchedule(maxFailures: outbound.maxTempFailures, intervals: outbound.tempFailIntervals)
        isUnreachableCounted = outbound.isUnreachableCounted
        unreachableMaxAge = Int64(outbound.unreachableMaxAge) * 1000
    }

    /// Milliseconds until the next attempt of a parcel that was deferred now; nil: give up.
    func delay(_ parcel: Parcel, _ kind: Deferral.Kind, at wall: Timestamp) -> Int64? {
        switch kind {
        case .failure, .asked: return retries.delay(afterFailures: parcel.failures + 1)
        case .progress:
            // Those that were left over wait as they did before; without a delay to wait for they go again at once, and each
            // time there are fewer of them.
            return retries.delay(afterFailures: max(1, parcel.failures)) ?? 0
        case .outOfReach:
            guard wall.milliseconds &- parcel.acceptedAt.milliseconds < unreachableMaxAge else { return nil }
            return retries.delay(afterUnreached: parcel.attempt)
        }
    }
}
