// MailDate.swift — dates as headers write them (RFC 5322 §3.3), always in UTC.

package import Mail

/// The text of a moment in a header.
package enum MailDate {
    /// `Sun, 22 Nov 2026 18:00:00 +0000`.
    ///
    /// - Source: RFC 5322 §3.3
    package static func text(_ time: Timestamp) -> String {
        let date = time.parts
        let clock = "\(two(date.hour)):\(two(date.minute)):\(two(date.second))"
        let day =
            "\(weekdays[date.weekday]), \(date.day) \(months[date.month - 1]) \(date.year)"
        return "\(day) \(clock) +0000"
    }

    private static func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }

    private static let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
}
