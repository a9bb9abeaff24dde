// AdminConnections.swift — the open connections of one listener: how many there are, from where, and until when each may be slow.
//
// The library's own timeout ends only silence; somebody who sends a byte now and then would keep a thread for ever. So
// each connection has a deadline for what it does now, and once a second those that passed theirs are shut down.

import Glibc
import Mail
import Synchronization

/// Connections with their deadlines.
final class AdminConnections: Sendable {
    /// What a connection is busy with.
    enum Phase: Hashable, Sendable {
        /// The next request should come.
        case reading
        /// A handler works: it ends by itself.
        case working
        /// An answer is taken.
        case writing
    }

    private struct Entry {
        let socket: Int32
        let client: IPAddress?
        var deadline: Int64
    }

    private struct State {
        var entries: [UInt64: Entry] = [:]
        var next: UInt64 = 0
        var isClosing = false
    }

    /// An answer has this many times the time of a request: a listing of a long queue over a slow line.
    private static let writingFactor: Int64 = 30

    private let limit: Int
    private let limitPerClient: Int
    /// Milliseconds.
    private let timeout: Int64
    private let state = Mutex(State())

    init(limit: Int, perClient: Int, timeout: Int) {
        self.limit = limit
        limitPerClient = perClient
        self.timeout = Int64(timeout) * 1000
    }

    var count: Int { state.withLock { $0.entries.count } }

    /// A connection stands.
    ///
    /// - Returns: its number.
    func opened(_ socket: Int32, from client: IPAddress?, at now: Uptime) -> UInt64 {
        state.withLock { state in
            state.next += 1
            state.entries[state.next] = Entry(
                socket: socket,
                client: client,
                deadline: now.milliseconds + timeout
            )
            return state.next
        }
    }

    /// A connection is about to be closed; its descriptor is ours no more.
    func closed(_ number: UInt64) { state.withLock { $0.entries[number] = nil } }

    /// Whether this one is beyond what may be open at once.
    func isBeyondLimit(_ number: UInt64) -> Bool {
        state.withLock { state in
            guard state.entries.count <= limit, !state.isClosing else { return true }
            guard let client = state.entries[number]?.client else { return false }
            return state.entries.values.count { $0.client == client } > limitPerClient
        }
    }

    /// A connection begins something else.
    func enters(_ phase: Phase, _ number: UInt64, at now: Uptime) {
        let deadline =
            switch phase {
            case .reading: now.milliseconds + timeout
            case .working: Int64.max
            case .writing: now.milliseconds + timeout * Self.writingFactor
            }
        state.withLock { $0.entries[number]?.deadline = deadline }
    }

    /// More time, for a body that is large and comes steadily: a second for each 16 KiB.
    func extend(_ number: UInt64, bytes: Int) {
        state.withLock { state in
            guard let deadline = state.entries[number]?.deadline, deadline < .max else { return }
            state.entries[number]?.deadline = deadline + Int64(bytes / 16)
        }
    }

    /// Shuts down those that were too slow.
    func sweep(at now: Uptime) {
        state.withLock { state in
            for (number, entry) in state.entries where entry.deadline < now.milliseconds {
                // The descriptor cannot be another's: `closed` comes before it is closed, and waits for this lock.
                shutdown(entry.socket, Int32(SHUT_RDWR))
                state.entries[number]?.deadline = .max
            }
        }
    }

    /// From now on every request gets 503.
    func close() { state.withLock { $0.isClosing = true } }
}
