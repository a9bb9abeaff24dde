// AddressFilter.swift — whom somebody means who looks for mail: the queue, events and history search by the same words.

/// Whom a message is from or for.
package enum AddressFilter: Hashable, Sendable {
    case address(EmailAddress)
    /// `*@example.com`
    case domain(Domain)
    /// The null sender.
    case null
}
