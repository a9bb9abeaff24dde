// EventNews.swift — wakes those who wait for the next event: threads that wait, and listeners that are called.

import Files
import Mail
import Synchronization

/// Tells that events were added.
final class EventNews: Sendable {
    private struct State: Sendable {
        var listeners: [UInt64: @Sendable () -> Void] = [:]
        var last: UInt64 = 0
    }

    private let state = Mutex(State())

    func tell() { for listener in state.withLock({ Array($0.listeners.values) }) { listener() } }

    /// Calls `body` with every ``tell()`` until the token is let go of.
    func listen(_ body: @escaping @Sendable () -> Void) -> NewsToken {
        let number = state.withLock { state in
            state.last += 1
            state.listeners[state.last] = body
            return state.last
        }
        return NewsToken { [weak self] in self?.state.withLock { $0.listeners[number] = nil } }
    }

    /// Waits until `isThere` is true, which is asked again with every ``tell()``, or so many milliseconds.
    func wait(atMost milliseconds: Int, _ isThere: () -> Bool) -> Bool {
        let end = Uptime.now().adding(milliseconds: Int64(milliseconds))
        let bell = Doorbell()
        let token = listen { bell.ring() }
        defer { withExtendedLifetime(token) {} }
        while !isThere() {
            let left = end.milliseconds(since: .now())
            guard left > 0 else { return false }
            bell.wait(atMost: Int(min(left, 3_600_000)) * 1_000_000)
        }
        return true
    }
}
