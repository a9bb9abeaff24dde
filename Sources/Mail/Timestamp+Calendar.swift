// Timestamp+Calendar.swift — days and hours in UTC, by the system's calendar.

import Glibc

extension Timestamp {
    /// Seconds since 1970 that have passed whole.
    package var wholeSeconds: Int64 {
        let (quotient, rest) = milliseconds.quotientAndRemainder(dividingBy: 1000)
        return rest < 0 ? quotient - 1 : quotient
    }

    /// The milliseconds that have passed since: 0…999.
    package var millisecondOfSecond: Int64 { milliseconds &- wholeSeconds &* 1000 }

    /// A date and a time of day in UTC.
    package struct Parts: Hashable, Sendable {
        package let year: Int
        /// From 1.
        package let month: Int
        /// From 1.
        package let day: Int
        /// From 0, which is a Sunday.
        package let weekday: Int
        package let hour: Int
        package let minute: Int
        package let second: Int
    }

    /// The date and the time of day in UTC.
    package var parts: Parts {
        var seconds = time_t(wholeSeconds)
        var parts = tm()
        // Every number of milliseconds is a year that fits.
        gmtime_r(&seconds, &parts)
        return Parts(
            year: Int(parts.tm_year) + 1900,
            month: Int(parts.tm_mon) + 1,
            day: Int(parts.tm_mday),
            weekday: Int(parts.tm_wday),
            hour: Int(parts.tm_hour),
            minute: Int(parts.tm_min),
            second: Int(parts.tm_sec)
        )
    }

    /// The beginning of a day; nil for days that do not exist.
    ///
    /// - Parameter month: from 1.
    package init?(year: Int64, month: Int64, day: Int64) {
        guard (0...9999).contains(year), (1...12).contains(month), (1...31).contains(day) else { return nil }
        var parts = tm()
        parts.tm_year = Int32(year - 1900)
        parts.tm_mon = Int32(month - 1)
        parts.tm_mday = Int32(day)
        let seconds = Int64(timegm(&parts))
        // A 31st of April has become the first of May.
        guard parts.tm_mon == Int32(month - 1), parts.tm_mday == Int32(day) else { return nil }
        self.init(milliseconds: seconds * 1000)
    }
}
