// TokenRequest.swift — a question to a token server, and what its answer means.
//
// Guarantees: nothing secret is in an error; what a server says is shown as a few plain characters; questions go by https, or
// stay on this machine. RFC 6749 §4.4, §5, §6.

package import HTTPClient
package import Mail

/// What a token server gave.
package struct Granted: Sendable {
    package let token: Secret
    /// How long the token lives.
    package let seconds: Int
    /// The next refresh token; nil: the old one stays.
    package let refreshToken: Secret?
}

/// Questions to token servers.
package enum TokenRequest {
    /// How long a token server is waited for; mail waits meanwhile, and then for another time.
    private static let patience: Duration = .seconds(15)
    /// A token that does not say how long it lives is taken to live so many seconds.
    private static let usualLife = 3600

    /// What is asked for a grant: by its refresh token, or by the application itself.
    static func form(_ grant: OAuthGrant, _ refreshToken: Secret?) -> [(String, String)] {
        var form = [
            ("grant_type", refreshToken == nil ? "client_credentials" : "refresh_token"), ("client_id", grant.clientID),
        ]
        if let refreshToken { form.append(("refresh_token", refreshToken.revealed)) }
        if let secret = grant.clientSecret { form.append(("client_secret", secret.revealed)) }
        if let scope = grant.scope { form.append(("scope", scope)) }
        return form
    }

    /// A form for a server of tokens, as it is posted.
    ///
    /// - Returns: nil for a URL that secrets are not sent to.
    package static func post(_ form: [(String, String)], to url: String) -> HTTPRequest? {
        guard let known = try? WebURL(url), known.isConfidential else { return nil }
        let body = form.map { "\($0)=\(PercentEncoding.encoded($1))" }.joined(separator: "&")
        var request = HTTPRequest("POST", url, body: Array(body.utf8))
        request.headers = [
            ("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"),
        ]
        request.maxResponseBytes = 64 << 10
        request.usesProxyOfEnvironment = true
        request.timeout = patience
        return request
    }

    /// Reads the answer.
    package static func read(_ response: HTTPResponse) -> Result<Granted, TokenError> {
        guard let reply = TokenReply(response.body) else {
            return .failure(TokenError("the token server answered \(response.status) and no JSON object"))
        }
        guard response.status == 200, let token = reply[string: "access_token"], isToken(token) else {
            // The description is for people and may say more than it should; the error is one of a few words.
            let word = reply[string: "error"].map(shown)
            return .failure(
                TokenError("the token server answered \(response.status) \(word ?? "no access_token")", word: word)
            )
        }
        return .success(
            Granted(
                token: Secret(token),
                seconds: reply[count: "expires_in"] ?? usualLife,
                refreshToken: reply[string: "refresh_token"].flatMap { $0.isEmpty ? nil : Secret($0) }
            )
        )
    }

    /// RFC 6750 §2.1 has only printable ASCII; anything else could bend the SASL message.
    private static func isToken(_ text: String) -> Bool {
        (1...16_384).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }

    /// A word of a server as it may stand in a log.
    static func shown(_ text: String) -> String {
        String(text.unicodeScalars.prefix(60).map { (0x20...0x7E).contains($0.value) ? Character($0) : "?" })
    }
}
