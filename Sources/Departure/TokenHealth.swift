// TokenHealth.swift — how long a refresh token still lives when nobody uses it. Pure but for the note of its last use.
//
// Providers let go of a refresh token that was not used for a while: Microsoft after 90 days, Google after six months. The relay
// uses each once a week, with or without mail; what this tells is for the case that it cannot.

package import Mail

/// What is to be done about a refresh token.
package struct TokenHealth: Hashable, Sendable {
    /// Days before the end that people are told.
    package static let warning = 14
    /// Days without a use, mail or none, after which the relay uses it by itself.
    package static let rest = 7
    private static let day: Int64 = 86_400_000

    /// When the server took it last, or when it was first seen here.
    package let lastUse: Timestamp
    /// When it ends by not being used; nil: it does not.
    package let end: Timestamp?

    /// - Parameter days: that it lives without a use; nil: for ever.
    package init(lastUse: Timestamp, days: Int?) {
        self.lastUse = lastUse
        end = days.map { lastUse.adding(milliseconds: Int64($0) * Self.day) }
    }

    /// Milliseconds since it was used.
    package func idle(at now: Timestamp) -> Int64 { max(0, now.milliseconds(since: lastUse)) }

    /// It should be used, lest it ends.
    package func wantsUse(at now: Timestamp) -> Bool {
        guard let end else { return false }
        // One that lives shortly is used at half of its life.
        let life = end.milliseconds(since: lastUse)
        return idle(at: now) >= min(Int64(Self.rest) * Self.day, life / 2)
    }

    /// Somebody should be told.
    package func isExpiring(at now: Timestamp) -> Bool {
        guard let end else { return false }
        return end.milliseconds(since: now) <= Int64(Self.warning) * Self.day
    }

    /// Days that a refresh token lives without being used.
    ///
    /// - Parameter days: what the settings say, 0 for ever; nil: the provider decides.
    /// - Returns: nil where no end is known.
    package static func days(of tokenURL: String, settings days: Int?) -> Int? {
        if let days { return days == 0 ? nil : days }
        return OAuthProvider.idleDays(of: tokenURL)
    }
}

extension TokenSource {
    /// When the server took the refresh token of a grant last.
    ///
    /// May block, for a small file. A grant that was never seen begins now.
    package func lastUse(of grant: OAuthGrant, at now: Timestamp) -> Timestamp {
        let bytes = store?.load(Self.useName(grant)) ?? []
        if let milliseconds = Int64(String(decoding: bytes, as: UTF8.self)), milliseconds > 0 {
            return Timestamp(milliseconds: milliseconds)
        }
        noteUse(of: grant, at: now)
        return now
    }

    /// The server took it.
    func noteUse(of grant: OAuthGrant, at time: Timestamp) {
        _ = store?.save(Self.useName(grant), Array("\(time.milliseconds)".utf8))
    }

    /// Whether people were told of the end that a last use leads to; says so for the next time.
    package func tellsOnce(of grant: OAuthGrant, _ health: TokenHealth) -> Bool {
        let (name, words) = ("\(TokenStore.name(of: grant)).told", Array("\(health.lastUse.milliseconds)".utf8))
        guard store?.load(name) != words else { return false }
        _ = store?.save(name, words)
        return true
    }

    private static func useName(_ grant: OAuthGrant) -> String { "\(TokenStore.name(of: grant)).used" }
}
