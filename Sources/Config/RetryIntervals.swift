// RetryIntervals.swift — the grammar of `temp_fail_intervals` (Haraka).

import Mail

/// `1m, 5m*2, 1h*3`: a delay per failure, `*n` repeats one; `none` bounces at the first failure.
enum RetryIntervals {
    /// More delays than this are a slip of the pen: a year of hourly attempts is 8760.
    static let most = 10_000

    /// One delay is at most a year.
    private static let longest = 31_536_000

    /// - Returns: the delays in seconds, expanded; empty for `none`; nil for an empty value, which asks for the default.
    static func parse(_ text: String) throws(ValueError) -> [Int]? {
        if text.isEmpty { return nil }
        if text.lowercasedASCII == "none" { return [] }
        var delays: [Int] = []
        for piece in text.split(octet: ",", omittingEmpty: false) {
            let parts = piece.split(octet: "*", omittingEmpty: false).map { String($0.trimmed) }
            guard parts.count <= 2, let first = parts.first, !first.isEmpty else {
                throw ValueError("\"\(ValueParsing.shown(piece))\" is not an interval such as 5m or 5m*2")
            }
            let delay = try ValueParsing.duration(first, 1...longest)
            let repeats = parts.count == 2 ? try ValueParsing.count(parts[1], 1...most) : 1
            guard delays.count + repeats <= most else { throw ValueError("more than \(most) intervals") }
            delays.append(contentsOf: repeatElement(delay, count: repeats))
        }
        return delays
    }

    /// The delays as ``parse(_:)`` reads them.
    static func text(_ delays: [Int]) -> String {
        guard let first = delays.first else { return "none" }
        var runs: [(delay: Int, count: Int)] = [(first, 0)]
        for delay in delays {
            if runs[runs.count - 1].delay == delay {
                runs[runs.count - 1].count += 1
            } else {
                runs.append((delay, 1))
            }
        }
        return runs.map { $0.count == 1 ? "\($0.delay)s" : "\($0.delay)s*\($0.count)" }.joined(separator: ", ")
    }
}
