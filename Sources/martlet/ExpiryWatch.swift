// ExpiryWatch.swift — says once a day which tokens of the API and which app passwords end within a fortnight.

import Config
import History
import Log
import Mail
import Synchronization

/// What was said when; a restart says it again.
final class ExpiryWatch: Sendable {
    /// Milliseconds: how long before the end somebody is told, how often, and between two looks.
    private static let (notice, pause, interval): (Int64, Int64, Int64) = (14 * 86_400_000, 86_400_000, 3_600_000)

    private struct State {
        var due = Timestamp(milliseconds: 0)
        var told: [String: Timestamp] = [:]
    }

    private let state = Mutex(State())

    /// Looks, when it is time.
    ///
    /// - Returns: what is to be told.
    func look(_ settings: Settings, at now: Timestamp) -> [CommandFact] {
        state.withLock { state in
            guard now >= state.due else { return [] }
            state.due = now.adding(milliseconds: Self.interval)
            state.told = state.told.filter { now.milliseconds(since: $0.value) < Self.pause }
            let ending = Self.ending(settings, at: now).filter { state.told[$0.subject] == nil }
            for one in ending { state.told[one.subject] = now }
            return ending.map { one in
                var fact = CommandFact(.tokenExpiring, at: now)
                (fact.subject, fact.until) = (one.subject, one.end)
                return fact
            }
        }
    }

    private static func ending(_ settings: Settings, at now: Timestamp) -> [(subject: String, end: Timestamp)] {
        let tokens = settings.admin.tokens.filter { $0.digest != nil }.map { ("token \($0.name)", $0.expires) }
        let apps = settings.auth.apps.values.flatMap(\.self).map {
            ("app password \($0.name) of \($0.user)", $0.expires)
        }
        return (tokens + apps).compactMap { subject, end in
            guard let end, end > now, end.milliseconds(since: now) <= notice else { return nil }
            return (subject, end)
        }
    }
}
