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

    /// The same subject and detail under another class: a permanent reason that we chose to retry, or the reverse.
    package func with(class: UInt8) -> EnhancedStatus { EnhancedStatus(`class`, subject, detail) }
}
