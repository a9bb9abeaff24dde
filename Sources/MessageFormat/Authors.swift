// Authors.swift — who a message says it is from: the mailboxes of its From field (RFC 5322 §3.4, §3.6.2).
//
// It decides whose key signs, and whether a login may say so. ``AddressList`` reads the field; what is no address stays
// visible as such, so that nobody takes it for one that is allowed.

package import Mail

/// A mailbox of a `From` field, as far as it decides anything.
package struct Author: Hashable, Sendable {
    /// As it stands in an address, quotes included; empty when it is none.
    package let local: [UInt8]
    package let domain: Domain
}

/// The authors of a message.
package struct Authors: Hashable, Sendable {
    /// In order; nil for something that is no address, at the end for what could not be read at all.
    package let mailboxes: [Author?]
    /// `From` fields; one is right.
    package let fieldCount: Int

    /// Reads them from a header.
    package init(of header: [UInt8]) {
        let from = HeaderFields(header).fields.filter { $0.name == "from" }
        fieldCount = from.count
        mailboxes = from.flatMap { Self.mailboxes($0.value) }
    }

    /// The domain whose key signs: that of the only `From` field; of several mailboxes, the first counts.
    ///
    /// Nil when there is no such field, more than one, or no domain in it.
    package var signingDomain: Domain? { fieldCount == 1 ? mailboxes.first?.map(\.domain) : nil }

    private static func mailboxes(_ text: ArraySlice<UInt8>) -> [Author?] {
        let list = AddressList(text)
        var found: [Author?] = []
        for (index, entry) in list.entries.enumerated() {
            if let domain = entry.domain {
                found.append(Author(local: Array((entry.local ?? "").utf8), domain: domain))
            } else if entry.isBracketed || index == list.entries.count - 1 {
                found.append(nil)
            }
            // Else it is a name with a comma and without quotes: `Doe, John <john@example.org>`.
        }
        return list.fault == nil ? found : found + [nil]
    }
}
