// Rate.swift — so many in a time, smoothed: the generic cell rate algorithm, and a count over a window. Pure: time is passed in.
//
// Guarantee: over any window the count is at most rate × window + burst; a counted window never holds more than it may.

/// So many in a time.
package struct Rate: Hashable, Sendable {
    /// Events.
    package let count: Int
    /// In so many milliseconds.
    package let period: Int64
    /// Events that may come together where none came for a while, one at least.
    package let burst: Int
    /// What it is of the whole that was said: so many parts of so many.
    private var parts = 1
    private var whole = 1

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
    package var interval: Int64 {
        let (time, events) = (period * 1000 * Int64(whole), Int64(count) * Int64(parts))
        return (time + events - 1) / events
    }

    /// A part of it: that much slower, with that much of the burst, one at least.
    ///
    /// Parts that are together no more than the whole never pass it, as long as each may have one event of the burst.
    /// - Parameters:
    ///   - parts: at least one.
    ///   - whole: at most a million.
    package func part(_ parts: Int, of whole: Int) -> Rate {
        let parts = min(max(1, parts), whole)
        return Rate(part: parts, of: min(whole, 1_000_000), self)
    }

    private init(part parts: Int, of whole: Int, _ rate: Rate) {
        (count, period, burst) = (rate.count, rate.period, max(1, rate.burst * parts / whole))
        (self.parts, self.whole) = (parts, whole)
    }

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

/// How many came in the last while, slice by slice.
///
/// The slice that is running and the 24 before it count, so that no stretch of time as long as the window holds more than it may.
package struct WindowCount: Hashable, Sendable {
    /// The window of a day: slices are hours.
    package static let day: Int64 = 86_400_000
    private static let slices = 25

    /// The newest last; empty while nothing came.
    package private(set) var counts: [Int] = []
    /// The slice of the last of them, counted from 1970.
    package private(set) var newest: Int64 = 0
    /// Milliseconds of one, rounded up so that all of them are never shorter than the window.
    private let slice: Int64

    /// - Parameter window: milliseconds.
    package init(window: Int64 = day) { slice = max(1, (window + Int64(Self.slices) - 2) / Int64(Self.slices - 1)) }

    /// As it was written down.
    ///
    /// - Parameters:
    ///   - newest: the slice of the last count.
    ///   - window: milliseconds.
    package init(_ counts: [Int], newest: Int64, window: Int64 = day) {
        self.init(window: window)
        self.counts = counts.suffix(Self.slices).map { min(max(0, $0), 1 << 40) }
        self.newest = newest
    }

    /// What came in the window that ends now.
    package func total(at wall: Timestamp) -> Int {
        let gone = max(0, wall.milliseconds / slice - newest)
        guard gone < Int64(Self.slices) else { return 0 }
        return counts.suffix(max(0, Self.slices - Int(gone))).reduce(0, +)
    }

    /// When so many more may come; nil: now.
    ///
    /// More than there may be at all never may; the time that is told is then that of an empty window.
    package func opens(_ most: Int, for more: Int = 1, at wall: Timestamp) -> Timestamp? {
        guard total(at: wall) > most - more else { return nil }
        let now = wall.milliseconds / slice
        for later in 1...Int64(Self.slices) {
            let time = Timestamp(milliseconds: (now + later) * slice)
            if total(at: time) <= most - more { return time }
        }
        return Timestamp(milliseconds: (now + Int64(Self.slices)) * slice)
    }

    /// When slices fall out of the window, until none that is there now is left.
    package func changes(after wall: Timestamp) -> [Timestamp] {
        let now = wall.milliseconds / slice
        return (1...Int64(Self.slices)).map { Timestamp(milliseconds: (now + $0) * slice) }
    }

    /// Some came; or fewer than was said before, where the number is negative.
    package mutating func add(_ count: Int, at wall: Timestamp) {
        let now = wall.milliseconds / slice
        if counts.isEmpty || now - newest >= Int64(Self.slices) {
            (counts, newest) = ([0], now)
        } else if now > newest {
            counts += Array(repeating: 0, count: Int(now - newest))
            counts = Array(counts.suffix(Self.slices))
            newest = now
        }
        counts[counts.count - 1] = max(0, counts[counts.count - 1] + count)
    }

    /// Written under a clock that was ahead: it counts from now.
    package mutating func clamp(to wall: Timestamp) { newest = min(newest, wall.milliseconds / slice) }
}
