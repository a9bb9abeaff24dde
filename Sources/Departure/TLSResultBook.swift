// TLSResultBook.swift — the results of sessions while they are gathered, and what became of the reports on them.

package import JSON
package import Mail
import Synchronization

/// Where deliveries note how their sessions were protected; safe to use from anywhere.
package final class TLSResultBook: Sendable {
    /// A report that was sent, or could not be.
    package struct Sending: Hashable, Sendable {
        package let time: Timestamp
        package let domain: Domain
        /// Where to: `mailto:…` or `https://…`.
        package let target: String
        /// nil: it was taken.
        package let trouble: String?

        package init(at time: Timestamp, _ domain: Domain, to target: String, trouble: String?) {
            (self.time, self.domain, self.target, self.trouble) = (time, domain, target, trouble)
        }
    }

    private static let mostSendings = 200

    private struct State {
        var results = TLSResults()
        var sendings: [Sending] = []
        var isChanged = false
    }

    private let counts = Atomic<Bool>(false)
    private let state = Mutex(State())

    package init() {}

    /// Whether sessions are counted at all; nobody is told of them otherwise.
    package var isCounting: Bool {
        get { counts.load(ordering: .relaxed) }
        set { counts.store(newValue, ordering: .relaxed) }
    }

    /// Counts a session, if sessions are counted.
    package func note(_ session: @autoclosure () -> TLSSession?, at time: Timestamp = .now()) {
        guard isCounting, let session = session() else { return }
        state.withLock { state in
            state.results.add(session, at: time)
            state.isChanged = true
        }
    }

    /// What is counted and not yet reported.
    package var results: TLSResults { state.withLock { $0.results } }

    /// The newest last.
    package var sendings: [Sending] { state.withLock { $0.sendings } }

    /// Puts in front what an earlier process counted.
    package func restore(_ results: TLSResults) { state.withLock { $0.results = results } }

    /// A day of a domain is done with.
    package func drop(_ domain: Domain, of day: Int64) {
        state.withLock { state in
            state.results.drop(domain, of: day)
            state.isChanged = true
        }
    }

    package func add(_ sending: Sending) {
        state.withLock { state in
            if state.sendings.count >= Self.mostSendings { state.sendings.removeFirst() }
            state.sendings.append(sending)
        }
    }

    /// What is to be written to the disk; nil: nothing has changed since the last call.
    package func changes(at time: Timestamp) -> JSON? {
        state.withLock { state in
            guard state.isChanged else { return nil }
            state.isChanged = false
            state.results.expire(at: time)
            return state.results.json
        }
    }
}
