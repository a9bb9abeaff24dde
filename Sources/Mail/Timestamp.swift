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

    /// This time moved by a number of milliseconds, which may be negative; at most to the end of what can be counted.
    package func adding(milliseconds count: Int64) -> Timestamp {
        Timestamp(milliseconds: milliseconds.addingWithoutTrap(count))
    }

    /// Milliseconds from another time to this one; at most as many as can be counted.
    package func milliseconds(since other: Timestamp) -> Int64 {
        milliseconds.subtractingWithoutTrap(other.milliseconds)
    }

    /// From 1970 to the end of the year 9999, the last that RFC 3339 can write: what a file of ours may say.
    package static let storable: ClosedRange<Timestamp> =
        Timestamp(milliseconds: 0)...Timestamp(milliseconds: 253_402_300_799_999)

    /// This time, or the end of ``storable`` that is nearest.
    package var clamped: Timestamp { min(max(self, Self.storable.lowerBound), Self.storable.upperBound) }
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

    /// This time moved by a number of milliseconds, which may be negative; at most to the end of what can be counted.
    package func adding(milliseconds count: Int64) -> Uptime {
        Uptime(milliseconds: milliseconds.addingWithoutTrap(count))
    }

    /// Milliseconds from another time to this one; at most as many as can be counted.
    package func milliseconds(since other: Uptime) -> Int64 { milliseconds.subtractingWithoutTrap(other.milliseconds) }
}

/// Times come from files and from other machines too: whatever they say, calculating with them must not trap.
extension Int64 {
    fileprivate func addingWithoutTrap(_ other: Int64) -> Int64 {
        let (sum, isBeyond) = addingReportingOverflow(other)
        return isBeyond ? (other < 0 ? .min : .max) : sum
    }

    fileprivate func subtractingWithoutTrap(_ other: Int64) -> Int64 {
        let (difference, isBeyond) = subtractingReportingOverflow(other)
        return isBeyond ? (self < 0 ? .min : .max) : difference
    }
}
