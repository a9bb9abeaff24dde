// MailDate.swift — dates as headers write them (RFC 5322 §3.3), always in UTC.

package import Mail

/// The text of a moment in a header.
package enum MailDate {
    /// `Sun, 22 Nov 2026 18:00:00 +0000`.
    ///
    /// - Source: RFC 5322 §3.3
    package static func text(_ time: Timestamp) -> String {
        let second = floorDivide(Int(clamping: time.milliseconds), 1000).quotient
        let (days, rest) = floorDivide(second, 86_400)
        let (year, month, day) = Timestamp.civil(Int64(days))
        // 1970-01-01 was a Thursday.
        let weekday = days &+ 4 - floorDivide(days &+ 4, 7).quotient * 7
        let clock = "\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60))"
        return "\(weekdays[weekday]), \(day) \(months[Int(month) - 1]) \(year) \(clock) +0000"
    }

    private static func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }

    private static func floorDivide(_ value: Int, _ by: Int) -> (quotient: Int, remainder: Int) {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: by)
        return remainder < 0 ? (quotient - 1, remainder + by) : (quotient, remainder)
    }

    private static let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
}
