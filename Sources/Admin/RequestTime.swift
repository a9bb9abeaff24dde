// RequestTime.swift — times that clients name: when mail is to go, when a hold is to end.

import Mail

/// Times of requests.
enum RequestTime {
    /// How far ahead a time may be, milliseconds.
    private static let longestWait: Int64 = 366 * 86_400_000

    /// - Returns: nil when there is none.
    /// - Throws: for what is no time, or too far ahead.
    static func read(_ text: String?, _ pointer: String) throws(Problem) -> Timestamp? {
        guard let text else { return nil }
        guard let time = Timestamp(rfc3339: text) else {
            throw Problem.invalid(pointer, "format", "is no time such as 2027-01-31T12:00:00Z")
        }
        guard time.milliseconds - Timestamp.now().milliseconds <= longestWait else {
            throw Problem.invalid(pointer, "range", "is more than a year ahead")
        }
        return time
    }

    /// The same, and it must be ahead.
    static func upcoming(_ text: String?, _ pointer: String) throws(Problem) -> Timestamp? {
        let time = try read(text, pointer)
        if let time, time <= .now() { throw Problem.invalid(pointer, "range", "is over") }
        return time
    }
}
