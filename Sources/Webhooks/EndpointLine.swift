// EndpointLine.swift — how far one receiver is: what it has, what is on its way, what waits for another try. A value without
// clocks, sockets or files.
//
// Guarantees: everything up to the cursor is taken, dropped, not for this receiver, or in a stretch that waits for another
// try; cursor and stretches are what is kept on disk, so that after a crash only what was on its way is sent again. While
// a receiver is well its events leave in order; what failed keeps its composition, and so its id, in every try.

package import History
package import JSON
package import Mail

/// The state of one receiver.
package struct EndpointLine: Hashable, Sendable {
    /// Events from one number to another that wait for another try, or are to be sent once more.
    package struct Stretch: Hashable, Sendable {
        package let id: Int
        package var first: UInt64
        package let last: UInt64
        /// Events in one body at most.
        package var size: Int
        package var tries = 0
        package var due: Timestamp
        /// New events wait for it.
        package var blocks = false
        package var isReplay = false
    }

    /// A request that is out.
    package struct Flight: Hashable, Sendable {
        package let id: Int
        /// The numbers it covers; those in between that are not for this receiver are settled with it.
        package let first: UInt64
        package let last: UInt64
        package let events: Int
        /// The stretch it is of; nil: new events.
        package let stretch: Int?
        package let size: Int
        package let tries: Int
    }

    /// What to read next.
    package enum Wish: Hashable, Sendable {
        /// New events behind this number.
        case news(after: UInt64)
        case stretch(Stretch)
    }

    /// Stretches at once; beyond, new events wait whatever fails.
    static let mostStretches = 100
    /// Milliseconds between requests to an overloaded receiver, at first and at most.
    private static let pace: ClosedRange<Int64> = 1000...60_000

    /// New events up to here were looked at.
    package private(set) var head: UInt64
    package private(set) var stretches: [Stretch] = []
    package private(set) var flights: [Flight] = []
    private var lastID = 0
    /// Since events were last passed by.
    private var hasTakenOthers = true
    /// Milliseconds between requests; 0: as they come.
    private var gap: Int64 = 0
    private var notBefore = Timestamp(milliseconds: 0)
    /// Failures in a row.
    package private(set) var failures = 0
    /// Events taken, and those that the receiver did not want.
    package private(set) var taken: UInt64 = 0
    package private(set) var dropped: UInt64 = 0
    /// Why nothing is sent until somebody switches it on again; nil: it is on.
    package private(set) var disabledReason: String?
    /// A sentence without a secret; nil while all is well.
    package private(set) var lastError: String?
    package private(set) var lastErrorAt: Timestamp?
    package private(set) var lastTakenAt: Timestamp?

    /// A new receiver hears of what happens from now on.
    package init(cursor: UInt64) { head = cursor }

    /// Everything up to here needs no second look.
    package var cursor: UInt64 { flights.filter { $0.stretch == nil }.map { $0.first - 1 }.min() ?? head }

    /// Events, at most, that are not taken: numbers, whether for this receiver or not.
    package func lag(newest: UInt64) -> UInt64 {
        stretches.filter { !$0.isReplay }.reduce(newest >= cursor ? newest - cursor : 0) {
            $0 + ($1.last - $1.first + 1)
        }
    }

    /// When something is to be done without a new event; nil: nothing.
    package func nextTime(after now: Timestamp, concurrency: Int) -> Timestamp? {
        guard disabledReason == nil, flights.count < limit(concurrency) else { return nil }
        if notBefore > now { return notBefore }
        return stretches.filter { stretch in !flights.contains { $0.stretch == stretch.id } }.map(\.due).min()
    }

    /// What may be sent now.
    package func wish(at now: Timestamp, concurrency: Int) -> Wish? {
        guard disabledReason == nil, now >= notBefore, flights.count < limit(concurrency) else { return nil }
        let due = stretches.filter { stretch in
            stretch.due <= now && !flights.contains { $0.stretch == stretch.id }
        }
        // What new events wait for goes first, then the oldest.
        if let next = due.min(by: { ($0.blocks ? 0 : 1, $0.first) < ($1.blocks ? 0 : 1, $1.first) }) {
            return .stretch(next)
        }
        return stretches.contains(where: \.blocks) ? nil : .news(after: head)
    }

    /// A receiver that failed gets one request at a time.
    private func limit(_ concurrency: Int) -> Int { failures > 0 || gap > 0 ? 1 : concurrency }

    // MARK: - What happened

    /// New events up to here are not for this receiver.
    package mutating func pass(_ seq: UInt64) { head = max(head, seq) }

    /// The rest of a stretch is not for this receiver, or no longer kept.
    package mutating func finish(_ stretch: Int) { stretches.removeAll { $0.id == stretch } }

    /// Events before this one are no longer kept.
    package mutating func skip(before oldest: UInt64) {
        if head + 1 < oldest { head = oldest - 1 }
        stretches.removeAll { $0.last < oldest }
        for index in stretches.indices where stretches[index].first < oldest { stretches[index].first = oldest }
    }

    /// A request leaves with events of a wish.
    package mutating func launch(_ wish: Wish, first: UInt64, last: UInt64, events: Int, size: Int) -> Flight {
        lastID += 1
        let flight: Flight
        switch wish {
        case .news(let after):
            flight = Flight(
                id: lastID,
                first: after + 1,
                last: last,
                events: events,
                stretch: nil,
                size: size,
                tries: failures > 0 ? failures : 0
            )
            head = max(head, last)
        case .stretch(let stretch):
            flight = Flight(
                id: lastID,
                first: first,
                last: last,
                events: events,
                stretch: stretch.id,
                size: size,
                tries: stretch.tries
            )
        }
        flights.append(flight)
        return flight
    }

    /// What the answer to a flight came to.
    ///
    /// - Parameters:
    ///   - error: why it was not taken, as a sentence.
    ///   - chance: from 0 to 1, for the jitter of a fifth.
    package mutating func land(
        _ flight: Flight,
        _ step: WebhookStep,
        error: String,
        at now: Timestamp,
        chance: Double
    ) {
        guard let index = flights.firstIndex(where: { $0.id == flight.id }) else { return }
        flights.remove(at: index)
        switch step {
        case .taken, .dropped:
            settle(flight, at: now)
            if step == .taken { taken += UInt64(flight.events) } else { dropped += UInt64(flight.events) }
            (failures, hasTakenOthers, lastTakenAt) = (0, true, now)
            gap = gap / 2 < Self.pace.lowerBound ? 0 : gap / 2
            lastError = step == .taken ? nil : error
            if step == .dropped { lastErrorAt = now }
        case .divided(let size):
            put(back: flight, due: now, blocks: true, size: size, tries: flight.tries)
            (lastError, lastErrorAt) = (error, now)
        case .waits(let delay, let reach):
            failures += 1
            (lastError, lastErrorAt) = (error, now)
            let mayPass = reach == .events && stretches.count < Self.mostStretches
            let wait = delay + Int64(Double(delay) * 0.2 * min(max(chance, 0), 1))
            put(back: flight, due: now.adding(milliseconds: wait), blocks: !mayPass, size: nil, tries: flight.tries + 1)
            if mayPass { hasTakenOthers = false }
            if reach == .slowed { gap = min(max(gap * 2, Self.pace.lowerBound), Self.pace.upperBound) }
        case .disabled:
            (lastError, lastErrorAt) = (error, now)
            disabledReason = error
            put(back: flight, due: now, blocks: true, size: nil, tries: 0)
        }
        if gap > 0 { notBefore = now.adding(milliseconds: gap) }
    }

    /// What an answer is judged by.
    package func terms(of flight: Flight) -> WebhookTerms {
        var terms = WebhookTerms()
        terms.events = flight.events
        terms.tries = flight.tries + 1
        terms.hasTakenOthers = hasTakenOthers
        return terms
    }

    /// Nothing is sent from now on.
    package mutating func disable(_ reason: String) { disabledReason = reason }

    /// Switched on again: everything that waits is due.
    package mutating func enable(at now: Timestamp) {
        disabledReason = nil
        (failures, gap, notBefore) = (0, 0, Timestamp(milliseconds: 0))
        for index in stretches.indices {
            stretches[index].due = min(stretches[index].due, now)
            stretches[index].tries = 0
        }
    }

    /// Events are to be sent once more, whatever became of them.
    ///
    /// - Returns: false when too much waits already.
    package mutating func replay(_ numbers: ClosedRange<UInt64>, size: Int, at now: Timestamp) -> Bool {
        guard stretches.count < Self.mostStretches else { return false }
        lastID += 1
        stretches.append(
            Stretch(
                id: lastID,
                first: numbers.lowerBound,
                last: numbers.upperBound,
                size: size,
                due: now,
                isReplay: true
            )
        )
        return true
    }

    // MARK: - Parts

    private mutating func settle(_ flight: Flight, at now: Timestamp) {
        guard let index = stretches.firstIndex(where: { $0.id == flight.stretch }) else { return }
        if flight.last >= stretches[index].last {
            stretches.remove(at: index)
        } else {
            stretches[index].first = flight.last + 1
            (stretches[index].tries, stretches[index].due) = (0, now)
        }
    }

    private mutating func put(back flight: Flight, due: Timestamp, blocks: Bool, size: Int?, tries: Int) {
        if let index = stretches.firstIndex(where: { $0.id == flight.stretch }) {
            stretches[index].due = due
            stretches[index].tries = tries
            if let size { stretches[index].size = size }
            // A replay never holds up news.
            stretches[index].blocks = blocks && !stretches[index].isReplay
            return
        }
        lastID += 1
        stretches.append(
            Stretch(
                id: lastID,
                first: flight.first,
                last: flight.last,
                size: size ?? flight.size,
                tries: tries,
                due: due,
                blocks: blocks
            )
        )
    }
}

// MARK: - On disk

extension EndpointLine {
    /// What is kept: no flights, so that what was out is read again.
    package var kept: JSON {
        [
            "cursor": .count(cursor), "taken": .count(taken), "dropped": .count(dropped), "failures": .count(failures),
            "disabled_reason": .optional(disabledReason), "last_error": .optional(lastError),
            "last_error_at": lastErrorAt.map { .count($0.milliseconds) } ?? .null,
            "last_taken_at": lastTakenAt.map { .count($0.milliseconds) } ?? .null,
            "stretches": .array(
                stretches.map { stretch in
                    [
                        "first": .count(stretch.first), "last": .count(stretch.last), "size": .count(stretch.size),
                        "tries": .count(stretch.tries), "due": .count(stretch.due.milliseconds),
                        "blocks": .bool(stretch.blocks), "replay": .bool(stretch.isReplay),
                    ]
                }
            ),
        ]
    }

    /// Reads a place that was kept.
    ///
    /// - Returns: nil when it is nothing of ours.
    package init?(_ cursor: EventCursor) {
        do throws(JSONError) { self.init(kept: try JSON(parsing: cursor.note)) } catch { return nil }
    }

    /// Reads what was kept.
    ///
    /// - Returns: nil when it is nothing of ours.
    package init?(kept: JSON) {
        func number(_ value: JSON?, _ name: String) -> UInt64? { value?[name]?.integer.flatMap { UInt64(exactly: $0) } }
        func time(_ name: String) -> Timestamp? {
            kept[name]?.integer.map { Timestamp(milliseconds: Int64($0)) }
        }
        guard let cursor = number(kept, "cursor") else { return nil }
        head = cursor
        taken = number(kept, "taken") ?? 0
        dropped = number(kept, "dropped") ?? 0
        failures = kept["failures"]?.integer ?? 0
        disabledReason = kept["disabled_reason"]?.string
        lastError = kept["last_error"]?.string
        (lastErrorAt, lastTakenAt) = (time("last_error_at"), time("last_taken_at"))
        for part in kept["stretches"]?.elements ?? [] {
            let isReplay = part["replay"]?.bool ?? false
            // What failed behind something that was still out is read again with it.
            guard let first = number(part, "first"), let last = number(part, "last"), first <= last,
                last <= cursor || isReplay
            else { continue }
            lastID += 1
            stretches.append(
                Stretch(
                    id: lastID,
                    first: first,
                    last: last,
                    size: max(1, part["size"]?.integer ?? 1),
                    tries: part["tries"]?.integer ?? 0,
                    due: Timestamp(milliseconds: Int64(part["due"]?.integer ?? 0)),
                    blocks: part["blocks"]?.bool ?? false,
                    isReplay: isReplay
                )
            )
        }
    }
}
