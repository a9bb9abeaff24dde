// SenderConstraint.swift — may an authenticated client send under this envelope sender? Pure.

/// What binds the envelope sender to the login.
package enum SenderConstraint: Hashable, Sendable {
    /// Nothing does.
    case none
    /// A login `user@domain` sends as exactly that address.
    ///
    /// A login without a domain sends as any address with that local part, or, as Haraka has it, with that domain.
    case login
    /// The sender's domain is the login's: its part behind the @, or the whole login.
    case domain
    /// Addresses, and domains: any address there; each as ``pattern(_:)`` gives it.
    case only([String])

    /// An address or a domain in the form in which they are compared.
    ///
    /// - Returns: nil for what is neither.
    package static func pattern(_ text: String) -> String? {
        if let address = EmailAddress(text) {
            return "\(String(decoding: folded(address.local.utf8), as: UTF8.self))@\(address.domain.name)"
        }
        return Domain(text)?.name
    }

    private static func fits(_ local: [UInt8], _ domain: Domain, _ patterns: [String]) -> Bool {
        let address = folded(local) + [UInt8(ascii: "@")] + Array(domain.name.utf8)
        return patterns.contains { $0.utf8.elementsEqual(address) || $0.utf8.elementsEqual(domain.name.utf8) }
    }

    /// Whether a login may use a sender.
    ///
    /// The null sender is allowed: receipts and reports need it (RFC 5321 §4.5.5). Letters of ASCII compare without case,
    /// domains in their normal form.
    package func allows(_ sender: ReversePath, by login: String) -> Bool {
        guard case .address(let address) = sender, self != .none else { return true }
        let login = Array(login.utf8)
        let at = login.lastIndex(of: UInt8(ascii: "@"))
        let local = Self.folded(address.local.utf8)
        let domain = Array(address.domain.name.utf8)
        let loginDomain = Self.domain(login[(at.map { $0 + 1 } ?? 0)...])
        switch self {
        case .none: return true
        case .login:
            guard let at else { return local == Self.folded(login) || domain == loginDomain }
            return local == Self.folded(login[..<at]) && domain == loginDomain
        case .domain: return domain == loginDomain
        case .only(let patterns): return Self.fits(Array(address.local.utf8), address.domain, patterns)
        }
    }

    /// Whether a login may name an author in the message itself, which is what a signature speaks for.
    ///
    /// A signature speaks for a domain, so a login with one may name anybody there.
    package func allows(author local: [UInt8], at domain: Domain, by login: String) -> Bool {
        let login = Array(login.utf8)
        let at = login.lastIndex(of: UInt8(ascii: "@"))
        let isOwn = Array(domain.name.utf8) == Self.domain(login[(at.map { $0 + 1 } ?? 0)...])
        switch self {
        case .none: return true
        case .domain: return isOwn
        case .login: return isOwn || at == nil && Self.folded(local) == Self.folded(login)
        case .only(let patterns):
            return patterns.contains { pattern in
                let at = pattern.utf8.lastIndex(of: UInt8(ascii: "@"))
                return pattern.utf8[(at.map { pattern.utf8.index(after: $0) } ?? pattern.startIndex)...]
                    .elementsEqual(domain.name.utf8)
            }
        }
    }

    /// The octets of a domain in normal form, or what stands there as it is.
    private static func domain(_ text: ArraySlice<UInt8>) -> [UInt8] {
        let name = String(validating: text, as: UTF8.self).flatMap { Domain($0) }?.name
        return name.map { Array($0.utf8) } ?? Array(text)
    }

    private static func folded(_ text: some Sequence<UInt8>) -> [UInt8] {
        text.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
    }
}
