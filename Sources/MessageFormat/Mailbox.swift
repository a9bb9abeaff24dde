// Mailbox.swift — an address with a name, as people write it in From and To.

package import Mail

/// `Ann Author <ann@example.org>`, `"Author, Ann" <ann@example.org>` or `ann@example.org`.
package struct Mailbox: Hashable, Sendable {
    /// Decoded; empty when there is none.
    package let name: String
    package let address: EmailAddress

    package init(name: String = "", address: EmailAddress) {
        self.name = name
        self.address = address
    }

    /// Reads one mailbox.
    ///
    /// - Parameter here: completes an address without a domain; nil: it is none.
    /// - Returns: nil when there is no valid address, or something else than one.
    package init?(_ text: some StringProtocol, on here: Domain? = nil) {
        let list = AddressList(one: text.utf8)
        guard list.fault == nil, list.entries.count == 1, let entry = list.entries.first,
            let address = entry.address(on: here)
        else { return nil }
        self.init(name: entry.name, address: address)
    }

    /// As it stands in a header field.
    ///
    /// - Source: RFC 5322 §3.4, RFC 2047 §5
    var field: String { name.isEmpty ? "\(address)" : "\(EncodedWords.phrase(name)) <\(address)>" }
}
