// RenewalWindow.swift — when the authority wants a certificate renewed (ACME Renewal Information, RFC 9773). Pure.

import JSON
import Mail

/// A time in which a certificate should be renewed.
package struct RenewalWindow: Hashable, Sendable {
    /// Seconds since 1970.
    package let begin, end: Int

    package init(begin: Int, end: Int) { (self.begin, self.end) = (begin, end) }

    /// Reads an answer; nil for one that makes no sense.
    ///
    /// - Source: RFC 9773 §4.2
    init?(_ value: JSON?) {
        guard let window = value?["suggestedWindow"],
            let begin = window["start"]?.string.flatMap({ Timestamp(rfc3339: $0) }),
            let end = window["end"]?.string.flatMap({ Timestamp(rfc3339: $0) }), begin < end
        else { return nil }
        self.init(begin: Int(begin.milliseconds / 1000), end: Int(end.milliseconds / 1000))
    }

    /// A moment in it, so that not everybody comes at once.
    ///
    /// - Parameter seed: tells one certificate from another, 0…255.
    func moment(_ seed: UInt8) -> Int {
        let (product, isTooMuch) = (end - begin).multipliedReportingOverflow(by: Int(seed))
        return begin + (isTooMuch ? 0 : product / 256)
    }

    /// What the authority calls a certificate.
    ///
    /// - Source: RFC 9773 §4.1
    package static func name(authority: [UInt8], serial: [UInt8]) -> String {
        "\(Base64.urlEncode(authority)).\(Base64.urlEncode(serial))"
    }
}
