// WebQueue.swift — requests that wait for a thread: whoever hangs holds up no one else.
//
// Guarantees: a request ends within its timeout; a host has a part of the threads; hosts that were slow
// before have half of the threads at most, and no burst takes all of them at once (`LookupTurns`).

import DNS
import HTTPClient
import Synchronization

/// Takes requests to threads in turn.
package final class WebQueue: Sendable {
    typealias Done = @Sendable (Result<HTTPResponse, HTTPError>) -> Void

    fileprivate struct Entry {
        let request: HTTPRequest
        let host: String
        let begin: ContinuousClock.Instant
        let deadline: ContinuousClock.Instant
        let continuation: CheckedContinuation<Result<HTTPResponse, HTTPError>, Never>
        var isOut = false
    }

    fileprivate struct State {
        var turns: LookupTurns
        var lastID: UInt64 = 0
        var entries: [UInt64: Entry] = [:]
        /// Requests of a host that wait for their turn or are out.
        var active: [String: Int] = [:]
        /// Requests of hosts that have as many as they may, in order.
        var behind: [String: [UInt64]] = [:]
        var isTicking = false
        /// Threads that one host may hold.
        let perHost: Int

        init(turns: LookupTurns, perHost: Int) { (self.turns, self.perHost) = (turns, perHost) }
    }

    /// Threads that one host may hold, unless it is said otherwise.
    package static let mostPerHost = 4
    /// Requests that wait; more fail at once.
    fileprivate static let most = 10_000
    /// An answer usually comes within a handshake or two.
    private static let soon: Duration = .milliseconds(1500)
    /// While somebody waits, turns and deadlines are looked at this often.
    private static let tick: Duration = .milliseconds(250)

    private let state: Mutex<State>
    private let launch: @Sendable (HTTPRequest, @escaping Done) -> Void

    /// - Parameters:
    ///   - limit: requests that are out at once: threads.
    ///   - perHost: threads that one host may hold.
    ///   - launch: sends a request on a thread and says what came of it.
    init(limit: Int, perHost: Int = mostPerHost, _ launch: @escaping @Sendable (HTTPRequest, @escaping Done) -> Void) {
        state = Mutex(State(turns: LookupTurns(limit: limit, soon: Self.soon, held: .zero), perHost: perHost))
        self.launch = launch
    }

    /// Sends a request when it is its turn.
    func send(_ request: HTTPRequest) async -> Result<HTTPResponse, HTTPError> {
        await withCheckedContinuation { continuation in
            if state.withLock({ $0.add(request, continuation) }) {
                proceed()
            } else {
                continuation.resume(returning: .failure(HTTPError(.broken, "too many requests wait")))
            }
        }
    }

    /// Launches whose turn it is, and ends what has waited too long; comes again while somebody waits.
    private func proceed() {
        let now = ContinuousClock.now
        let (late, next, mustTick) = state.withLock { state in
            let late = state.late(at: now)
            let next = state.next(at: now)
            let mustTick = !state.isTicking && state.entries.values.contains { !$0.isOut }
            if mustTick { state.isTicking = true }
            return (late, next, mustTick)
        }
        for entry in late {
            let error = HTTPError(
                .timedOut,
                "no answer in time: too many servers hang, and \(entry.host) was not asked"
            )
            entry.continuation.resume(returning: .failure(error))
        }
        for (id, request) in next { launch(request) { self.ended(id, $0) } }
        guard mustTick else { return }
        Task {
            try? await Task.sleep(for: Self.tick)
            state.withLock { $0.isTicking = false }
            proceed()
        }
    }

    private func ended(_ id: UInt64, _ result: Result<HTTPResponse, HTTPError>) {
        let entry = state.withLock { $0.remove(id, result, at: .now) }
        entry?.continuation.resume(returning: result)
        proceed()
    }
}

extension WebQueue.State {
    /// - Returns: false when too many wait.
    fileprivate mutating func add(
        _ request: HTTPRequest,
        _ continuation: CheckedContinuation<Result<HTTPResponse, HTTPError>, Never>
    ) -> Bool {
        guard entries.count < WebQueue.most else { return false }
        let now = ContinuousClock.now
        lastID += 1
        // Another port is another server.
        let host = (try? WebURL(request.url)).map { "\($0.host):\($0.port)" } ?? request.url
        entries[lastID] = WebQueue.Entry(
            request: request,
            host: host,
            begin: now,
            deadline: now + request.timeout,
            continuation: continuation
        )
        if active[host, default: 0] < perHost {
            active[host, default: 0] += 1
            turns.add(lastID, host, at: now)
        } else {
            behind[host, default: []].append(lastID)
        }
        return true
    }

    /// Takes out what waits and is past its deadline; what is out ends by the timeout that libcurl keeps.
    fileprivate mutating func late(at now: ContinuousClock.Instant) -> [WebQueue.Entry] {
        let late = entries.filter { !$0.value.isOut && $0.value.deadline <= now }.keys
        return late.compactMap { remove($0, nil, at: now) }
    }

    fileprivate mutating func next(at now: ContinuousClock.Instant) -> [(UInt64, HTTPRequest)] {
        var next: [(UInt64, HTTPRequest)] = []
        while let id = turns.next(at: now) {
            guard let entry = entries[id] else {
                turns.end(id)
                continue
            }
            entries[id]?.isOut = true
            var request = entry.request
            request.timeout = max(.milliseconds(1), entry.deadline - now)
            next.append((id, request))
        }
        return next
    }

    /// - Parameter result: nil: it was never sent.
    fileprivate mutating func remove(
        _ id: UInt64,
        _ result: Result<HTTPResponse, HTTPError>?,
        at now: ContinuousClock.Instant
    ) -> WebQueue.Entry? {
        guard let entry = entries.removeValue(forKey: id) else { return nil }
        if case .failure(let error) = result, error.kind == .timedOut {
            turns.gaveUp(id, isResolverAlive: true, at: now)
        } else if result != nil {
            turns.answered(id, at: now)
        } else {
            turns.end(id)
        }
        if let index = behind[entry.host]?.firstIndex(of: id) {
            behind[entry.host]?.remove(at: index)
        } else if let next = behind[entry.host]?.first {
            // Its place goes to the next request of the same host.
            behind[entry.host]?.removeFirst()
            turns.add(next, entry.host, at: now)
        } else {
            active[entry.host, default: 1] -= 1
            if active[entry.host] == 0 { active[entry.host] = nil }
        }
        if behind[entry.host]?.isEmpty ?? false { behind[entry.host] = nil }
        return entry
    }
}
