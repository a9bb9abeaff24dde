// RouteProperty.swift — the words that say how to talk to a host: on its `mx` line, for a whole section, in the API.

package import Mail

/// Whether mail can leave from an address.
package typealias LocalAddressCheck = @Sendable (IPAddress) -> Bool

/// A property of an MX, in the source document's names and ours.
package enum RouteProperty: String, Hashable, Sendable, CaseIterable {
    case port, priority, bind
    case bindHelo = "bind_helo"
    case usingLMTP = "using_lmtp"
    case authUser = "auth_user"
    case authPass = "auth_pass"
    case authType = "auth_type"
    case onAuthUnavailable = "on_auth_unavailable"
    case tls
    case implicitTLS = "implicit_tls"
    case oauthTokenURL = "oauth_token_url"
    case oauthClientID = "oauth_client_id"
    case oauthClientSecret = "oauth_client_secret"
    case oauthRefreshToken = "oauth_refresh_token"
    case oauthScope = "oauth_scope"

    /// What its value is, for those who write it otherwise than as text.
    package enum Kind: Hashable, Sendable {
        case number, boolean, text
        /// Goes in and never comes out.
        case secret
    }

    package var kind: Kind {
        switch self {
        case .port, .priority: .number
        case .usingLMTP, .implicitTLS: .boolean
        case .authPass, .oauthClientSecret, .oauthRefreshToken: .secret
        case .bind, .bindHelo, .authUser, .authType, .onAuthUnavailable, .tls, .oauthTokenURL, .oauthClientID,
            .oauthScope:
            .text
        }
    }

    /// Says who we are; it means nothing without `auth_user`.
    package var isOfLogin: Bool { rawValue.starts(withOctets: "auth_") || rawValue.starts(withOctets: "oauth_") }

    /// Whether a value can be a host's, and can be written; files and variables are not looked at.
    ///
    /// - Parameter isLocal: whether mail can leave from an address.
    /// - Throws: ``ValueError`` with the reason and the remedy, and without any secret.
    package func check(
        _ value: String,
        isLocal: @escaping LocalAddressCheck = { _ in true }
    ) throws(ValueError) {
        var properties = RouteProperties()
        var surroundings = Surroundings(resolvesSecrets: false, isLocal: isLocal)
        try properties.set(self, to: value, in: &surroundings)
        guard INIDocument.canHold(value) else {
            let remedy = kind == .secret ? "; put it into a file below secrets/ and give @file:secrets/NAME" : ""
            throw ValueError("\(rawValue): begins or ends with a blank, or holds \" ;\"\(remedy)")
        }
    }
}
