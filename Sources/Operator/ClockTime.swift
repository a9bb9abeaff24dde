// ClockTime.swift — times of the API as seconds, and a pause between two questions.

import Glibc
import Mail

/// Times on the wall clock.
enum ClockTime {
    /// Seconds since 1970.
    static func now() -> Int { time(nil) }

    /// Seconds since 1970 of an RFC 3339 time in UTC; nil for anything else.
    static func second(_ text: String) -> Int? {
        Timestamp(rfc3339: text).map { Int($0.milliseconds / 1000) }
    }

    /// Blocks this thread.
    static func pause(milliseconds: Int) {
        var span = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
        nanosleep(&span, nil)
    }
}
