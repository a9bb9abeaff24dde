// DeviceGrant.swift — a login with a code that somebody types in at another machine (RFC 8628), and one through a browser
// (RFC 8252 with RFC 7636): what is asked, and what follows the answers. Pure.

package import HTTPClient
package import Mail
package import OpenSSL

/// A code to be typed in.
package struct DeviceCode: Hashable, Sendable {
    /// For the token server.
    package let code: Secret
    /// For people.
    package let userCode: String
    /// Where they type it.
    package let address: String
    /// Seconds between two questions.
    package var interval: Int
    /// Seconds until the code ends.
    package let life: Int

    private static let usualInterval = 5
    /// Nobody needs longer than an hour, and nobody asks more often than once a second.
    private static let lives = 1...3600, intervals = 1...120

    /// What asks for a code; nil: a URL that is not confidential.
    package static func request(_ url: String, clientID: String, clientSecret: Secret?, scope: String) -> HTTPRequest? {
        var form = [("client_id", clientID), ("scope", scope)]
        if let clientSecret { form.append(("client_secret", clientSecret.revealed)) }
        return TokenRequest.post(form, to: url)
    }

    /// Reads the answer to that.
    ///
    /// - Throws: the server's word.
    package init(_ response: HTTPResponse) throws(TokenError) {
        guard let reply = TokenReply(response.body) else {
            throw TokenError("the token server answered \(response.status) and no JSON object")
        }
        let place = reply[string: "verification_uri"] ?? reply[string: "verification_url"]
        guard response.status == 200, let code = reply[string: "device_code"], !code.isEmpty,
            let userCode = reply[string: "user_code"], !userCode.isEmpty, let place, !place.isEmpty
        else {
            let word = reply[string: "error"].map(TokenRequest.shown)
            throw TokenError("the token server answered \(response.status) \(word ?? "without a code")", word: word)
        }
        self.code = Secret(code)
        self.userCode = TokenRequest.shown(userCode)
        address = String(
            place.unicodeScalars.prefix(300).map { (0x21...0x7E).contains($0.value) ? Character($0) : "?" }
        )
        interval = Self.bounded(reply[count: "interval"] ?? Self.usualInterval, Self.intervals)
        life = Self.bounded(reply[count: "expires_in"] ?? Self.lives.upperBound, Self.lives)
    }

    /// What asks whether somebody has typed it.
    package func question(_ url: String, clientID: String, clientSecret: Secret?) -> HTTPRequest? {
        var form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("client_id", clientID),
            ("device_code", code.revealed),
        ]
        if let clientSecret { form.append(("client_secret", clientSecret.revealed)) }
        return TokenRequest.post(form, to: url)
    }

    /// What follows an answer to the question.
    package enum Step: Sendable {
        case granted(Granted)
        /// Ask again after so many seconds, from now on with that pause.
        case wait(Int)
        case fail(TokenError)
    }

    /// Decides (RFC 8628 §3.5).
    ///
    /// - Parameter answer: of the token server; a failure is no answer.
    package func step(after answer: Result<HTTPResponse, HTTPError>) -> Step {
        let response: HTTPResponse
        switch answer {
        // A connection that timed out: ask less often, as the RFC wants it.
        case .failure(let error):
            guard error.kind != .invalidRequest, error.kind != .tls else { return .fail(TokenError(error.text)) }
            return .wait(Self.bounded(interval * 2, Self.intervals))
        case .success(let found): response = found
        }
        if response.status >= 500 || response.status == 429 {
            return .wait(Self.bounded(interval + 5, Self.intervals))
        }
        switch TokenRequest.read(response) {
        case .success(let granted): return .granted(granted)
        case .failure(let error):
            switch error.word {
            case "authorization_pending": return .wait(interval)
            case "slow_down": return .wait(Self.bounded(interval + 5, Self.intervals))
            case "expired_token", "code_expired":
                return .fail(TokenError("the code has ended before anybody typed it", word: error.word))
            case "access_denied", "authorization_declined":
                return .fail(TokenError("whoever was asked has said no", word: error.word))
            default: return .fail(error)
            }
        }
    }

    private static func bounded(_ value: Int, _ range: ClosedRange<Int>) -> Int {
        min(max(value, range.lowerBound), range.upperBound)
    }
}

/// A login through a browser.
package struct BrowserGrant: Sendable {
    /// Nobody listens there: the browser shows an address that is brought back here.
    package static let redirect = "http://127.0.0.1:8085/"

    private let clientID: String
    private let verifier: String
    private let state: String

    /// - Throws: when the machine has no randomness.
    package init(clientID: String) throws(TLSError) {
        self.clientID = clientID
        verifier = Base64.urlEncode(try Secrets.random(48))
        state = Base64.urlEncode(try Secrets.random(18))
    }

    /// The address that somebody opens.
    package func address(at provider: OAuthProvider, scope: String) -> String? {
        guard let url = provider.authorizationURL else { return nil }
        let challenge = Base64.urlEncode(Digest.sha256(Array(verifier.utf8)))
        let words =
            [
                ("client_id", clientID), ("response_type", "code"), ("redirect_uri", Self.redirect), ("scope", scope),
                ("state", state), ("code_challenge", challenge), ("code_challenge_method", "S256"),
            ].map { "\($0)=\(PercentEncoding.encoded($1))" } + provider.extra
        return url + (url.contains(octet: "?") ? "&" : "?") + words.joined(separator: "&")
    }

    /// The code in what somebody brought back: the whole address, or the code alone.
    ///
    /// - Throws: what is wrong with it; never the code.
    package func code(in text: String) throws(TokenError) -> Secret {
        guard text.contains(octet: "?") else {
            guard !text.isEmpty, !text.contains(octet: "&") else { throw TokenError("there is no code in it") }
            return Secret(PercentEncoding.decoded(text) ?? text)
        }
        var found: [String: String] = [:]
        let query = text.split(octet: "?", maxSplits: 1).last ?? ""
        for pair in (query.split(octet: "#", maxSplits: 1).first ?? "").split(octet: "&") {
            let parts = pair.split(octet: "=", maxSplits: 1, omittingEmpty: false)
            guard parts.count == 2, let value = PercentEncoding.decoded(parts[1]) else { continue }
            found[String(parts[0])] = value
        }
        if let error = found["error"] {
            throw TokenError("the provider says \(TokenRequest.shown(error))", word: TokenRequest.shown(error))
        }
        guard let state = found["state"], state.isSame(octets: self.state) else {
            throw TokenError("that address belongs to another login: begin again")
        }
        guard let code = found["code"], !code.isEmpty else { throw TokenError("there is no code in it") }
        return Secret(code)
    }

    /// What exchanges the code for tokens.
    package func question(_ code: Secret, to url: String, clientSecret: Secret?) -> HTTPRequest? {
        var form = [
            ("grant_type", "authorization_code"), ("client_id", clientID), ("code", code.revealed),
            ("redirect_uri", Self.redirect), ("code_verifier", verifier),
        ]
        if let clientSecret { form.append(("client_secret", clientSecret.revealed)) }
        return TokenRequest.post(form, to: url)
    }
}
