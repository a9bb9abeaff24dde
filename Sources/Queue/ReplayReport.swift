// ReplayReport.swift — what a replay found: by next hop, and message by message. A value.

package import Mail

/// What limits and reactions would have made of a day.
package struct ReplayReport: Hashable, Sendable {
    /// Words about one next hop at most.
    private static let mostNotes = 100
    /// Milliseconds that nobody calls late.
    private static let tolerance: Int64 = 1000

    /// Something that would have happened to a next hop.
    package struct Note: Hashable, Sendable {
        /// What.
        package enum Kind: String, Hashable, Sendable {
            case slowed, paused, recovered
        }

        package let kind: Kind
        package let at: Timestamp
        package let scope: LimitScope
        /// The name of the reaction.
        package let reaction: String
        package let origin: String
        /// `150/m`; empty for a pause.
        package var value = ""
        package var until: Timestamp?
        /// The reply.
        package let said: String
    }

    /// A next hop.
    package struct Hop: Hashable, Sendable {
        package let lane: Lane
        package var attempts = 0
        package var delivered = 0
        /// Attempts that failed, for good or for now, as it was.
        package var failed = 0
        /// Attempts that would have been answered more than a second later than they were.
        package var later = 0
        /// The same, sooner.
        package var sooner = 0
        /// Attempts that would not have been answered by the end.
        package var waiting = 0
        /// Milliseconds of the longest delay.
        package var longest: Int64 = 0
        /// When its last attempt was answered, and when it would have been.
        package var last: Timestamp?
        package var lastReplayed: Timestamp?
        /// Answers that a reaction would have made others of.
        package var changed = 0
        package var notes: [Note] = []
    }

    /// In no order before ``finish(_:)``; then those with most attempts first.
    package private(set) var hops: [Hop] = []
    /// When attempts would have been answered, by their places; what would not is missing.
    package internal(set) var times: [Int: Timestamp] = [:]
    /// An attempt that reached somebody, of each lane.
    private(set) var places: [Lane: Int] = [:]
    private var numbers: [Lane: Int] = [:]

    package init() {}

    mutating func place(_ attempts: [ReplayAttempt]) {
        for (index, attempt) in attempts.enumerated() where places[attempt.lane] == nil && !attempt.hosts.isEmpty {
            places[attempt.lane] = index
        }
    }

    private mutating func hop(_ lane: Lane) -> Int {
        if let number = numbers[lane] { return number }
        numbers[lane] = hops.count
        hops.append(Hop(lane: lane))
        return hops.count - 1
    }

    private mutating func add(_ note: Note, _ lane: Lane) {
        let number = hop(lane)
        if hops[number].notes.count < Self.mostNotes { hops[number].notes.append(note) }
    }

    mutating func slowed(_ slowing: Slowing, _ lane: Lane, at wall: Timestamp) {
        add(
            Note(
                kind: .slowed,
                at: wall,
                scope: slowing.scope,
                reaction: slowing.reaction,
                origin: slowing.origin,
                value: slowing.text,
                said: slowing.said
            ),
            lane
        )
    }

    mutating func recovered(_ slowing: Slowing, at wall: Timestamp) {
        let note = Note(
            kind: .recovered,
            at: wall,
            scope: slowing.scope,
            reaction: slowing.reaction,
            origin: slowing.origin,
            value: slowing.baseText,
            said: slowing.said
        )
        let those = hops.filter { $0.notes.contains { $0.scope == slowing.scope } }.map(\.lane)
        if let lane = those.first { add(note, lane) }
    }

    mutating func paused(_ pause: Pause, _ reaction: Reaction, _ lane: Lane, at wall: Timestamp) {
        add(
            Note(
                kind: .paused,
                at: wall,
                scope: pause.scope,
                reaction: reaction.name,
                origin: reaction.origin,
                until: pause.until,
                said: pause.reason
            ),
            lane
        )
    }

    mutating func count(_ reaction: Reaction, _ lane: Lane) { hops[hop(lane)].changed += 1 }

    /// Counts what became of everything.
    mutating func finish(_ attempts: [ReplayAttempt]) {
        for (index, attempt) in attempts.enumerated() {
            let number = hop(attempt.lane)
            hops[number].attempts += 1
            if attempt.isDelivered { hops[number].delivered += 1 }
            if !attempt.failures.isEmpty { hops[number].failed += 1 }
            hops[number].last = max(hops[number].last ?? attempt.answered, attempt.answered)
            guard let time = times[index] else {
                hops[number].waiting += 1
                continue
            }
            let delay = time.milliseconds(since: attempt.answered)
            if delay > Self.tolerance { hops[number].later += 1 }
            if delay < -Self.tolerance { hops[number].sooner += 1 }
            hops[number].longest = max(hops[number].longest, delay)
            hops[number].lastReplayed = max(hops[number].lastReplayed ?? time, time)
        }
        hops.sort { ($1.attempts, $0.lane.description) < ($0.attempts, $1.lane.description) }
        numbers = [:]
    }
}
