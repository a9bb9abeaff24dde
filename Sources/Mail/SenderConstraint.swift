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

    /// Whether a login may use a sender.
    ///
    /// The null sender is allowed: receipts and reports need it (RFC 5321 §4.5.5). Letters of ASCII compare without case.
    package func allows(_ sender: ReversePath, by login: String) -> Bool {
        guard case .address(let address) = sender, self != .none else { return true }
        let login = Self.folded(login)
        let at = login.lastIndex(of: UInt8(ascii: "@"))
        let local = Self.folded(address.local)
        let domain = Self.folded(address.domain.name)
        let loginDomain = at.map { Array(login[($0 + 1)...]) } ?? login
        switch self {
        case .none: return true
        case .login:
            guard let at else { return local == login || domain == login }
            return local == Array(login[..<at]) && domain == loginDomain
        case .domain: return domain == loginDomain
        }
    }

    /// Whether a login may name an author in the message itself, which is what a signature speaks for.
    ///
    /// A signature speaks for a domain, so a login with one may name anybody there.
    package func allows(author local: [UInt8], at domain: Domain, by login: String) -> Bool {
        let text = Self.folded(login)
        let at = text.lastIndex(of: UInt8(ascii: "@"))
        let own = Domain(String(decoding: at.map { text[($0 + 1)...] } ?? text[...], as: UTF8.self))
        switch self {
        case .none: return true
        case .domain: return domain == own
        case .login: return domain == own || at == nil && Self.folded(local) == text
        }
    }

    private static func folded(_ text: String) -> [UInt8] { folded(Array(text.utf8)) }

    private static func folded(_ text: [UInt8]) -> [UInt8] {
        text.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
    }
}
