// AuthThrottle.swift — who failed to authenticate has to wait, longer each time. Pure: time is passed in.
//
// Counted per address (a /64 of IPv6) and per account, so that neither one guesser at many accounts nor many guessers at
// one account get on. Nobody is locked out for good: failures fade, and an address from which a login has succeeded is
// not kept waiting for what others do to that account. Memory is bounded whatever comes.

package import Mail

/// Counts failures and says who may try.
package struct AuthThrottle: Sendable {
    /// Whether an attempt may be looked at.
    package enum Verdict: Hashable, Sendable {
        /// Yes; ``finished(_:_:succeeded:at:)`` must follow.
        case go
        /// Ask again after so many milliseconds.
        case wait(Int64)
        /// It has waited long enough: the session is to end.
        case end
    }

    private struct Record {
        var failures = 0
        /// When the next attempt may be looked at.
        var free = Uptime(milliseconds: .min)
        var failedAt = Uptime(milliseconds: .min)
        /// Attempts that are being looked at.
        var inFlight = 0
    }

    private struct Pair: Hashable {
        let client: IPAddress
        let user: String
    }

    /// Attempts of somebody without failures that may be looked at at once.
    private static let crowd = 16
    /// Milliseconds after which one failure is forgotten.
    private static let fading: Int64 = 600_000
    /// Milliseconds between two looks at something that is only busy.
    private static let turn: Int64 = 1000
    private static let firstDelay: Int64 = 1000

    private var clients: Bounded<IPAddress, Record>
    private var accounts: Bounded<String, Record>
    /// Where logins have succeeded from.
    private var known: Bounded<Pair, Bool>

    /// - Parameter capacity: how many addresses, accounts and pairs of both are remembered, at least.
    package init(capacity: Int = 4096) {
        clients = Bounded(atLeast: capacity)
        accounts = Bounded(atLeast: capacity)
        known = Bounded(atLeast: capacity)
    }

    /// Asks for an attempt.
    ///
    /// - Parameters:
    ///   - since: when this attempt first asked.
    ///   - maxDelay: milliseconds that an attempt waits at most.
    package mutating func ask(
        _ client: IPAddress?,
        _ user: String,
        since: Uptime,
        at now: Uptime,
        maxDelay: Int64
    ) -> Verdict {
        let client = client?.subscriber
        let isKnown = client.map { known[Pair(client: $0, user: user)] ?? false } ?? false
        if !isKnown {
            let first = client.flatMap { clients[$0] }.map { Self.waiting($0, now) } ?? 0
            let second = accounts[user].map { Self.waiting($0, now) } ?? 0
            let wait = min(max(first, second), maxDelay)
            if wait > 0 {
                // A second for the turn that may be in the way besides the delay.
                return now.milliseconds &- since.milliseconds > maxDelay &+ Self.turn ? .end : .wait(wait)
            }
        }
        if let client { clients[client, default: Record()].inFlight += 1 }
        accounts[user, default: Record()].inFlight += 1
        return .go
    }

    /// Tells what became of an attempt; nil: nothing, for want of a store to ask.
    ///
    /// - Parameter maxDelay: milliseconds.
    package mutating func finished(
        _ client: IPAddress?,
        _ user: String,
        succeeded: Bool?,
        at now: Uptime,
        maxDelay: Int64
    ) {
        let client = client?.subscriber
        if let client {
            Self.count(&clients[client, default: Record()], succeeded, now, maxDelay, forgives: 1)
            let pair = Pair(client: client, user: user)
            if let succeeded { known[pair] = succeeded }
        }
        Self.count(&accounts[user, default: Record()], succeeded, now, maxDelay, forgives: .max)
    }

    /// Failures that still count against an address.
    package mutating func failures(of client: IPAddress, at now: Uptime) -> Int {
        clients[client.subscriber].map { Self.standing($0, now) } ?? 0
    }

    /// Milliseconds until another attempt may be looked at.
    private static func waiting(_ record: Record, _ now: Uptime) -> Int64 {
        guard standing(record, now) > 0 else { return record.inFlight >= crowd ? turn : 0 }
        if now < record.free { return record.free.milliseconds &- now.milliseconds }
        return record.inFlight > 0 ? turn : 0
    }

    private static func standing(_ record: Record, _ now: Uptime) -> Int {
        guard record.failures > 0 else { return 0 }
        let faded = max(0, now.milliseconds &- record.failedAt.milliseconds) / fading
        return max(0, record.failures &- Int(clamping: faded))
    }

    private static func count(
        _ record: inout Record,
        _ succeeded: Bool?,
        _ now: Uptime,
        _ maxDelay: Int64,
        forgives: Int
    ) {
        record.inFlight = max(0, record.inFlight - 1)
        guard let succeeded else { return }
        let standing = standing(record, now)
        guard !succeeded else {
            record.failures = forgives >= standing ? 0 : standing - forgives
            return
        }
        record.failures = standing + 1
        record.failedAt = now
        let delay = min(maxDelay, firstDelay << Int64(min(standing, 20)))
        record.free = now.adding(milliseconds: delay)
    }
}
