// AddressChange.swift — what becomes of an address that a rule names.

/// What becomes of an address.
package enum AddressChange: Hashable, Sendable {
    /// Another one in its place.
    case address(EmailAddress)
    /// Its domain alone: the local part stays as it is written.
    case domain(Domain)

    /// The whole new address.
    package func applied(to address: EmailAddress) -> EmailAddress {
        switch self {
        case .address(let other): other
        case .domain(let domain): EmailAddress(local: address.local, domain: domain)
        }
    }
}
