// Breaker.swift — a circuit breaker: after some failures in a row a program is left alone for a while. Pure; time is
// passed in.

/// Whether a program may be asked.
///
/// closed (asked) → open (left alone) → half-open (one question tries) → closed, or open again.
package struct Breaker: Hashable, Sendable {
    private enum State: Hashable, Sendable {
        case closed(failures: Int)
        case open(until: Uptime)
        case halfOpen
    }

    private let limit: Int
    private let pause: Int64
    private var state = State.closed(failures: 0)

    /// - Parameters:
    ///   - limit: failures in a row that open it; 0 never does.
    ///   - pause: milliseconds for which it stays open.
    package init(limit: Int, pause: Int64) {
        self.limit = limit
        self.pause = pause
    }

    /// Whether to ask now; after the pause one question is let through, and the others wait for what it comes to.
    package mutating func mayAsk(at now: Uptime) -> Bool {
        switch state {
        case .closed: return true
        case .halfOpen: return false
        case .open(let until):
            guard now >= until else { return false }
            state = .halfOpen
            return true
        }
    }

    /// A question was answered.
    ///
    /// - Returns: whether the program was left alone until now.
    package mutating func succeeded() -> Bool {
        defer { state = .closed(failures: 0) }
        if case .closed = state { return false }
        return true
    }

    /// It is left alone now, or one question tries whether it still has to be.
    package var isOpen: Bool { if case .closed = state { false } else { true } }

    /// Whoever asked does not want to know any more: somebody else may try.
    package mutating func abandoned(at now: Uptime) {
        if case .halfOpen = state { state = .open(until: now) }
    }

    /// A question was not answered.
    ///
    /// - Returns: whether the program is left alone from now on.
    package mutating func failed(at now: Uptime) -> Bool {
        switch state {
        case .closed(let failures):
            guard limit > 0, failures + 1 >= limit else {
                state = .closed(failures: failures + 1)
                return false
            }
            state = .open(until: now.adding(milliseconds: pause))
            return true
        case .halfOpen:
            state = .open(until: now.adding(milliseconds: pause))
            return false
        case .open: return false
        }
    }
}
