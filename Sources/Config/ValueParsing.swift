// ValueParsing.swift — how the text of a value becomes a number, a duration, a size or a truth.

import Mail

/// The kinds of values that INI keys have.
///
/// Pure; errors say what would have been right.
enum ValueParsing {
    /// Haraka's words for yes; their counterparts for no.
    ///
    /// Anything else is an error rather than a silent no.
    static func boolean(_ text: String) throws(ValueError) -> Bool {
        switch text.lowercasedASCII {
        case "true", "yes", "on", "ok", "enabled", "1": return true
        case "false", "no", "off", "disabled", "0", "": return false
        default: throw ValueError("\"\(shown(text))\" is neither true nor false")
        }
    }

    /// A plain decimal number within a range.
    static func count(_ text: String, _ range: ClosedRange<Int>) throws(ValueError) -> Int {
        guard let number = digits(text), range.contains(number) else {
            throw ValueError(
                "\"\(shown(text))\" is not a number from \(range.lowerBound) to \(range.upperBound)"
            )
        }
        return number
    }

    /// Seconds: `30`, `30s`, `5m`, `1h`, `2d`.
    static func duration(_ text: String, _ range: ClosedRange<Int>) throws(ValueError) -> Int {
        let factors: [Unicode.Scalar: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let seconds = scaled(text, by: factors) else {
            throw ValueError("\"\(shown(text))\" is not a duration such as 30, 30s, 5m, 1h or 2d")
        }
        guard range.contains(seconds) else {
            throw ValueError(
                "\"\(shown(text))\" is outside of \(range.lowerBound) to \(range.upperBound) seconds"
            )
        }
        return seconds
    }

    /// Bytes: `65536`, `64K`, `64M`, `2G`.
    static func byteSize(_ text: String, _ range: ClosedRange<Int>) throws(ValueError) -> Int {
        guard let size = scaled(text, by: ["k": 1 << 10, "m": 1 << 20, "g": 1 << 30]) else {
            throw ValueError("\"\(shown(text))\" is not a size such as 65536, 64K, 64M or 2G")
        }
        guard range.contains(size) else {
            throw ValueError("\"\(shown(text))\" is outside of \(range.lowerBound) to \(range.upperBound) bytes")
        }
        return size
    }

    /// Decimal digits and nothing else; nil also for what does not fit.
    static func digits(_ text: some StringProtocol) -> Int? {
        guard (1...18).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int(text)
    }

    /// The pieces of a list separated by commas, blanks or both.
    static func list(_ text: String) -> [Substring] {
        text.split(octet: ",").flatMap(\.words)
    }

    /// A value as it may stand in a log line: without control characters, and short.
    static func shown(_ text: some StringProtocol) -> String {
        let clean = text.unicodeScalars.prefix(80).map { $0.value < 0x20 || $0.value == 0x7F ? "?" : Character($0) }
        return String(clean) + (text.unicodeScalars.count > 80 ? "…" : "")
    }

    private static func scaled(_ text: String, by factors: [Unicode.Scalar: Int]) -> Int? {
        if let plain = digits(text) { return plain }
        guard let last = text.utf8.last, let factor = factors[Unicode.Scalar(last | 0x20)] else { return nil }
        guard let number = digits(Substring(text.utf8.dropLast())) else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: factor)
        return overflow ? nil : product
    }
}
