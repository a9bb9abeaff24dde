// Scheduler.swift — what is due, in which lane, and how many sessions a lane may have. A pure value: time is passed in.
//
// It knows tickets (numbers that the index hands out), not messages. A ticket waits in one heap until it is due, then
// stands in its lane's line until a session takes it. Lanes that could use one more session stand in a ring and are
// served in turn, so a lane with a million parcels gets its next session no sooner than a lane with one.

import DequeModule
import HeapModule
package import Mail

/// Which parcel is due when, and how many sessions a lane may have: a value without clock and lock.
package struct Scheduler: Sendable {
    /// How many sessions there may be.
    package struct Limits: Hashable, Sendable {
        /// Sessions to all lanes together: `concurrency_max`.
        package var total: Int
        /// Sessions to one lane.
        package var perLane: Int
        /// Milliseconds that an unreachable lane rests at most.
        package var longestRest: Int64
        /// Parcels that plugins are asked about at once.
        package var preparations = 64
    }

    package var limits: Limits
    /// `disabled`: nothing is handed out.
    package var isPaused = false
    /// Parcels in their lanes' lines.
    package private(set) var readyCount = 0
    /// Parcels whose time has not come.
    package private(set) var waitingCount = 0
    /// Parcels taken and not yet finished.
    package internal(set) var inFlightCount = 0
    /// Parcels that are held back.
    package internal(set) var heldCount = 0
    /// Sessions of all lanes, those being opened included.
    package private(set) var sessions = 0
    /// Parcels in flight that plugins are asked about; no session has them yet.
    package internal(set) var preparing = 0

    var tickets = HandleTable<Ticket, TicketState>()
    /// Tickets that wait, as a binary heap by due time; each knows its place in it.
    var timers = PagedTable<Ticket>()
    /// Ends of rests; an entry whose lane has another end by now is stale.
    var restTimers = Heap<RestTimer>()
    var lanes = HandleTable<LaneNumber, LaneState>()
    private(set) var laneIndex: [Lane: LaneNumber] = [:]
    /// The last stamp given to a lane: timers of lanes that are gone, or of earlier rests, are stale by it.
    var stamps: UInt32 = 0
    private var ring = Deque<LaneNumber>()
    /// The same for lanes whose parcels are to be prepared.
    private var preparationRing = Deque<LaneNumber>()

    package init(_ limits: Limits) { self.limits = limits }
}

// MARK: - Tickets

extension Scheduler {
    /// Puts a parcel into its lane, or to wait when it is due later.
    ///
    /// A ticket of that number must not be in use.
    package mutating func add(_ ticket: Ticket, to lane: Lane, due: Uptime, at now: Uptime) {
        let number = number(of: lane)
        tickets.reach(ticket, with: TicketState())
        tickets[ticket].lane = number
        lanes[number].members += 1
        place(ticket, due: due, at: now)
    }

    /// Forgets a parcel, wherever it is.
    package mutating func remove(_ ticket: Ticket) {
        leave(ticket)
        let number = tickets[ticket].lane
        tickets[ticket].place = .free
        lanes[number].members -= 1
        dropIfUnused(number)
    }

    /// The parcel that a ready session of this lane should carry now, or nil.
    ///
    /// It is in flight from then on.
    package mutating func next(for lane: Lane, at now: Uptime) -> Ticket? {
        advance(to: now)
        guard !isPaused, let number = laneIndex[lane] else { return nil }
        return take(from: number)
    }

    /// Every parcel of a lane that is due, up to a limit; they are in flight from then on.
    ///
    /// For a lane that cannot be reached.
    package mutating func takeDue(in lane: Lane, atMost limit: Int, at now: Uptime) -> [Ticket] {
        advance(to: now)
        guard let number = laneIndex[lane] else { return [] }
        var taken: [Ticket] = []
        while taken.count < limit, let ticket = take(from: number) { taken.append(ticket) }
        return taken
    }

    /// Puts a parcel in flight back: into its lane's line now, or to wait.
    package mutating func postpone(_ ticket: Ticket, until due: Uptime, at now: Uptime) {
        leave(ticket)
        place(ticket, due: due, at: now)
    }

    /// Puts a parcel in flight back to the head of its lane's line.
    package mutating func putBack(_ ticket: Ticket) {
        leave(ticket)
        enter(ticket, first: true)
    }

    /// Makes waiting parcels due now and ends rests: all of them, or one lane's.
    ///
    /// - Returns: how many parcels no longer wait.
    package mutating func flush(_ lane: Lane?, at now: Uptime) -> Int {
        let only = lane.map { laneIndex[$0] ?? .null }
        var count = 0
        for ticket in tickets.keys where tickets[ticket].place == .waiting {
            guard only == nil || tickets[ticket].lane == only else { continue }
            leave(ticket)
            enter(ticket, first: false)
            count += 1
        }
        for number in lanes.keys where only == nil || number == only {
            lanes[number].restsUntil = nil
            lanes[number].probesUntil = nil
            lanes[number].mayProbe = nil
            want(number)
        }
        return count
    }

    /// When a parcel that waits, or will wait when it is released, is due; nil when it is due already.
    package func due(_ ticket: Ticket) -> Uptime? {
        let state = tickets[ticket]
        switch state.place {
        case .waiting: return state.due
        case .held: return state.due.milliseconds > 0 ? state.due : nil
        case .free, .ready, .inFlight: return nil
        }
    }

    /// Where a parcel stands.
    package func state(of ticket: Ticket) -> QueuedState {
        switch tickets[ticket].place {
        case .ready, .free: .waiting
        case .waiting: .tempFailed
        case .inFlight: .inProgress
        case .held: .held
        }
    }

    /// A session has it.
    package func isInFlight(_ ticket: Ticket) -> Bool { tickets[ticket].place == .inFlight }

    /// Where a parcel goes.
    package func lane(of ticket: Ticket) -> Lane { lanes[tickets[ticket].lane].lane }

    private mutating func take(from number: LaneNumber) -> Ticket? {
        let ticket = lanes[number].first
        guard ticket != .null else { return nil }
        leave(ticket)
        inFlightCount += 1
        lanes[number].inFlight += 1
        if lanes[number].lane.isPreparation { preparing += 1 }
        tickets[ticket].place = .inFlight
        return ticket
    }

    mutating func place(_ ticket: Ticket, due: Uptime, at now: Uptime) {
        guard due > now else { return enter(ticket, first: false) }
        tickets[ticket].place = .waiting
        tickets[ticket].due = due
        waitingCount += 1
        startTimer(ticket)
    }

    /// Joins the lane's line.
    mutating func enter(_ ticket: Ticket, first: Bool) {
        let number = tickets[ticket].lane
        tickets[ticket].place = .ready
        readyCount += 1
        lanes[number].ready += 1
        link(ticket, in: number, first: first)
        want(number)
    }

    /// Leaves the place where it is, without entering another.
    mutating func leave(_ ticket: Ticket) {
        let number = tickets[ticket].lane
        switch tickets[ticket].place {
        case .free: break
        case .waiting:
            waitingCount -= 1
            stopTimer(ticket)
        case .ready:
            readyCount -= 1
            lanes[number].ready -= 1
            unlink(ticket, from: number)
        case .inFlight:
            inFlightCount -= 1
            lanes[number].inFlight -= 1
            if lanes[number].lane.isPreparation { preparing -= 1 }
        case .held:
            heldCount -= 1
            lanes[number].held -= 1
        }
    }
}

// MARK: - Lanes and sessions

extension Scheduler {
    /// Lanes that may open one more session, fairly, within the limits.
    ///
    /// Each entry claims a session; see ``sessionEnded(_:)``.
    package mutating func lanesWantingSessions(at now: Uptime) -> [Lane] {
        advance(to: now)
        guard !isPaused else { return [] }
        var granted: [Lane] = []
        var turns = ring.count
        while turns > 0, sessions < limits.total, let number = ring.popFirst() {
            turns -= 1
            lanes[number].isInRing = false
            guard lanes[number].wantsSession(limits.perLane) else {
                dropIfUnused(number)
                continue
            }
            sessions += 1
            lanes[number].sessions += 1
            lanes[number].opening += 1
            granted.append(lanes[number].lane)
            if lanes[number].rests > 0 { startProbe(number, at: now) }
            if lanes[number].wantsSession(limits.perLane) {
                want(number)
                turns += 1
            }
        }
        return granted
    }

    /// Parcels that plugins should be asked about now, from each lane in turn, as many as may be in preparation.
    ///
    /// They are in flight from then on.
    package mutating func takeToPrepare(at now: Uptime) -> [Ticket] {
        advance(to: now)
        guard !isPaused else { return [] }
        var taken: [Ticket] = []
        while preparing < limits.preparations, let number = preparationRing.popFirst() {
            lanes[number].isInRing = false
            if let ticket = take(from: number) {
                taken.append(ticket)
                want(number)
            } else {
                dropIfUnused(number)
            }
        }
        return taken
    }

    /// A session of the lane stands: its rests are forgotten.
    package mutating func reached(_ lane: Lane) {
        guard let number = laneIndex[lane] else { return }
        lanes[number].opening = max(0, lanes[number].opening - 1)
        lanes[number].restsUntil = nil
        lanes[number].probesUntil = nil
        lanes[number].mayProbe = nil
        lanes[number].rests = 0
        want(number)
    }

    /// A claimed session is gone, whether it ever stood or not.
    ///
    /// - Parameter wasOpening: it had not been ``reached(_:)``.
    package mutating func sessionEnded(_ lane: Lane, wasOpening: Bool) {
        guard let number = laneIndex[lane], lanes[number].sessions > 0 else { return }
        sessions -= 1
        lanes[number].sessions -= 1
        if wasOpening {
            lanes[number].opening = max(0, lanes[number].opening - 1)
            lanes[number].probesUntil = nil
        }
        want(number)
        dropIfUnused(number)
    }

    /// Whether a session should end so that a lane without one gets its turn: all sessions are taken, others wait, and
    /// this lane has more than its share.
    package func shouldYield(_ lane: Lane) -> Bool {
        guard sessions >= limits.total, !ring.isEmpty, let number = laneIndex[lane] else { return false }
        return lanes[number].sessions > max(1, limits.total / max(1, lanes.used))
    }

    /// Some lane would open one more session if it may.
    package var wantsSessions: Bool { !isPaused && ring.contains { lanes[$0].wantsSession(limits.perLane) } }

    /// Some lane would, and all sessions that may exist are taken.
    package var isShortOfSessions: Bool { sessions >= limits.total && wantsSessions }

    /// When something will be due; nil when nothing waits.
    package var nextWakeup: Uptime? {
        let first = timers.count > 0 ? tickets[timers[0]].due : nil
        guard let rest = restTimers.min?.due else { return first }
        return first.map { min($0, rest) } ?? rest
    }

    /// Sessions the lane has claimed.
    package func sessionCount(_ lane: Lane) -> Int { laneIndex[lane].map { lanes[$0].sessions } ?? 0 }

    /// Moves what is due into its lane's line and ends rests that are over, in the order of time.
    private mutating func advance(to now: Uptime) {
        while true {
            let due = timers.count > 0 ? tickets[timers[0]].due : Uptime(milliseconds: .max)
            let rest = restTimers.min?.due ?? Uptime(milliseconds: .max)
            guard min(due, rest) <= now else { return }
            if rest < due { endRest(at: now) } else { endWait(of: timers[0], at: now) }
        }
    }

    private mutating func endWait(of ticket: Ticket, at now: Uptime) {
        leave(ticket)
        enter(ticket, first: false)
        endRestEarly(tickets[ticket].lane, at: now)
    }

    /// Joins its ring if it is not in it and could use a session, or has parcels to prepare.
    mutating func want(_ number: LaneNumber) {
        guard !lanes[number].isInRing else { return }
        if lanes[number].lane.isPreparation {
            guard lanes[number].ready > 0 else { return }
            preparationRing.append(number)
        } else {
            guard lanes[number].wantsSession(limits.perLane) else { return }
            ring.append(number)
        }
        lanes[number].isInRing = true
    }

    private mutating func number(of lane: Lane) -> LaneNumber {
        if let number = laneIndex[lane] { return number }
        stamps &+= 1
        let number = lanes.add(LaneState(lane: lane, stamp: stamps))
        laneIndex[lane] = number
        return number
    }

    /// Domains come and go by the million; a lane without parcels and sessions is forgotten.
    private mutating func dropIfUnused(_ number: LaneNumber) {
        let state = lanes[number]
        guard state.members == 0, state.sessions == 0, !state.isInRing else { return }
        laneIndex[state.lane] = nil
        lanes.giveBack(number)
    }
}

// MARK: - Parts

/// 24 bytes for each parcel.
struct TicketState: Sendable {
    enum Place: UInt8, Sendable {
        case free, waiting, ready, inFlight, held
    }

    var due = Uptime(milliseconds: 0)
    var lane = LaneNumber.null
    /// In a line, the ticket behind; waiting, the place among the timers.
    var next = Ticket.null
    /// In a line, the ticket before.
    var previous = Ticket.null
    var place = Place.free
}

struct LaneState: Sendable {
    let lane: Lane
    /// The line of tickets that are due: its head and its end.
    var first = Ticket.null
    var last = Ticket.null
    /// Tickets in the line.
    var ready = 0
    /// Tickets that name this lane.
    var members = 0
    var inFlight = 0
    var held = 0
    /// Sessions, those being opened included.
    var sessions = 0
    var opening = 0
    /// Rests in a row without a session that stood.
    var rests = 0
    var restsUntil: Uptime?
    /// The end of the shortest rest.
    var mayProbe: Uptime?
    /// After a rest one session tries, alone until then.
    var probesUntil: Uptime?
    var stamp: UInt32
    var isInRing = false

    init(lane: Lane, stamp: UInt32) {
        self.lane = lane
        self.stamp = stamp
    }

    /// More parcels stand in line than sessions are idle or about to be.
    func wantsSession(_ limit: Int) -> Bool {
        guard restsUntil == nil, probesUntil == nil, sessions < limit, ready > 0 else { return false }
        return ready > opening + max(0, sessions - opening - inFlight)
    }
}
