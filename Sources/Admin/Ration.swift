// Ration.swift — a share of a processor for work that nobody waits for: what it takes is measured, and more of it waits until
// its share of the time has passed.
//
// Guarantees: over any long time the work takes its share at most, whoever asks and however often; after a calm a little
// more at once.

import Glibc
import Mail

/// What some kind of work may still take.
struct Ration: Sendable {
    /// One part in so many of a processor's time.
    static let part: Int64 = 50
    /// Nanoseconds of work that a calm saves up.
    static let most: Int64 = 250_000_000

    private let most: Int64
    private var left: Int64
    private var at: Uptime

    init(most: Int64 = Ration.most, at now: Uptime = .now()) {
        (self.most, left, at) = (most, most, now)
    }

    /// Whether work may begin now.
    mutating func allows(at now: Uptime) -> Bool {
        let passed = max(0, now.milliseconds - at.milliseconds)
        at = now
        // Beyond the time that fills it there is nothing to count, and nothing to overflow.
        let isFull = passed > (most - left) / 1_000_000 * Self.part + Self.part
        left = isFull ? most : min(most, left + passed * 1_000_000 / Self.part)
        return left > 0
    }

    /// Work was done.
    ///
    /// - Parameter nanoseconds: of a processor.
    mutating func spend(_ nanoseconds: Int64) { left -= nanoseconds }

    /// Nanoseconds of a processor that this thread has had.
    static var used: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
