// RouteProperties.swift — the properties of one MX while its section is being read, typed; and the MX they come to.

import HTTPClient
import Mail

/// What may stand on an `mx` line behind the host, or in the section for all its hosts.
struct RouteProperties {
    var port: UInt16?
    var priority: UInt16?
    var bind: IPAddress?
    var bindHelo: Domain?
    var usingLMTP: Bool?
    var user: String?
    var password: Secret?
    var mechanism: Credentials.Mechanism?
    var fallback: AuthFallback?
    var tls: TLSLevel?
    var implicitTLS: Bool?
    var tokenURL: String?
    var clientID: String?
    var clientSecret: Secret?
    var refreshToken: Secret?
    var scope: String?

    init() {}

    /// Reads words; the first that is wrong, in the order of ``RouteProperty``, is the error.
    init(_ words: [RouteProperty: String], in surroundings: inout Surroundings) throws(ValueError) {
        if words.isEmpty { return }
        for property in RouteProperty.allCases {
            if let value = words[property] { try set(property, to: value, in: &surroundings) }
        }
    }

    /// Reads one property.
    ///
    /// - Throws: ``ValueError`` with the property's name in it.
    mutating func set(
        _ property: RouteProperty,
        to value: String,
        in surroundings: inout Surroundings
    ) throws(ValueError) {
        switch property {
        case .port: port = UInt16(try ValueParsing.count(value, 1...65_535))
        case .priority: priority = UInt16(try ValueParsing.count(value, 0...65_535))
        case .bind:
            do throws(ValueError) {
                bind = try surroundings.ownAddress(value)
            } catch {
                throw ValueError("bind: \(error.reason)")
            }
        case .bindHelo: bindHelo = try Self.host(value, property.rawValue)
        case .usingLMTP: usingLMTP = try ValueParsing.boolean(value)
        case .authUser: user = try Self.text(value, property)
        case .authPass: password = try surroundings.secret(value, property)
        case .authType:
            guard let known = Credentials.Mechanism(name: value) else {
                throw Self.none(of: Credentials.Mechanism.allCases.map { $0.rawValue.lowercasedASCII }, value, property)
            }
            mechanism = known
        case .onAuthUnavailable:
            guard let known = AuthFallback(rawValue: value.lowercasedASCII) else {
                throw Self.none(of: AuthFallback.allCases.map(\.rawValue), value, property)
            }
            fallback = known
        case .tls:
            guard let known = TLSLevel(name: value) else {
                throw Self.none(of: TLSLevel.allCases.map(\.description), value, property)
            }
            tls = known
        case .implicitTLS: implicitTLS = try ValueParsing.boolean(value)
        case .oauthTokenURL: tokenURL = try Self.url(value)
        case .oauthClientID: clientID = try Self.text(value, property)
        case .oauthClientSecret: clientSecret = try surroundings.secret(value, property)
        case .oauthRefreshToken: refreshToken = try surroundings.secret(value, property)
        case .oauthScope: scope = try Self.text(value, property)
        }
    }

    /// What is not said here, as `others` say it.
    func filled(from others: RouteProperties) -> RouteProperties {
        var all = self
        all.port = port ?? others.port
        all.priority = priority ?? others.priority
        all.bind = bind ?? others.bind
        // A name belongs to its address: an MX with a `bind` of its own does not take the section's name.
        all.bindHelo = bindHelo ?? (bind == nil ? others.bindHelo : nil)
        all.usingLMTP = usingLMTP ?? others.usingLMTP
        all.user = user ?? others.user
        all.password = password ?? others.password
        all.mechanism = mechanism ?? others.mechanism
        all.fallback = fallback ?? others.fallback
        all.tls = tls ?? others.tls
        all.implicitTLS = implicitTLS ?? others.implicitTLS
        all.tokenURL = tokenURL ?? others.tokenURL
        all.clientID = clientID ?? others.clientID
        all.clientSecret = clientSecret ?? others.clientSecret
        all.refreshToken = refreshToken ?? others.refreshToken
        all.scope = scope ?? others.scope
        return all
    }

    /// The place to try.
    ///
    /// - Parameter hasPort: the port stands behind the host and counts more than the property.
    /// - Throws: ``ValueError`` when properties contradict each other.
    func apply(to host: MX, hasPort: Bool) throws(ValueError) -> MX {
        var mx = host
        mx.usingLMTP = usingLMTP ?? host.usingLMTP
        if !hasPort {
            let usual = mx.usingLMTP ? MX.lmtpPort : implicitTLS ?? mx.implicitTLS ? MX.smtpsPort : MX.smtpPort
            mx.port = port ?? usual
        }
        mx.bind = bind
        mx.bindHelo = bindHelo
        mx.tls = tls
        mx.implicitTLS = implicitTLS ?? (mx.implicitTLS || mx.port == MX.smtpsPort && !mx.usingLMTP && tls != .off)
        mx.onAuthUnavailable = fallback ?? .sendWithout
        mx.auth = try credentials() ?? host.auth
        if let api = mx.api { try checkPosted(mx, api) }
        if mx.implicitTLS, mx.tls == .off { throw ValueError("implicit_tls and tls = off contradict each other") }
        if mx.isSocket, bind != nil { throw ValueError("bind: a Unix socket has no source address") }
        return mx
    }

    /// What is posted goes by HTTPS, and by nothing that is said of SMTP.
    private func checkPosted(_ mx: MX, _ api: MailAPI) throws(ValueError) {
        let words: [(RouteProperty, Bool)] = [
            (.port, port != nil), (.bind, bind != nil), (.bindHelo, bindHelo != nil), (.usingLMTP, usingLMTP != nil),
            (.tls, tls != nil), (.implicitTLS, implicitTLS != nil), (.onAuthUnavailable, fallback != nil),
        ]
        if let word = words.first(where: { $0.1 }) {
            throw ValueError("\(word.0.rawValue): means nothing to \(mx.exchange), which is posted to over HTTPS")
        }
        guard let auth = mx.auth else { throw ValueError("\(mx.exchange) needs auth_user and what belongs to it") }
        switch (api, auth.proof) {
        case (.graph, .grant), (.ses, .password): break
        case (.graph, .password):
            guard auth.mechanism?.takesToken == true else {
                throw ValueError("\(mx.exchange) takes access tokens and no passwords: see oauth_token_url")
            }
        case (.ses, .grant):
            throw ValueError("\(mx.exchange) takes auth_user and auth_pass, an access key and its secret")
        }
    }

    private func credentials() throws(ValueError) -> Credentials? {
        let hasGrant = refreshToken != nil || tokenURL != nil
        guard let user else {
            if password != nil { throw ValueError("auth_pass stands without auth_user") }
            if hasGrant { throw ValueError("oauth_… stands without auth_user") }
            return nil
        }
        guard hasGrant else {
            guard let password else { throw ValueError("auth_user stands without auth_pass") }
            return Credentials(user: user, proof: .password(password), mechanism: mechanism)
        }
        guard let tokenURL, let clientID, refreshToken != nil || clientSecret != nil else {
            throw ValueError(
                "oauth needs oauth_token_url, oauth_client_id, and oauth_refresh_token (see `martlet oauth login`) or,"
                    + " for an application of its own, oauth_client_secret"
            )
        }
        if let mechanism, !mechanism.takesToken {
            throw ValueError("auth_type \(mechanism.rawValue.lowercasedASCII) takes no oauth token")
        }
        let grant = OAuthGrant(
            tokenURL: tokenURL,
            clientID: clientID,
            clientSecret: clientSecret,
            refreshToken: refreshToken,
            scope: scope
        )
        return Credentials(user: user, proof: .grant(grant), mechanism: mechanism)
    }

    // MARK: - Values

    static func host(_ value: String, _ name: String) throws(ValueError) -> Domain {
        guard let domain = Domain(value) else {
            throw ValueError("\(name): \"\(ValueParsing.shown(value))\" is not a host name")
        }
        return domain
    }

    private static func text(_ value: String, _ property: RouteProperty) throws(ValueError) -> String {
        guard !value.isEmpty, value.utf8.count <= 1024, !value.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
            throw ValueError("\(property.rawValue): must be 1 to 1024 octets without control characters")
        }
        return value
    }

    /// Secrets are posted there.
    private static func url(_ value: String) throws(ValueError) -> String {
        do throws(HTTPError) {
            let url = try WebURL(normalizing: value)
            guard url.isConfidential, url.text.utf8.count <= 2048, url.text.utf8.allSatisfy({ $0 < 0x80 }) else {
                throw HTTPError(.invalidRequest, "\(ValueParsing.shown(value))")
            }
            return url.text
        } catch {
            // A URL that was not understood is not shown: it may hold a password anywhere.
            throw ValueError("oauth_token_url: is not an https URL: \(error.text)")
        }
    }

    private static func none(of words: [String], _ value: String, _ property: RouteProperty) -> ValueError {
        ValueError("\(property.rawValue): \"\(ValueParsing.shown(value))\" is none of \(words.joined(separator: ", "))")
    }
}
