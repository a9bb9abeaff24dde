// TokenCare.swift — refresh tokens of the route table: used once a week with or without mail, and spoken of before they end.
//
// Guarantees: a token server that does not answer is asked a few times a day at most; people are told once of each end.

import Config
import Departure
import HTTPClient
import History
import Log
import Mail
import Queue
import Synchronization

/// Looks after the tokens of a running relay.
final class TokenCare: Sendable {
    /// Milliseconds between two looks, and between two uses that failed.
    private static let pause: Int64 = 60_000, usePause: Int64 = 6 * 3_600_000

    private struct State {
        var next = Timestamp(milliseconds: 0)
        var nextUse: [OAuthGrant: Timestamp] = [:]
    }

    /// A grant of the route table, and who logs in with it.
    private struct Charge: Sendable {
        let user: String
        let grant: OAuthGrant
        let health: TokenHealth
    }

    let source: TokenSource
    private let settings: SettingsStore
    private let queue: MailQueue
    private let log: LogSink
    private let state = Mutex(State())

    init(_ fetch: WebFetch, _ launch: Launch, _ queue: MailQueue) {
        source = TokenSource(fetch, store: TokenStore(directory: "\(launch.dataPath)/oauth"))
        (settings, log, self.queue) = (launch.settings, launch.log, queue)
    }

    /// Once a second, on the main thread.
    func tick(at now: Timestamp) {
        let isDue = state.withLock { state in
            guard now >= state.next else { return false }
            state.next = now.adding(milliseconds: Self.pause)
            return true
        }
        if isDue { look(at: now) }
    }

    private func look(at now: Timestamp) {
        let (routes, days) = (settings.current.routes, settings.current.outbound.oauthIdleDays)
        let logins = routes.grants
        let charges = logins.compactMap { user, grant -> Charge? in
            guard grant.refreshToken != nil else { return nil }
            let life = TokenHealth.days(of: grant.tokenURL, settings: days)
            return Charge(
                user: user,
                grant: grant,
                health: TokenHealth(lastUse: source.lastUse(of: grant, at: now), days: life)
            )
        }
        let left = logins.compactMap { source.state(of: $0.grant)?.expires }.min()
        TokenMetrics.show(
            secondsLeft: max(0, (left?.milliseconds(since: now) ?? 0) / 1000),
            idle: (charges.map { $0.health.idle(at: now) }.max() ?? 0) / 1000
        )
        for charge in charges where charge.health.wantsUse(at: now) && mayUse(charge.grant, at: now) {
            Task { await use(charge) }
        }
    }

    private func mayUse(_ grant: OAuthGrant, at now: Timestamp) -> Bool {
        state.withLock { state in
            if let next = state.nextUse[grant], now < next { return false }
            // Those that have left the table go with the others, and begin anew.
            if state.nextUse.count > 1000 { state.nextUse = [:] }
            state.nextUse[grant] = now.adding(milliseconds: Self.usePause)
            return true
        }
    }

    private func use(_ charge: Charge) async {
        do throws(TokenError) {
            // One that is good is no use of the refresh token.
            source.forget(charge.grant)
            _ = try await source.token(for: charge.grant)
        } catch {
            tell(charge, error)
        }
    }

    /// The server does not take it, and its end comes near.
    private func tell(_ charge: Charge, _ error: TokenError) {
        guard let end = charge.health.end, charge.health.isExpiring(at: .now()) else { return }
        guard source.tellsOnce(of: charge.grant, charge.health) else { return }
        var fact = CommandFact(.tokenExpiring, at: .now())
        fact.subject = charge.user
        fact.text = "the refresh token was not used since \(charge.health.lastUse.rfc3339): \(error.reason)"
        fact.until = end
        queue.tell(fact)
        log.write(.error, "a refresh token is about to end") { line in
            line.add(.user, charge.user)
            line.add(.reason, error.reason)
        }
    }
}

extension Routes {
    /// Those who log in with access tokens, each once.
    var grants: [(user: String, grant: OAuthGrant)] {
        var known: Set<OAuthGrant> = []
        var found: [(user: String, grant: OAuthGrant)] = []
        for mx in all.values.lazy.flatMap(\.hosts) {
            guard let auth = mx.auth, case .grant(let grant) = auth.proof, known.insert(grant).inserted else {
                continue
            }
            found.append((auth.user, grant))
        }
        return found.sorted { $0.user < $1.user }
    }
}
