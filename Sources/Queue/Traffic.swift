// Traffic.swift — how much mail came and went: totals since the start, and rates over the last minutes. A pure value.
//
// Every event costs the same, whatever the queue holds.

package import Mail

/// A count of events, with the rate at which they came lately.
package struct RateCounter: Sendable {
    private static let bucketLength: Int64 = 5000  // milliseconds
    private static let bucketCount = 181  // a quarter of an hour, and the bucket at work

    /// Events since the start.
    package private(set) var total = 0
    private var buckets: [UInt32] = Array(repeating: 0, count: Self.bucketCount)
    private var current: Int64 = 0

    package init() {}

    /// Counts events.
    package mutating func add(_ count: Int, at now: Uptime) {
        guard count > 0 else { return }
        total += count
        let bucket = now.milliseconds / Self.bucketLength
        if bucket > current { advance(to: bucket) }
        let place = Int(current % Int64(Self.bucketCount))
        buckets[place] = buckets[place].addingReportingOverflow(UInt32(clamping: count)).partialValue
    }

    private mutating func advance(to bucket: Int64) {
        let steps = min(bucket - current, Int64(Self.bucketCount))
        for step in 0..<steps { buckets[Int((bucket - step) % Int64(Self.bucketCount))] = 0 }
        current = bucket
    }

    /// Events per second over the last minutes.
    package func rate(minutes: Int, at now: Uptime) -> Double {
        let bucket = now.milliseconds / Self.bucketLength
        let wanted = Int64(min(max(1, minutes), 15)) * 60_000 / Self.bucketLength
        var sum = 0
        // The bucket at work counts in full: a rate must not look low because five seconds have just begun.
        for number in max(0, bucket - wanted + 1)...max(0, bucket) where number <= current {
            guard current - number < Int64(Self.bucketCount) else { continue }
            sum += Int(buckets[Int(number % Int64(Self.bucketCount))])
        }
        return Double(sum) / Double(wanted * Self.bucketLength / 1000)
    }
}

/// What happened to mail since the start.
package struct Traffic: Sendable {
    /// Messages.
    package var accepted = RateCounter()
    /// Recipients, as all that follow.
    package var delivered = RateCounter()
    package var deferred = RateCounter()
    package var bounced = RateCounter()
    /// Removed by an administrator.
    package var removed = RateCounter()
    /// When counting began.
    package private(set) var since = Uptime(milliseconds: 0)

    package init() {}

    mutating func begin(at now: Uptime) { since = now }

    mutating func count(delivered: Int, bounced: Int, deferred: Int, at now: Uptime) {
        self.delivered.add(delivered, at: now)
        self.bounced.add(bounced, at: now)
        self.deferred.add(deferred, at: now)
    }
}
