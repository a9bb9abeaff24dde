// SecretBinding.swift — when a secret may stay with a route that was changed (G11). Pure.
//
// A secret was given for a host, a port, a protection, a user and, with OAuth, a token server. Whoever may edit routes but
// was never told the secret must not get it sent elsewhere, or sent so that others can read it.

import HTTPClient
package import Mail

/// What a secret of a host was given for.
package struct SecretBinding: Hashable, Sendable {
    /// What became another.
    package enum Change: String, Hashable, Sendable {
        case host, port, `protocol`, protection, user
        case mechanism = "auth_type"
        case tokenServer = "oauth_token_url"
    }

    private let mx: MX

    /// - Parameter mx: the host as it was when the secret was given.
    package init(_ mx: MX) { self.mx = mx }

    /// What stands against sending the secret to the same host as it is now.
    ///
    /// - Returns: nil when the secret may stay. More protection than before is no change.
    package func change(to other: MX) -> Change? {
        guard mx.exchange.isSame(octets: other.exchange) else { return .host }
        guard mx.port == other.port else { return .port }
        guard mx.usingLMTP == other.usingLMTP else { return .protocol }
        guard Self.protection(of: other) >= Self.protection(of: mx), !mx.implicitTLS || other.implicitTLS else {
            return .protection
        }
        // It never showed the password to anybody; the others do.
        if mx.auth?.mechanism == .cramMD5, other.auth?.mechanism != .cramMD5 { return .mechanism }
        guard let auth = mx.auth, let now = other.auth, auth.user.isSame(octets: now.user) else { return .user }
        switch (auth.proof, now.proof) {
        case (.grant(let grant), .grant(let new)):
            return Self.isSame(grant.tokenURL, new.tokenURL) ? nil : .tokenServer
        case (.password, .password): return nil
        case (.grant, .password), (.password, .grant): return .tokenServer
        }
    }

    /// A name in letters beyond ASCII is that of its A-labels, here as for hosts.
    private static func isSame(_ a: String, _ b: String) -> Bool {
        if a.isSame(octets: b) { return true }
        guard let a = try? WebURL(normalizing: a), let b = try? WebURL(normalizing: b) else { return false }
        return a.isSame(as: b)
    }

    /// The least protection there is: with a login, a host that does not say gets TLS when it offers it.
    private static func protection(of mx: MX) -> TLSLevel { max(mx.tls ?? .may, mx.implicitTLS ? .require : .off) }
}
