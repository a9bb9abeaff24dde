// MX+Properties.swift — a place to try as names and values, for all who show one: API, hooks, explanations.
//
// The names are those of the source document's MX object and of `routes.ini`. Guarantee: no secret is among the values; of
// each there is only whether it is known.

package import Mail

extension MX {
    /// One property.
    package struct Property: Hashable, Sendable {
        /// nil: the exchange, which is no word of its own.
        package let property: RouteProperty?
        package let name: String
        package let value: SettingValue
    }

    /// Everything that the MX says, `priority` and `exchange` first; what belongs to OAuth only where there is a grant.
    package var properties: [Property] {
        var found = [
            Property(
                property: .priority,
                name: RouteProperty.priority.rawValue,
                value: RouteProperty.priority.value(in: self)
            ),
            Property(property: nil, name: "exchange", value: .text(exchange)),
        ]
        var hasGrant = false
        if case .grant? = auth?.proof { hasGrant = true }
        for property in RouteProperty.allCases where property != .priority && (hasGrant || !property.isOfGrant) {
            let name = property.kind == .secret ? "\(property.rawValue)_set" : property.rawValue
            found.append(Property(property: property, name: name, value: property.value(in: self)))
        }
        return found
    }
}

extension RouteProperty {
    /// Only where access tokens are fetched.
    fileprivate var isOfGrant: Bool { rawValue.starts(withOctets: "oauth_") }

    /// What an MX says of it; of a secret, whether it is known.
    fileprivate func value(in mx: MX) -> SettingValue {
        var grant: OAuthGrant?
        var hasPassword = false
        switch mx.auth?.proof {
        case .grant(let found): grant = found
        case .password: hasPassword = true
        case nil: break
        }
        func text(_ text: String?) -> SettingValue { text.map { .text($0) } ?? .none }
        return switch self {
        case .port: mx.hasNoAddress ? .none : .number(Int(mx.port))
        case .priority: .number(Int(mx.priority))
        case .bind: text(mx.bind?.description)
        case .bindHelo: text(mx.bindHelo?.name)
        case .usingLMTP: .truth(mx.usingLMTP)
        case .authUser: text(mx.auth?.user)
        case .authPass: .truth(hasPassword)
        case .authType: text(mx.auth?.mechanism?.rawValue.lowercasedASCII)
        case .onAuthUnavailable: .text(mx.onAuthUnavailable.rawValue)
        case .tls: text(mx.tls?.description)
        case .implicitTLS: .truth(mx.implicitTLS)
        case .oauthTokenURL: text(grant?.tokenURL)
        case .oauthClientID: text(grant?.clientID)
        case .oauthClientSecret: .truth(grant?.clientSecret != nil)
        case .oauthRefreshToken: .truth(grant?.refreshToken != nil)
        case .oauthScope: text(grant?.scope)
        }
    }
}
