// LogClock.swift — the time at the front of a line, formatted once a second and patched in between (RFC 3339, UTC).

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

    private mutating func format(_ second: Int) {
        let (days, rest) = Self.floorDivide(second, 86_400)
        let (year, month, day) = Self.civil(fromDays: days)
        put(year / 100 % 100, at: 0)
        put(year % 100, at: 2)
        put(month, at: 5)
        put(day, at: 8)
        put(rest / 3600, at: 11)
        put(rest / 60 % 60, at: 14)
        put(rest % 60, at: 17)
        for (index, mark) in zip([4, 7, 10, 13, 16, 19, 23], "--T::.Z".utf8) { text[index] = mark }
    }

    private mutating func put(_ pair: Int, at index: Int) {
        text[index] = 0x30 &+ UInt8(truncatingIfNeeded: pair / 10)
        text[index + 1] = 0x30 &+ UInt8(truncatingIfNeeded: pair % 10)
    }

    private static func floorDivide(_ value: Int, _ by: Int) -> (Int, Int) {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: by)
        return remainder < 0 ? (quotient - 1, remainder + by) : (quotient, remainder)
    }

    /// The Gregorian date of a day counted from 1970-01-01, by eras of 400 years that begin on a first of March.
    private static func civil(fromDays days: Int) -> (year: Int, month: Int, day: Int) {
        let (era, dayOfEra) = floorDivide(days + 719_468, 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
    }
}
