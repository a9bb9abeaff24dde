// LogClock.swift — the time at the front of a line, formatted once a second and patched in between (RFC 3339, UTC).

import Glibc

/// The text of a moment, for example `2026-11-22T18:00:00.123Z`.
///
/// Keeps the text of the current second, because a busy relay writes thousands of
/// lines in one.
struct LogClock {
    /// Bytes of the text.
    static let width = 24

    private var second = Int.min
    private var text = [UInt8](repeating: 0x30, count: LogClock.width)

    /// Writes ``width`` bytes at the front of `target`.
    ///
    /// - Parameters:
    ///   - second: since 1970, UTC.
    ///   - millisecond: 0…999.
    ///   - target: the gap in the line.
    mutating func write(second: Int, millisecond: Int, to target: UnsafeMutableRawBufferPointer) {
        if second != self.second {
            self.second = second
            format(second)
        }
        text[20] = 0x30 &+ UInt8(truncatingIfNeeded: millisecond / 100)
        text[21] = 0x30 &+ UInt8(truncatingIfNeeded: millisecond / 10 % 10)
        text[22] = 0x30 &+ UInt8(truncatingIfNeeded: millisecond % 10)
        target.copyBytes(from: text)
    }

    /// The calendar is the system's, here as in `Mail`, which this room does not know.
    private mutating func format(_ second: Int) {
        var time = time_t(second)
        var parts = tm()
        gmtime_r(&time, &parts)
        let year = Int(parts.tm_year) + 1900
        put(year / 100 % 100, at: 0)
        put(year % 100, at: 2)
        put(Int(parts.tm_mon) + 1, at: 5)
        put(Int(parts.tm_mday), at: 8)
        put(Int(parts.tm_hour), at: 11)
        put(Int(parts.tm_min), at: 14)
        put(Int(parts.tm_sec), at: 17)
        for (index, mark) in zip([4, 7, 10, 13, 16, 19, 23], "--T::.Z".utf8) { text[index] = mark }
    }

    private mutating func put(_ pair: Int, at index: Int) {
        text[index] = 0x30 &+ UInt8(truncatingIfNeeded: pair / 10)
        text[index + 1] = 0x30 &+ UInt8(truncatingIfNeeded: pair % 10)
    }
}
