// PostOffice.swift — sends messages to mail APIs, on threads made for it.
//
// Guarantees: what is in memory for it is bounded; an API that said when it wants to be asked again is not asked before; no
// token and no key is part of what it says.

package import Departure
package import Mail
import Synchronization

/// Sends messages to mail APIs.
package final class PostOffice: Sendable {
    /// Octets of messages that are on their way; each needs some four times that while it is.
    private static let room = 64 << 20
    /// The longest time that an API may put us off by, seconds.
    private static let longestRest = 3600

    private struct State {
        var used = 0
        /// Until when an API wants to hear nothing.
        var quiet: [MailAPI: Timestamp] = [:]
    }

    private let fetch: WebFetch
    private let tokens: TokenSource
    private let now: @Sendable () -> Timestamp
    private let state = Mutex(State())

    /// - Parameters:
    ///   - fetch: threads that wait for APIs and for nothing else.
    ///   - tokens: gives access tokens.
    ///   - now: the time.
    package init(_ fetch: WebFetch, tokens: TokenSource, now: @escaping @Sendable () -> Timestamp = { .now() }) {
        (self.fetch, self.tokens, self.now) = (fetch, tokens, now)
    }

    /// Seconds for which an API wants to hear nothing; nil: it may be asked.
    func rest(of api: MailAPI) -> Int64? {
        let time = now()
        return state.withLock { state in
            guard let end = state.quiet[api] else { return nil }
            if end > time { return (end.milliseconds(since: time) + 999) / 1000 }
            state.quiet[api] = nil
            return nil
        }
    }

    /// Room for a message of so many octets.
    ///
    /// - Returns: false when there is none now; else it is given back with ``leave(_:)``.
    func enter(_ octets: Int) -> Bool {
        state.withLock { state in
            guard state.used == 0 || state.used + octets <= Self.room else { return false }
            state.used += octets
            return true
        }
    }

    /// The message is gone.
    func leave(_ octets: Int) { state.withLock { $0.used -= octets } }

    /// Sends a message; ends with a reply, or without one.
    func send(_ posting: Posting) async -> PostStep {
        var isRepeated = false
        while true {
            var token = posting.login.secret
            if let grant = posting.login.grant {
                do throws(TokenError) { token = try await tokens.token(for: grant) } catch {
                    return .reply(Reply(451, EnhancedStatus(4, 7, 0), "no access token: \(error.reason)"))
                }
            }
            guard let request = posting.request(token, at: now()) else {
                let words = "mail without a sender has no mailbox to go from: give auth_user one"
                return .reply(Reply(550, EnhancedStatus(5, 1, 8), words))
            }
            let answer = PostAnswer(await fetch(request), to: posting, isRepeated: isRepeated)
            note(answer)
            let step = postStep(after: answer)
            guard case .renew = step else { return step }
            guard let grant = posting.login.grant else {
                var last = answer
                last.isRepeated = true
                return postStep(after: last)
            }
            tokens.forget(grant)
            isRepeated = true
        }
    }

    private func note(_ answer: PostAnswer) {
        guard let status = answer.status, status == 429 || status == 503, let seconds = answer.retryAfter, seconds > 0
        else { return }
        let end = now().adding(milliseconds: Int64(min(seconds, Self.longestRest)) * 1000)
        state.withLock { $0.quiet[answer.api] = end }
    }
}
