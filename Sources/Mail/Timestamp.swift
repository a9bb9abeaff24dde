// Timestamp.swift — wall-clock time, for what people and other machines read: headers, logs, records on disk.
// Timers never use it, because the wall clock jumps; they use ``Uptime``.

import Glibc

/// Milliseconds since 1970-01-01T00:00:00Z.
package struct Timestamp: Hashable, Comparable, Sendable {
    package let milliseconds: Int64

    package init(milliseconds: Int64) { self.milliseconds = milliseconds }

    /// The wall clock now.
    ///
    /// Only wiring, doors and the writer call it; policy gets time passed in.
    package static func now() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    package static func < (a: Timestamp, b: Timestamp) -> Bool { a.milliseconds < b.milliseconds }

    /// This time moved by a number of milliseconds, which may be negative.
    package func adding(milliseconds count: Int64) -> Timestamp { Timestamp(milliseconds: milliseconds &+ count) }
}

/// Milliseconds of a clock that never jumps (CLOCK_BOOTTIME): deadlines, retry timers, rests.
///
/// A value means nothing to another boot of the machine; what is stored on disk is a ``Timestamp``.
package struct Uptime: Hashable, Comparable, Sendable {
    package let milliseconds: Int64

    package init(milliseconds: Int64) { self.milliseconds = milliseconds }

    /// The clock now, suspended time included.
    package static func now() -> Uptime {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return Uptime(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    package static func < (a: Uptime, b: Uptime) -> Bool { a.milliseconds < b.milliseconds }

    /// This time moved by a number of milliseconds, which may be negative.
    package func adding(milliseconds count: Int64) -> Uptime { Uptime(milliseconds: milliseconds &+ count) }
}
