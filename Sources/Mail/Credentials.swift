// Credentials.swift — who we are towards a next hop, and what to do when it does not ask.

/// A login at a next hop: `auth_user`, `auth_pass`, `auth_type` of the source document, and OAuth.
package struct Credentials: Hashable, Sendable {
    /// A SASL mechanism we speak.
    package enum Mechanism: String, Hashable, Sendable, CaseIterable {
        case plain = "PLAIN"
        case login = "LOGIN"
        case cramMD5 = "CRAM-MD5"
        case xoauth2 = "XOAUTH2"
        case oauthBearer = "OAUTHBEARER"

        /// Reads `auth_type`, in any case of letters.
        package init?(name: some StringProtocol) { self.init(rawValue: name.uppercasedASCII) }

        /// The secret is an access token and no password.
        package var takesToken: Bool { self == .xoauth2 || self == .oauthBearer }

        /// Whoever reads along learns the secret.
        package var needsPrivacy: Bool { self != .cramMD5 }
    }

    /// What proves that we are who we say.
    package enum Proof: Hashable, Sendable {
        /// A password; with ``Mechanism/takesToken`` a fixed access token.
        case password(Secret)
        /// Access tokens are fetched with this and renewed.
        indirect case grant(OAuthGrant)
    }

    package var user: String
    package var proof: Proof
    /// The only mechanism to use; nil: the best that both know.
    package var mechanism: Mechanism?

    /// Those that may be used, best first.
    package var mechanisms: [Mechanism] {
        if let mechanism { return [mechanism] }
        switch proof {
        case .password: return [.plain, .login, .cramMD5]
        case .grant: return [.xoauth2, .oauthBearer]
        }
    }

    package init(user: String, proof: Proof, mechanism: Mechanism? = nil) {
        self.user = user
        self.proof = proof
        self.mechanism = mechanism
    }

    package init(user: String, password: String, mechanism: Mechanism? = nil) {
        self.init(user: user, proof: .password(Secret(password)), mechanism: mechanism)
    }
}

/// What it takes to get an access token (RFC 6749 §6, §4.4): the `oauth_…` keys of `routes.ini`.
package struct OAuthGrant: Hashable, Sendable {
    /// `oauth_token_url`: where tokens are given out; `https` unless it is on loopback.
    package var tokenURL: String
    /// `oauth_client_id`.
    package var clientID: String
    /// `oauth_client_secret`; nil for a public client.
    package var clientSecret: Secret?
    /// `oauth_refresh_token`; nil: the application asks for itself, with its client secret (RFC 6749 §4.4).
    package var refreshToken: Secret?
    /// `oauth_scope`; nil sends none.
    package var scope: String?

    package init(
        tokenURL: String,
        clientID: String,
        clientSecret: Secret? = nil,
        refreshToken: Secret?,
        scope: String? = nil
    ) {
        self.tokenURL = tokenURL
        self.clientID = clientID
        self.clientSecret = clientSecret
        self.refreshToken = refreshToken
        self.scope = scope
    }
}

/// `on_auth_unavailable`: what to do when a next hop offers no AUTH, or no mechanism that we know.
package enum AuthFallback: String, Hashable, Sendable, CaseIterable {
    /// The rule of the source document: send without AUTH, and warn.
    case sendWithout = "send_without"
    case `defer`
    case bounce
}
