// TokenSource.swift — access tokens for XOAUTH2 and OAUTHBEARER, fetched with a refresh token and renewed before they end.
//
// Guarantees: one request at a time for the same grant, however many sessions wait; a token that is still good is used
// when it cannot be renewed; no token and no secret is ever part of an error. RFC 6749 §6.

import HTTPClient
package import Mail
import OpenSSL
import Synchronization

/// Why there is no token.
struct TokenError: Error, Hashable, Sendable {
    let reason: String
    init(_ reason: String) { self.reason = reason }
}

/// What is known of one grant, without anything secret.
package struct TokenState: Hashable, Sendable {
    package let tokenURL: String
    package let clientID: String
    /// When the token in force ends; nil when there is none.
    package let expires: Timestamp?
    /// Why the last request brought none; nil when it did.
    package let trouble: String?
}

/// Where refresh tokens that a server has replaced outlive a restart.
///
/// Both may block, for a small file.
package struct TokenStore: Sendable {
    package let load: @Sendable (_ name: String) -> [UInt8]?
    package let save: @Sendable (_ name: String, [UInt8]) -> Void

    package init(
        load: @escaping @Sendable (_ name: String) -> [UInt8]?,
        save: @escaping @Sendable (_ name: String, [UInt8]) -> Void
    ) {
        self.load = load
        self.save = save
    }

    /// The name of a grant: whoever changes it in `routes.ini`, its refresh token included, begins anew.
    static func name(of grant: OAuthGrant) -> String {
        let parts = [grant.tokenURL, grant.clientID, grant.refreshToken.revealed, grant.scope ?? ""]
        return Digest.sha256(Array(parts.joined(separator: "\0").utf8)).hexadecimal
    }
}

/// Access tokens by grant.
package final class TokenSource: Sendable {
    /// Seconds before its end that a token is renewed; less for one that lives shorter than four times that.
    private static let margin: Int64 = 300
    /// Milliseconds after a failure before the server is asked again.
    private static let pause: Int64 = 30_000
    /// A token that does not say how long it lives is taken to live so many seconds.
    private static let usualLife = 3600
    private static let mostGrants = 1000
    /// How long a token server is waited for; mail waits meanwhile, and then for another time.
    private static let patience: Duration = .seconds(15)

    private struct Token {
        let secret: Secret
        let renewal: Timestamp
        let expires: Timestamp
    }

    private struct Entry {
        var token: Token?
        /// Token servers may replace the refresh token with each answer.
        var refreshToken: Secret?
        var trouble: String?
        var quietUntil = Timestamp(milliseconds: 0)
        var request: Task<Result<Secret, TokenError>, Never>?

        func state(_ grant: OAuthGrant) -> TokenState {
            TokenState(tokenURL: grant.tokenURL, clientID: grant.clientID, expires: token?.expires, trouble: trouble)
        }
    }

    private let fetch: WebFetch
    private let store: TokenStore?
    private let now: @Sendable () -> Timestamp
    private let entries = Mutex(Bounded<OAuthGrant, Entry>(atLeast: mostGrants))

    /// - Parameters:
    ///   - fetch: how to reach token servers.
    ///   - store: keeps refresh tokens that were replaced; nil: they are forgotten at the end.
    ///   - now: the time.
    package init(
        _ fetch: WebFetch,
        store: TokenStore? = nil,
        now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.fetch = fetch
        self.store = store
        self.now = now
    }

    /// Every grant that was used, in no order.
    package var states: [TokenState] {
        entries.withLock { entries in entries.map { grant, entry in entry.state(grant) } }
    }

    /// What is known of a grant; nil: it was not used yet.
    package func state(of grant: OAuthGrant) -> TokenState? { entries.withLock { $0[grant]?.state(grant) } }

    /// A token that is good now.
    func token(for grant: OAuthGrant) async throws(TokenError) -> Secret {
        enum Next {
            case use(Secret)
            case wait(Task<Result<Secret, TokenError>, Never>)
            case fail(TokenError)
        }
        let time = now()
        let next: Next = entries.withLock { entries in
            var entry = entries[grant] ?? Entry()
            defer { entries[grant] = entry }
            if let token = entry.token, time < token.renewal { return .use(token.secret) }
            if let request = entry.request { return .wait(request) }
            if time < entry.quietUntil {
                if let token = entry.token, time < token.expires { return .use(token.secret) }
                return .fail(TokenError(entry.trouble ?? "the token server failed"))
            }
            let known = entry.refreshToken
            let request = Task { await self.renew(grant, known ?? self.keptToken(of: grant)) }
            entry.request = request
            return .wait(request)
        }
        switch next {
        case .use(let secret): return secret
        case .wait(let request): return try await request.value.get()
        case .fail(let error): throw error
        }
    }

    /// The token in force was refused: the next one is a fresh one.
    func forget(_ grant: OAuthGrant) { entries.withLock { $0[grant]?.token = nil } }

    /// The one that the server gave us before the last start, or the administrator's.
    private func keptToken(of grant: OAuthGrant) -> Secret {
        guard let bytes = store?.load(TokenStore.name(of: grant)), !bytes.isEmpty else { return grant.refreshToken }
        return Secret(String(decoding: bytes, as: UTF8.self))
    }

    private func renew(_ grant: OAuthGrant, _ refreshToken: Secret) async -> Result<Secret, TokenError> {
        let answer = await ask(grant, refreshToken)
        // Before it is used: servers let go of the old one as soon as they hear of the new one.
        if case .success(let reply) = answer, let new = reply.refreshToken, new != refreshToken {
            store?.save(TokenStore.name(of: grant), Array(new.revealed.utf8))
        }
        let time = now()
        return entries.withLock { entries in
            var entry = entries[grant] ?? Entry()
            defer { entries[grant] = entry }
            entry.request = nil
            switch answer {
            case .success(let reply):
                let life = Int64(min(max(reply.seconds, 1), 31_536_000))
                entry.token = Token(
                    secret: reply.token,
                    renewal: time.adding(milliseconds: (life - min(Self.margin, life / 4)) * 1000),
                    expires: time.adding(milliseconds: life * 1000)
                )
                entry.refreshToken = reply.refreshToken ?? refreshToken
                entry.trouble = nil
                return .success(reply.token)
            case .failure(let error):
                entry.trouble = error.reason
                entry.quietUntil = time.adding(milliseconds: Self.pause)
                if let token = entry.token, time < token.expires { return .success(token.secret) }
                return .failure(error)
            }
        }
    }

    // MARK: the request

    private struct Granted {
        let token: Secret
        let seconds: Int
        let refreshToken: Secret?
    }

    private func ask(_ grant: OAuthGrant, _ refreshToken: Secret) async -> Result<Granted, TokenError> {
        // Looked at when the table was read too; a hook's answer was read elsewhere.
        guard let url = try? WebURL(grant.tokenURL), url.isConfidential else {
            return .failure(TokenError("oauth_token_url must begin with https://"))
        }
        var form = [
            ("grant_type", "refresh_token"), ("client_id", grant.clientID), ("refresh_token", refreshToken.revealed),
        ]
        if let secret = grant.clientSecret { form.append(("client_secret", secret.revealed)) }
        if let scope = grant.scope { form.append(("scope", scope)) }
        let body = form.map { "\($0)=\(Self.escape($1))" }.joined(separator: "&")
        var request = HTTPRequest("POST", grant.tokenURL, body: Array(body.utf8))
        request.headers = [
            ("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"),
        ]
        request.maxResponseBytes = 64 << 10
        request.usesProxyOfEnvironment = true
        request.timeout = Self.patience
        switch await fetch(request) {
        case .failure(let error): return .failure(TokenError("the token server cannot be reached: \(error.text)"))
        case .success(let response): return Self.read(response)
        }
    }

    private static func read(_ response: HTTPResponse) -> Result<Granted, TokenError> {
        guard let reply = TokenReply(response.body) else {
            return .failure(TokenError("the token server answered \(response.status) and no JSON object"))
        }
        guard response.status == 200, let token = reply[string: "access_token"], isToken(token) else {
            // The description is for people and may say more than it should; the error is one of a few words.
            let error = reply[string: "error"].map(shown) ?? "no access_token"
            return .failure(TokenError("the token server answered \(response.status) \(error)"))
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

    private static func shown(_ text: String) -> String {
        String(text.unicodeScalars.prefix(60).map { (0x20...0x7E).contains($0.value) ? Character($0) : "?" })
    }

    /// - Source: RFC 3986 §2.3
    private static func escape(_ text: String) -> String {
        var out: [UInt8] = []
        let digits = Array("0123456789ABCDEF".utf8)
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                out.append(byte)
            default: out += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
