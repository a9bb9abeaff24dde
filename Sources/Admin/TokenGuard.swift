// TokenGuard.swift — who asks, and whether they may: bearer tokens, trust by socket and by loopback, and the browser's tricks.
//
// Tokens are compared by the SHA-256 of what was presented, always against all of them and always over all 32 bytes, so
// neither their length nor their beginning shows in the time it takes. A generated token has 256 bits: a fast hash is
// right for it, and nobody guesses one; wrong ones are slowed down for the sake of the log and of tokens made by hand.

package import Config
package import Mail
import OpenSSL
import Synchronization

/// Decides about each request before its body is read.
package final class TokenGuard: Sendable {
    /// How a connection came in.
    package enum Approach: Hashable, Sendable {
        case unix
        /// - Parameters:
        ///   - client: where it comes from.
        ///   - isLoopback: the listener is not reachable from other machines.
        case tcp(client: IPAddress?, isLoopback: Bool)
    }

    /// What a request must bring.
    package enum Need: Hashable, Sendable {
        case nothing
        /// Some token: for paths that do not exist, so that strangers learn nothing.
        case token
        case scope(AdminSettings.Scope)
    }

    /// Wrong tokens of one subscriber before it has to wait, and how long one is remembered: 30, and 2 s each.
    private static let patience = 30
    private static let forgetting: Int64 = 2000
    /// Subscribers remembered.
    private static let memory = 1024

    private struct Failures {
        var count: Int
        var last: Uptime
    }

    private let settings: @Sendable () -> AdminSettings
    private let sessions: BrowserSessions
    private let failures = Mutex<[IPAddress?: Failures]>([:])

    package init(settings: @escaping @Sendable () -> AdminSettings, sessions: BrowserSessions = BrowserSessions()) {
        self.settings = settings
        self.sessions = sessions
    }

    /// Whether somebody can be let in by token.
    package var hasTokens: Bool { settings().hasTokens }

    /// Finds out who asks, and refuses who may not.
    ///
    /// - Parameter method: of the request: one that may change something must show that our own page sends it, where a
    ///   session stands for a token.
    /// - Throws: 401, 403, 421 or 429.
    package func admit(
        _ approach: Approach,
        _ headers: [String: String],
        to need: Need,
        by method: String = "GET",
        now: Uptime,
        wall: Timestamp
    ) throws(Problem) -> Caller {
        guard case .tcp(let client, let isLoopback) = approach else {
            // Behind the socket may be a port that ssh forwards to somebody's browser.
            if headers["sec-fetch-site"] != nil || headers["origin"] != nil { try Self.refuseBrowsers(headers) }
            return Caller(name: "socket", scopes: Set(AdminSettings.Scope.allCases), address: nil)
        }
        if let header = headers["authorization"] {
            return try Self.check(identify(header, client, now: now, wall: wall), need)
        }
        if let caller = try bySession(headers, client, method, wall) {
            return try Self.check(caller, need)
        }
        if need == .nothing { return Caller(name: "anonymous", scopes: [], address: client) }
        let settings = settings()
        if need == .scope(.metricsRead), let client, settings.metricsNetworks.contains(where: { $0.contains(client) }) {
            return Caller(name: "anonymous", scopes: [.metricsRead], address: client)
        }
        guard isLoopback, client?.isLoopback == true, !settings.requiresToken, !hasTokens else {
            throw Self.unauthorized("send a token: Authorization: Bearer …; martlet token create makes one")
        }
        try Self.refuseBrowsers(headers)
        return Caller(name: "loopback", scopes: Set(AdminSettings.Scope.allCases), address: client)
    }

    private static func check(_ caller: Caller, _ need: Need) throws(Problem) -> Caller {
        if case .scope(let scope) = need { try check(scope, caller) }
        return caller
    }

    /// - Throws: 403 for a scope that is missing.
    static func check(_ scope: AdminSettings.Scope, _ caller: Caller) throws(Problem) {
        guard !caller.scopes.contains(scope) else { return }
        throw Problem(
            .forbidden,
            "the token \(caller.name) lacks the scope \(scope.rawValue)",
            headers: [
                HeaderField("WWW-Authenticate", "Bearer error=\"insufficient_scope\", scope=\"\(scope.rawValue)\"")
            ]
        )
    }

    /// Whom a cookie stands for: its token may do now what it may do, and only our own page may use it.
    ///
    /// - Returns: nil without a cookie that means something.
    /// - Throws: 403 for what another site's page may have sent.
    private func bySession(
        _ headers: [String: String],
        _ client: IPAddress?,
        _ method: String,
        _ wall: Timestamp
    ) throws(Problem) -> Caller? {
        let settings = settings()
        guard settings.hasPage, let secret = sessions.secret(headers),
            let session = sessions.find(secret, at: wall)
        else { return nil }
        let scopes: Set<AdminSettings.Scope>
        if case .digest(let own)? = settings.environmentToken, Secrets.areEqual(own, session.tokenDigest) {
            scopes = Set(AdminSettings.Scope.allCases)
        } else {
            let token = settings.tokens.first { $0.digest.map { Secrets.areEqual($0, session.tokenDigest) } ?? false }
            guard let token, Self.isUsable(token, client, wall) else { return nil }
            scopes = token.scopes
        }
        try Self.refuseSites(headers)
        guard method == "GET" || method == "HEAD" || headers[BrowserSessions.header] != nil else {
            throw Problem(.forbidden, "a session changes nothing without the header X-Martlet-Page")
        }
        return Caller(name: session.token, scopes: scopes, address: client, by: .session(session.id))
    }

    static func isUsable(_ token: AdminSettings.Token, _ client: IPAddress?, _ wall: Timestamp) -> Bool {
        (token.expires.map { wall < $0 } ?? true)
            && (token.networks.isEmpty || client.map { ip in token.networks.contains { $0.contains(ip) } } ?? false)
    }

    private func identify(
        _ header: String,
        _ client: IPAddress?,
        now: Uptime,
        wall: Timestamp
    ) throws(Problem) -> Caller {
        let words = header.split(octet: " ")
        let presented =
            words.count == 2 && words[0].lowercasedASCII == "bearer" && words[1].utf8.count <= 512 ? words[1] : ""
        let digest = Digest.sha256(Array(presented.utf8))
        var found: AdminSettings.Token?
        let settings = settings()
        for token in settings.tokens {
            let isSame = Secrets.areEqual(token.digest ?? [], digest)
            if isSame { found = token }
        }
        if case .digest(let own)? = settings.environmentToken, Secrets.areEqual(own, digest) {
            let scopes = Set(AdminSettings.Scope.allCases)
            return Caller(name: "environment", scopes: scopes, address: client, by: .token(own))
        }
        if let found, Self.isUsable(found, client, wall) {
            return Caller(name: found.name, scopes: found.scopes, address: client, by: .token(digest))
        }
        try noteFailure(client, now)
        throw Self.unauthorized("the token is unknown, expired, or not for this address")
    }

    /// - Throws: 429 when there were too many.
    private func noteFailure(_ client: IPAddress?, _ now: Uptime) throws(Problem) {
        let client = client?.subscriber
        let wait: Int64 = failures.withLock { failures in
            var entry = failures[client] ?? Failures(count: 0, last: now)
            let forgotten = Int((now.milliseconds - entry.last.milliseconds) / Self.forgetting)
            if forgotten > 0 {
                entry.count = max(0, entry.count - forgotten)
                entry.last = now
            }
            guard entry.count < Self.patience else {
                return max(1, (Self.forgetting - (now.milliseconds - entry.last.milliseconds)) / 1000 + 1)
            }
            entry.count += 1
            if failures.count >= Self.memory { failures.removeAll() }
            failures[client] = entry
            return 0
        }
        guard wait == 0 else {
            throw Problem(
                .tooMany,
                "too many wrong tokens from this address",
                headers: [HeaderField("Retry-After", "\(wait)")]
            )
        }
    }

    private static func unauthorized(_ detail: String) -> Problem {
        Problem(.unauthorized, detail, headers: [HeaderField("WWW-Authenticate", "Bearer realm=\"martlet\"")])
    }

    /// Without tokens, only what a page in a browser cannot send is trusted: neither another site's form nor a name
    /// that was pointed at this machine (DNS rebinding).
    private static func refuseBrowsers(_ headers: [String: String]) throws(Problem) {
        guard isLocal(headers["host"] ?? "") else {
            throw Problem(.misdirected, "without a token this server is localhost, 127.0.0.1 or [::1] only")
        }
        try refuseSites(headers)
    }

    /// A page of another site, as far as a browser says so.
    private static func refuseSites(_ headers: [String: String]) throws(Problem) {
        if let site = headers["sec-fetch-site"] {
            guard site == "same-origin" || site == "none" else {
                throw Problem(
                    .forbidden,
                    "requests from pages of other sites are refused; allowed_origins in admin.ini names those that may"
                )
            }
            // Behind a proxy the Host may be another; the browser knows better.
            return
        }
        let host = headers["host"] ?? ""
        if let origin = headers["origin"], origin.lowercasedASCII != "http://\(host.lowercasedASCII)",
            origin.lowercasedASCII != "https://\(host.lowercasedASCII)"
        {
            throw Problem(
                .forbidden,
                "requests from pages of other sites are refused; allowed_origins in admin.ini names those that may"
            )
        }
    }

    /// `localhost` or a loopback address, with or without a port.
    private static func isLocal(_ host: String) -> Bool {
        var name = Substring(host.lowercasedASCII)
        if let colon = name.lastIndex(ofOctet: ":"),
            name.utf8[colon...].dropFirst().allSatisfy({ (0x30...0x39).contains($0) }),
            !name.starts(withOctets: "[") || name[..<colon].ends(withOctets: "]")
        {
            name = name[..<colon]
        }
        if name == "localhost" { return true }
        if let inner = name.rest(behind: "[")?.rest(before: "]") { name = inner }
        return IPAddress(name)?.isLoopback == true
    }
}
