// Rate.swift — so many in a time, smoothed: the generic cell rate algorithm, and a count over a day. Pure: time is passed in.
//
// Guarantee: over any window the count is at most rate × window + burst; over any 24 hours it is at most what a day may have.

/// So many in a time.
package struct Rate: Hashable, Sendable {
    /// Events.
    package let count: Int
    /// In so many milliseconds.
    package let period: Int64
    /// Events that may come together where none came for a while, one at least.
    package let burst: Int

    /// - Parameter burst: nil: what half a second holds, so that a late timer costs nothing; one at least.
    package init?(_ count: Int, per period: Int64, burst: Int? = nil) {
        guard (1...1_000_000_000).contains(count), (1...86_400_000).contains(period) else { return nil }
        let usual = max(1, Int(Int64(count) * 500 / period))
        guard (1...1_000_000_000).contains(burst ?? usual), period * 1000 >= Int64(count) else { return nil }
        self.count = count
        self.period = period
        self.burst = burst ?? usual
    }

    /// Microseconds from one event to the next, rounded up so that the rate is never passed.
    package var interval: Int64 { (period * 1000 + Int64(count) - 1) / Int64(count) }

    /// As a file has it: `20/m`.
    package var description: String {
        let unit: String
        switch period {
        case 1000: unit = "s"
        case 60_000: unit = "m"
        case 3_600_000: unit = "h"
        case 86_400_000: unit = "d"
        default: unit = "\(period / 1000)s"
        }
        let usual = Rate(count, per: period)?.burst
        return burst == usual ? "\(count)/\(unit)" : "\(count)/\(unit) burst \(burst)"
    }
}

extension Rate: CustomStringConvertible {}

/// How far a rate is used: the theoretical arrival time of the next event.
package struct Pace: Hashable, Sendable {
    /// In microseconds of the uptime; 0: nothing came yet.
    package var arrival: Int64

    package init(arrival: Int64 = 0) { self.arrival = arrival }

    /// When one more event may come; nil: now.
    package func opens(_ rate: Rate, at now: Uptime) -> Uptime? {
        let earliest = arrival - Int64(rate.burst - 1) * rate.interval
        guard earliest > now.milliseconds * 1000 else { return nil }
        return Uptime(milliseconds: (earliest + 999) / 1000)
    }

    /// How many may come now.
    package func room(_ rate: Rate, at now: Uptime) -> Int {
        let ahead = arrival - now.milliseconds * 1000
        guard ahead > 0 else { return rate.burst }
        return max(0, rate.burst - Int((ahead + rate.interval - 1) / rate.interval))
    }

    /// One event came.
    package mutating func take(_ rate: Rate, at now: Uptime) {
        arrival = max(arrival, now.milliseconds * 1000) + rate.interval
    }

    /// As full as it can be: what is believed of a time that nobody remembers.
    package mutating func fill(_ rate: Rate, at now: Uptime) {
        arrival = max(arrival, now.milliseconds * 1000 + Int64(rate.burst) * rate.interval)
    }
}

/// What the last day had, hour by hour.
///
/// The hour that is running and the 24 before it count, so that no 24 hours hold more than a day may have.
package struct DayCount: Hashable, Sendable {
    private static let hours = 25
    private static let hour: Int64 = 3_600_000

    /// The newest last; empty while nothing came.
    package private(set) var counts: [Int] = []
    /// The hour of the last of them, counted from 1970.
    package private(set) var newest: Int64 = 0

    package init() {}

    /// As it was written down.
    package init(_ counts: [Int], newest: Int64) {
        self.counts = counts.suffix(Self.hours).map { min(max(0, $0), 1 << 40) }
        self.newest = newest
    }

    /// Events of the last 24 hours.
    package func total(at wall: Timestamp) -> Int {
        let gone = max(0, wall.milliseconds / Self.hour - newest)
        guard gone < Int64(Self.hours) else { return 0 }
        return counts.suffix(max(0, Self.hours - Int(gone))).reduce(0, +)
    }

    /// When one more event may come; nil: now.
    package func opens(_ most: Int, at wall: Timestamp) -> Timestamp? {
        guard total(at: wall) >= most else { return nil }
        let hour = wall.milliseconds / Self.hour
        for later in 1...Int64(Self.hours) {
            let time = Timestamp(milliseconds: (hour + later) * Self.hour)
            if total(at: time) < most { return time }
        }
        return Timestamp(milliseconds: (hour + Int64(Self.hours)) * Self.hour)
    }

    /// Events came.
    package mutating func add(_ count: Int, at wall: Timestamp) {
        let hour = wall.milliseconds / Self.hour
        if counts.isEmpty || hour - newest >= Int64(Self.hours) {
            (counts, newest) = ([0], hour)
        } else if hour > newest {
            counts += Array(repeating: 0, count: Int(hour - newest))
            counts = Array(counts.suffix(Self.hours))
            newest = hour
        }
        counts[counts.count - 1] += count
    }
}
