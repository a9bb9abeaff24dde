// FilterChain.swift — the milters of `milters.ini` now, in its order; a section that did not change keeps its connections and its
// breaker.

package import Config
package import Log
package import Mail
import Synchronization

/// All milters; safe from any thread.
package final class FilterChain: Sendable {
    private let log: LogSink
    private let desks = Mutex<[MilterDesk]>([])

    package init(log: LogSink) { self.log = log }

    /// Those that see mail from now on.
    package func use(_ settings: [MilterSettings]) {
        let gone = desks.withLock { desks in
            let before = desks
            desks = settings.map { settings in
                before.first { $0.settings == settings } ?? MilterDesk(settings, log: log)
            }
            return before.filter { desk in !desks.contains { $0 === desk } }
        }
        for desk in gone { desk.retire() }
    }

    /// The milters that are asked about a message, in their order.
    package func desks(where isConcerned: (MilterSettings) -> Bool) -> [MilterDesk] {
        desks.withLock { $0 }.filter { isConcerned($0.settings) }
    }

    /// Those that are told a session step by step: all of it, or from where it is known that its mail is theirs.
    package func companions(
        by way: MilterSettings.Way,
        from client: (address: IPAddress?, here: ListenAddress?, listeners: [ListenAddress])
    ) -> [MilterDesk] {
        desks { $0.concerns(by: way, from: client) }
    }

    /// How each of them is.
    package var health: [MilterDesk.Health] { desks.withLock { $0 }.map(\.health) }
}
