// TLSARecord.swift — which certificate a host should have, as its DNS says.

/// A TLSA record.
///
/// - Source: RFC 6698 §2.1
package struct TLSARecord: Hashable, Sendable {
    package let usage: UInt8
    package let selector: UInt8
    package let matching: UInt8
    package let data: [UInt8]

    /// Stands for a record that is no proper one: of no known usage, so it never matches and still counts as a record.
    package static let unreadable = TLSARecord(usage: 255, selector: 255, matching: 255, data: [])

    package init(usage: UInt8, selector: UInt8, matching: UInt8, data: [UInt8]) {
        self.usage = usage
        self.selector = selector
        self.matching = matching
        self.data = data
    }
}
