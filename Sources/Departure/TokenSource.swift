// TokenSource.swift — access tokens for next hops, fetched with a refresh token or by an application, and renewed before they
// end.
//
// Guarantees: one request at a time for the same grant, however many sessions wait; a token that is still good is used
// when it cannot be renewed; a refresh token that the server replaced is on disk before anything else happens with it; no
// token and no secret is ever part of an error. RFC 6749 §4.4, §6.

import HTTPClient
package import Mail
import OpenSSL
import Synchronization

/// Why there is no token.
package struct TokenError: Error, Hashable, Sendable {
    /// A sentence without anything secret.
    package let reason: String
    /// The word of RFC 6749 §5.2, such as `invalid_grant`; nil: the server said none.
    package let word: String?

    package init(_ reason: String, word: String? = nil) { (self.reason, self.word) = (reason, word) }
}

/// What is known of one grant, without anything secret.
package struct TokenState: Hashable, Sendable {
    package let tokenURL: String
    package let clientID: String
    /// When the token in force ends; nil when there is none.
    package let expires: Timestamp?
    /// Why the last request brought none; nil when it did.
    package let trouble: String?
    /// The word of the last refusal, such as `invalid_grant`.
    package let word: String?
}

/// Where refresh tokens that a server has replaced outlive a restart.
///
/// Both may block, for a small file.
package struct TokenStore: Sendable {
    package let load: @Sendable (_ name: String) -> [UInt8]?
    /// Answers whether it is on disk.
    package let save: @Sendable (_ name: String, [UInt8]) -> Bool

    package init(
        load: @escaping @Sendable (_ name: String) -> [UInt8]?,
        save: @escaping @Sendable (_ name: String, [UInt8]) -> Bool
    ) {
        self.load = load
        self.save = save
    }

    /// The name of a grant: whoever changes it in `routes.ini`, its refresh token included, begins anew.
    static func name(of grant: OAuthGrant) -> String {
        let parts = [grant.tokenURL, grant.clientID, grant.refreshToken?.revealed ?? "", grant.scope ?? ""]
        return Digest.sha256(Array(parts.joined(separator: "\0").utf8)).hexadecimal
    }
}

/// Access tokens by grant.
package final class TokenSource: Sendable {
    /// Seconds before its end that a token is renewed; less for one that lives shorter than four times that.
    private static let margin: Int64 = 300
    /// Milliseconds after a failure before the server is asked again.
    private static let pause: Int64 = 30_000
    private static let mostGrants = 1000

    private struct Token {
        let secret: Secret
        let renewal: Timestamp
        let expires: Timestamp
    }

    private struct Entry {
        var token: Token?
        /// Token servers may replace the refresh token with each answer.
        var refreshToken: Secret?
        var trouble: TokenError?
        var quietUntil = Timestamp(milliseconds: 0)
        var request: Task<Result<Secret, TokenError>, Never>?

        func state(_ grant: OAuthGrant) -> TokenState {
            TokenState(
                tokenURL: grant.tokenURL,
                clientID: grant.clientID,
                expires: token?.expires,
                trouble: trouble?.reason,
                word: trouble?.word
            )
        }
    }

    private let fetch: WebFetch
    let store: TokenStore?
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
    package func token(for grant: OAuthGrant) async throws(TokenError) -> Secret {
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
                return .fail(entry.trouble ?? TokenError("the token server failed"))
            }
            let known = entry.refreshToken
            // Another process of ours, such as `martlet doctor`, may have been given a newer one since.
            let request = Task { await self.renew(grant, self.keptToken(of: grant) ?? known ?? grant.refreshToken) }
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
    package func forget(_ grant: OAuthGrant) { entries.withLock { $0[grant]?.token = nil } }

    /// The one that the server gave us last; nil: it never replaced the administrator's.
    private func keptToken(of grant: OAuthGrant) -> Secret? {
        guard grant.refreshToken != nil, let bytes = store?.load(TokenStore.name(of: grant)), !bytes.isEmpty else {
            return nil
        }
        return Secret(String(decoding: bytes, as: UTF8.self))
    }

    /// Writes down what a success changes on disk.
    ///
    /// - Returns: what went wrong with it.
    private func keep(_ reply: Granted, of grant: OAuthGrant, instead old: Secret?) -> TokenError? {
        guard grant.refreshToken != nil else { return nil }
        noteUse(of: grant, at: now())
        // Before it is used: servers let go of the old one as soon as they hear of the new one.
        guard let new = reply.refreshToken, new != old, let store else { return nil }
        if store.save(TokenStore.name(of: grant), Array(new.revealed.utf8)) { return nil }
        return TokenError("a refresh token that the server replaced cannot be written to the data directory")
    }

    private func renew(_ grant: OAuthGrant, _ refreshToken: Secret?) async -> Result<Secret, TokenError> {
        let answer = await ask(grant, refreshToken)
        var trouble: TokenError?
        switch answer {
        case .success(let reply): trouble = keep(reply, of: grant, instead: refreshToken)
        case .failure(let error): trouble = error
        }
        if trouble != nil { TokenMetrics.failed() }
        let time = now()
        return entries.withLock { entries in
            var entry = entries[grant] ?? Entry()
            defer { entries[grant] = entry }
            entry.request = nil
            entry.trouble = trouble
            switch answer {
            case .success(let reply):
                let life = Int64(min(max(reply.seconds, 1), 31_536_000))
                entry.token = Token(
                    secret: reply.token,
                    renewal: time.adding(milliseconds: (life - min(Self.margin, life / 4)) * 1000),
                    expires: time.adding(milliseconds: life * 1000)
                )
                entry.refreshToken = reply.refreshToken ?? refreshToken
                return .success(reply.token)
            case .failure(let error):
                entry.quietUntil = time.adding(milliseconds: Self.pause)
                if let token = entry.token, time < token.expires { return .success(token.secret) }
                return .failure(error)
            }
        }
    }

    private func ask(_ grant: OAuthGrant, _ refreshToken: Secret?) async -> Result<Granted, TokenError> {
        // Looked at when the table was read too; a hook's answer was read elsewhere.
        guard let request = TokenRequest.post(TokenRequest.form(grant, refreshToken), to: grant.tokenURL) else {
            return .failure(TokenError("oauth_token_url must begin with https://"))
        }
        switch await fetch(request) {
        case .failure(let error): return .failure(TokenError("the token server cannot be reached: \(error.text)"))
        case .success(let response): return TokenRequest.read(response)
        }
    }
}
