// Meter.swift — what one scope has used of its limits, who waits for it, and whether somebody paused it. A value.

import DequeModule
import Mail

/// Where a meter stands.
struct MeterNumber: Handle {
    let number: Int32

    init(place: Int) { number = Int32(place) }

    var place: Int { Int(number) }

    /// No meter.
    static let null = MeterNumber(place: -1)
}

/// How long something stays closed.
enum Closed: Hashable, Sendable {
    case until(Uptime)
    /// Until something happens.
    case open

    /// The later end.
    func later(_ other: Closed) -> Closed {
        guard case .until(let mine) = self, case .until(let theirs) = other else { return .open }
        return .until(max(mine, theirs))
    }
}

/// One scope, counted.
struct Meter: Sendable {
    /// A lane in line; another stamp by now: it waits no longer.
    struct Waiter: Sendable {
        let lane: LaneNumber
        let stamp: UInt32
    }

    let scope: LimitScope
    var terms = LimitTerms()
    var pause: Pause?
    /// When the pause ends.
    var pauseEnds: Uptime?
    /// What this node has of it, where several nodes share the queue.
    var part: MeterPart?
    var rate = Pace()
    var connects = Pace()
    var day = WindowCount()
    /// How far the address is that it warms up.
    var warmth = WarmthCount()
    /// Messages of late, while it limits their rate.
    var lately = LateCount()
    /// Slots of all lanes that are counted here.
    var sessions = 0
    /// Lanes and mail scopes that name it.
    var members = 0
    /// Lanes that wait for a message's turn, and have a session to send it with.
    var forMessages = Deque<Waiter>()
    /// The same without one: they would come late.
    var unseated = Deque<Waiter>()
    /// Turns that were given.
    var turns = 0
    /// Lanes that wait for one more session.
    var forSessions = Deque<Waiter>()
    /// Tickets that wait here, as a line.
    var first = Ticket.null
    var last = Ticket.null
    var parked = 0
    /// When it looks again.
    var wakesAt: Uptime?
    /// Since when somebody waits here without a break.
    var keepsSince: Uptime?
    /// Timers of another meter that had its place are stale by it.
    let stamp: UInt32

    init(_ scope: LimitScope, stamp: UInt32) {
        self.scope = scope
        self.stamp = stamp
    }

    /// Somebody waits for a message's turn.
    var isAwaited: Bool { parked > 0 || !forMessages.isEmpty || !unseated.isEmpty }

    /// Who waits for a message's turn, or a session: each wants one message at least.
    var waiters: Int { parked + forMessages.count + unseated.count + forSessions.count }

    /// Notes since when somebody waits.
    mutating func note(at now: Uptime) { keepsSince = isAwaited || !forSessions.isEmpty ? keepsSince ?? now : nil }

    /// Who is let on next: those with a session first, every fourth time those without.
    mutating func nextForMessages() -> Waiter? {
        turns += 1
        if turns % 4 == 0, let waiter = unseated.popFirst() { return waiter }
        return forMessages.popFirst() ?? unseated.popFirst()
    }

    /// Whether no message may leave, and how long.
    func closed(at now: Uptime, _ wall: Timestamp) -> Closed? {
        var closed: Closed?
        func add(_ more: Closed) { closed = closed?.later(more) ?? more }
        if pause != nil {
            switch pauseEnds {
            case nil: return .open
            case let end? where end > now: add(.until(end))
            case _?: break
            }
        }
        if let time = terms.avoidedUntil, time > wall {
            add(.until(now.adding(milliseconds: time.milliseconds(since: wall))))
        }
        if let limit = terms.rate {
            guard let limit = own(limit, .rate) else { return .open }
            if let time = rate.opens(limit, at: now) { add(.until(time)) }
        }
        if let warmup = terms.warmup, let time = warmth.opens(warmup, at: wall) {
            add(.until(now.adding(milliseconds: time.milliseconds(since: wall))))
        }
        if let limit = terms.daily, let time = dayOpens(limit, at: now, wall) { add(time) }
        return closed
    }

    /// Whether mail of a pool is to leave from another address meanwhile, and how long: this one is spent for the day, paused, or
    /// left alone by a reaction.
    ///
    /// - Parameter others: it is asked whether it would take mail of others, who never wait for its day.
    func shuns(for others: Bool = false, at now: Uptime, _ wall: Timestamp) -> Closed? {
        guard scope.isOfSource else { return nil }
        if pause != nil {
            guard let end = pauseEnds else { return .open }
            if end > now { return .until(end) }
        }
        var closed: Closed?
        func add(_ time: Timestamp?) {
            guard let time, time > wall else { return }
            let end = Closed.until(now.adding(milliseconds: time.milliseconds(since: wall)))
            closed = closed?.later(end) ?? end
        }
        add(terms.avoidedUntil)
        guard others || terms.overflow != .wait else { return closed }
        add(terms.warmup.flatMap { warmth.opens($0, at: wall) })
        // What other nodes may still give says nothing of the day.
        if let limit = terms.daily, case .until(let end)? = dayOpens(limit, at: now, wall) {
            closed = closed?.later(.until(end)) ?? .until(end)
        }
        return closed
    }

    /// Whether no further session may be opened, and how long.
    func closedToSessions(at now: Uptime) -> Closed? {
        if let limit = ownConnections, sessions >= limit { return .open }
        guard let limit = terms.newConnections else { return nil }
        guard let limit = own(limit, .newConnections) else { return .open }
        guard let time = connects.opens(limit, at: now) else { return nil }
        return .until(time)
    }

    /// Something is said of its sessions.
    var limitsSessions: Bool { terms.connections != nil || terms.newConnections != nil }

    /// Messages that may leave now; `Int.max` where nothing counts them.
    func room(at now: Uptime, _ wall: Timestamp) -> Int {
        guard closed(at: now, wall) == nil else { return 0 }
        var room = Int.max
        if let limit = terms.rate { room = min(room, own(limit, .rate).map { rate.room($0, at: now) } ?? 0) }
        if let limit = terms.daily { room = min(room, dayRoom(limit, at: now, wall)) }
        if let warmup = terms.warmup, let most = warmth.most(warmup, at: wall) {
            room = min(room, most - warmth.used(at: wall))
        }
        return max(0, room)
    }

    /// Sessions that may be opened now.
    func roomForSessions(at now: Uptime) -> Int {
        var room = Int.max
        if let limit = ownConnections { room = min(room, limit - sessions) }
        if let limit = terms.newConnections {
            room = min(room, own(limit, .newConnections).map { connects.room($0, at: now) } ?? 0)
        }
        return max(0, room)
    }

    mutating func sent(at now: Uptime, _ wall: Timestamp) {
        if let limit = terms.rate {
            // A part that was given back a moment ago counts as the whole that there is of it.
            rate.take(own(limit, .rate) ?? limit, at: now)
            lately.add(at: now)
        }
        if terms.daily != nil {
            day.add(1, at: wall)
            part?.useDay(at: now)
        }
        if terms.warmup != nil { warmth.add(at: wall) }
    }

    /// Nobody would miss it.
    func isIdle(at now: Uptime, _ wall: Timestamp) -> Bool {
        let time = now.milliseconds * 1000
        return members == 0 && sessions == 0 && parked == 0 && pause == nil && part?.isEmpty ?? true
            && rate.arrival <= time
            && connects.arrival <= time && day.total(at: wall) == 0 && warmth.days == 0
    }
}

/// When a meter looks again.
struct MeterTimer: Comparable, Sendable {
    let due: Uptime
    let meter: MeterNumber
    let stamp: UInt32

    static func < (a: MeterTimer, b: MeterTimer) -> Bool { a.due < b.due }
}
