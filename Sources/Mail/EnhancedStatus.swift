// EnhancedStatus.swift — the three numbers that say why (RFC 3463).

/// `class.subject.detail`, for example `5.7.1`.
package struct EnhancedStatus: Hashable, Sendable, CustomStringConvertible {
    /// 2, 4 or 5.
    package let `class`: UInt8
    /// 0…999.
    package let subject: UInt16
    /// 0…999.
    package let detail: UInt16

    package init(_ class: UInt8, _ subject: UInt16, _ detail: UInt16) {
        self.class = `class`
        self.subject = subject
        self.detail = detail
    }

    package var description: String { "\(self.class).\(subject).\(detail)" }

    /// Its ``description``.
    package func write(to text: inout OctetWriter) {
        text.put(decimal: UInt(self.class))
        text.put(UInt8(ascii: "."))
        text.put(decimal: UInt(subject))
        text.put(UInt8(ascii: "."))
        text.put(decimal: UInt(detail))
    }

    /// The same subject and detail under another class: a permanent reason that we chose to retry, or the reverse.
    package func with(class: UInt8) -> EnhancedStatus { EnhancedStatus(`class`, subject, detail) }

    /// Reads `class.subject.detail` in front of other octets.
    ///
    /// - Returns: nil when there is none.
    package init?(leading text: Substring.UTF8View) {
        var rest = text
        func number(_ rest: inout Substring.UTF8View) -> UInt16? {
            let digits = rest.prefix { $0 &- UInt8(ascii: "0") <= 9 }
            guard (1...3).contains(digits.count) else { return nil }
            rest = rest[digits.endIndex...]
            return digits.reduce(0) { $0 * 10 + UInt16($1 - UInt8(ascii: "0")) }
        }
        func dot(_ rest: inout Substring.UTF8View) -> Bool { rest.popFirst() == UInt8(ascii: ".") }
        guard let first = number(&rest), [2, 4, 5].contains(first), dot(&rest), let subject = number(&rest), dot(&rest),
            let detail = number(&rest)
        else { return nil }
        self.init(UInt8(first), subject, detail)
    }
}
