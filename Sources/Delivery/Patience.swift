// Patience.swift — how long mail is tried: a number of failures where servers answer, an age where nobody does, or an age
// alone. Pure.

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
    /// `queue_lifetime`, in milliseconds; nil: answers of servers are given up by number.
    var lifetime: Int64?

    init() {}

    init(_ outbound: OutboundSettings) {
        retries = RetrySchedule(
            maxFailures: outbound.failureLimit,
            intervals: outbound.tempFailIntervals,
            goesOn: outbound.queueLifetime != nil
        )
        isUnreachableCounted = outbound.isUnreachableCounted
        unreachableMaxAge = Int64(outbound.unreachableAge) * 1000
        lifetime = outbound.queueLifetime.map { Int64($0) * 1000 }
    }

    /// Milliseconds until the next attempt of a parcel that was deferred now; nil: give up.
    ///
    /// An attempt that somebody asked for comes on top of the parcel's own: it never gives up, and leaves the next one of its
    /// own where it was, so that whoever asks every minute makes mail neither bounce sooner nor wait longer.
    func delay(_ parcel: Parcel, _ kind: Deferral.Kind, at wall: Timestamp, _ now: Uptime) -> Int64? {
        if let left = parcel.timeToOwn(at: now) { return left }
        let age = wall.milliseconds &- parcel.acceptedAt.milliseconds
        switch kind {
        case .failure, .asked:
            if let lifetime, age >= lifetime { return nil }
            return retries.delay(afterFailures: parcel.failures + 1)
        case .progress:
            // Those that were left over wait as they did before; without a delay to wait for they go again at once, and each
            // time there are fewer of them.
            return retries.delay(afterFailures: max(1, parcel.failures)) ?? 0
        case .outOfReach:
            guard age < unreachableMaxAge else { return nil }
            return retries.delay(afterUnreached: parcel.attempt)
        }
    }
}
