// Scheduler.swift — what is due, in which lane, and how many sessions a lane may have. A pure value: time is passed in.
//
// It knows tickets (names that the index hands out), not messages. A ticket waits in one heap until it is due, then
// stands in its lane's line until a session takes it. Lanes that could use one more session stand in rings and are
// served in turn, so a lane with a million parcels gets its next session no sooner than a lane with one. Who gets a slot
// is in `Scheduler+Sessions.swift`, how many a lane may have in `Scheduler+Load.swift`.

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
        /// Openings without a slot: they ask for names, policies and tokens, or know where to go and wait.
        ///
        /// Several times what the resolver is asked at once: among names that nobody knows anything of, those that are good are
        /// found there (`DNS/LookupTurns`), and not by waiting here until dead ones have timed out.
        package var lookUps = 4000
    }

    package var limits: Limits {
        didSet { if limits != oldValue { limitsChanged() } }
    }
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
    /// Parcels that are due and wait for a limit or a pause, out of their lanes' lines.
    package internal(set) var parkedCount = 0
    /// Slots of all lanes: sessions, those being opened and those that are ending included.
    package internal(set) var sessions = 0
    /// Slots whose session was asked to end.
    var leaving = 0
    /// Slots that lanes which could not be reached hold for openings.
    var failingOpenings = 0
    /// Openings without a slot.
    var seeking = 0
    /// Those of them that may be asked to end.
    var looks = LookUpLine()
    /// Slots granted so far.
    var grants: UInt64 = 0
    var openings: [Opening: OpeningState] = [:]
    /// The same, the oldest first; those that are no longer among them are left out.
    var openingOrder = Deque<Opening>()
    /// When the next silent opening has to make room; nil while nobody wants it.
    var cutsAt: Uptime?
    var pressure = Pressure()
    /// Some lane has more sessions than it may.
    var trims = false
    /// Parcels in flight that plugins are asked about; no session has them yet.
    package internal(set) var preparing = 0
    /// When parcels in flight that somebody asked for would have been due by themselves.
    private var ownTimes: [Ticket: Uptime] = [:]

    var tickets = HandleTable<Ticket, TicketState>()
    /// Tickets that wait, as a binary heap by due time; each knows its place in it.
    var timers = PagedTable<Ticket>()
    /// Ends of rests; an entry whose lane has another end by now is stale.
    var restTimers = Heap<RestTimer>()
    var lanes = HandleTable<LaneNumber, LaneState>()
    private(set) var laneIndex: [Lane: LaneNumber] = [:]
    /// Limits and pauses.
    var book = MeterBook()
    /// Pools of addresses.
    var poolBook = PoolBook()
    /// How addresses of ours fare.
    var health = HealthBook()
    /// What this node may use of each lane.
    var grantBook = GrantBook()
    /// The same of limits that count for several lanes.
    var shareBook = ShareBook()
    /// The last stamp given to a lane: timers of lanes that are gone, or of earlier rests, are stale by it.
    var stamps: UInt32 = 0
    /// Lanes that know where to go and wait for a slot.
    var slotRings = LaneRings()
    /// Lanes that want to find out.
    var lookRings = LaneRings()
    /// Lanes whose parcels are to be prepared.
    private var preparationRing = LaneRings()
    /// Lanes that answered before they were forgotten.
    private var known = KnownLanes()
    /// Lanes that answered to an earlier process, by their descriptions.
    private var recalled: Set<String> = []

    /// Lanes that are back: see `Scheduler+Stranded.swift`.
    var releasing: [LaneNumber] = []
    var releasesAt: Uptime?
    var releasePosition = 0
    var releaseLeft = 0

    package init(_ limits: Limits) { self.limits = limits }
}

// MARK: - Tickets

extension Scheduler {
    /// Puts a parcel into its lane, or to wait when it is due later.
    ///
    /// A ticket of that number must not be in use.
    /// - Parameters:
    ///   - key: its message's number, which says whom of a pool it leaves from.
    ///   - first: at the head of the line, when it is due.
    package mutating func add(
        _ ticket: Ticket,
        to lane: Lane,
        key: UInt64 = 0,
        due: Uptime,
        first: Bool = false,
        at now: Uptime
    ) {
        let number = lane.source?.pool == nil ? number(of: lane) : place(lane, key: key, at: now)
        tickets.reach(ticket, with: TicketState())
        tickets[ticket].lane = number
        lanes[number].members += 1
        place(ticket, due: due, first: first, at: now)
    }

    /// Forgets a parcel, wherever it is.
    package mutating func remove(_ ticket: Ticket) {
        leave(ticket)
        book.leave(ticket)
        let number = tickets[ticket].lane
        tickets[ticket].place = .free
        lanes[number].members -= 1
        refresh(number)
    }

    /// Every parcel of a lane that is due, up to a limit; they are in flight from then on.
    ///
    /// For a lane that cannot be reached.
    package mutating func takeDue(in lane: Lane, atMost limit: Int, at now: Uptime) -> [Ticket] {
        advance(to: now)
        guard let number = laneIndex[lane] else { return [] }
        var taken: [Ticket] = []
        while taken.count < limit, let ticket = take(from: number, at: now) { taken.append(ticket) }
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
            tickets[ticket].isAsked = true
            enter(ticket, first: false)
            count += 1
        }
        for number in lanes.keys where only == nil || number == only {
            lanes[number].restsUntil = nil
            lanes[number].probesUntil = nil
            lanes[number].mayProbe = nil
            refresh(number)
        }
        return count
    }

    /// When a parcel that waits, or will wait when it is released, is due; nil when it is due already.
    package func due(_ ticket: Ticket) -> Uptime? {
        let state = tickets[ticket]
        switch state.place {
        case .waiting: return state.due
        case .held: return state.due.milliseconds > 0 ? state.due : nil
        case .free, .ready, .parked, .inFlight: return nil
        }
    }

    /// Since when a parcel is due by itself; nil when it is not, or somebody asked for it.
    func readySince(_ ticket: Ticket) -> Uptime? {
        let state = tickets[ticket]
        switch state.place {
        case .ready, .parked: return state.isAsked || state.due.milliseconds == 0 ? nil : state.due
        case .free, .waiting, .inFlight, .held: return nil
        }
    }

    /// When a parcel that somebody made due would have been due by itself; nil when it is its own time, or it waits.
    package func ownTime(_ ticket: Ticket) -> Uptime? {
        guard tickets[ticket].isAsked else { return nil }
        return tickets[ticket].place == .inFlight ? ownTimes[ticket] : tickets[ticket].due
    }

    /// A parcel that was just added is due because somebody asked for it; by itself it would be later.
    mutating func ask(_ ticket: Ticket, ownTime: Uptime) {
        guard tickets[ticket].place == .ready else { return }
        tickets[ticket].isAsked = true
        tickets[ticket].due = ownTime
    }

    /// Where a parcel stands.
    package func state(of ticket: Ticket) -> QueuedState {
        switch tickets[ticket].place {
        case .ready, .parked, .free: .waiting
        case .waiting: .tempFailed
        case .inFlight: .inProgress
        case .held: .held
        }
    }

    /// A session has it.
    package func isInFlight(_ ticket: Ticket) -> Bool { tickets[ticket].place == .inFlight }

    /// Where a parcel goes.
    package func lane(of ticket: Ticket) -> Lane { lanes[tickets[ticket].lane].lane }

    /// The next parcel in the line that one in flight stood in; it is in flight from then on.
    package mutating func next(behind ticket: Ticket, at now: Uptime) -> Ticket? {
        take(from: tickets[ticket].lane, at: now)
    }

    mutating func take(from number: LaneNumber, at now: Uptime) -> Ticket? {
        let ticket = lanes[number].first
        guard ticket != .null else { return nil }
        leave(ticket)
        fly(ticket)
        if tickets[ticket].isAsked { ownTimes[ticket] = tickets[ticket].due }
        tickets[ticket].due = now
        return ticket
    }

    /// Enters the parcels in flight.
    mutating func fly(_ ticket: Ticket) {
        let number = tickets[ticket].lane
        tickets[ticket].place = .inFlight
        inFlightCount += 1
        lanes[number].inFlight += 1
        if lanes[number].lane.isPreparation { preparing += 1 }
        refresh(number)
    }

    mutating func place(_ ticket: Ticket, due: Uptime, first: Bool = false, at now: Uptime) {
        tickets[ticket].isAsked = false
        tickets[ticket].due = due
        guard due > now else { return enter(ticket, first: first) }
        tickets[ticket].place = .waiting
        waitingCount += 1
        startTimer(ticket)
    }

    /// Joins the lane's line, or waits where a limit or a pause says so.
    mutating func enter(_ ticket: Ticket, first: Bool) {
        if book.isOn, parksAtOnce(ticket, first: first) { return }
        line(ticket, first: first)
    }

    /// Joins the lane's line.
    mutating func line(_ ticket: Ticket, first: Bool) {
        let number = tickets[ticket].lane
        tickets[ticket].place = .ready
        readyCount += 1
        lanes[number].ready += 1
        link(ticket, in: number, first: first)
        refresh(number)
    }

    /// Leaves the place where it is, without entering another.
    mutating func leave(_ ticket: Ticket) {
        let number = tickets[ticket].lane
        switch tickets[ticket].place {
        case .free: break
        case .waiting:
            waitingCount -= 1
            stopTimer(ticket)
            if tickets[ticket].isStranded {
                tickets[ticket].isStranded = false
                lanes[number].stranded -= 1
            }
        case .ready:
            readyCount -= 1
            lanes[number].ready -= 1
            unlink(ticket, from: number)
            refresh(number)
        case .parked: unlinkParked(ticket)
        case .inFlight:
            inFlightCount -= 1
            lanes[number].inFlight -= 1
            if lanes[number].lane.isPreparation { preparing -= 1 }
            if tickets[ticket].isAsked, let own = ownTimes.removeValue(forKey: ticket) { tickets[ticket].due = own }
            refresh(number)
        case .held:
            heldCount -= 1
            lanes[number].held -= 1
        }
    }
}

// MARK: - Lanes

extension Scheduler {
    /// Parcels that plugins should be asked about now, from each lane in turn, as many as may be in preparation.
    ///
    /// They are in flight from then on.
    package mutating func takeToPrepare(at now: Uptime) -> [Ticket] {
        advance(to: now)
        guard !isStopped else { return [] }
        var taken: [Ticket] = []
        while preparing < limits.preparations, let number = preparationRing.first(.common) {
            if let ticket = take(from: number, at: now) { taken.append(ticket) }
            endTurn(number)
        }
        return taken
    }

    /// When something will be due; nil when nothing waits.
    package var nextWakeup: Uptime? {
        let first = timers.count > 0 ? tickets[timers[0]].due : nil
        let meters = book.isOn ? book.nextWakeup : nil
        let times = [first, restTimers.min?.due, cutsAt, looks.cutsAt, releasesAt, meters, poolBook.againAt]
        return times.compactMap(\.self).min()
    }

    /// Moves what is due into its lane's line and ends rests that are over, in the order of time.
    mutating func advance(to now: Uptime) {
        while true {
            let due = timers.count > 0 ? tickets[timers[0]].due : Uptime(milliseconds: .max)
            let rest = restTimers.min?.due ?? Uptime(milliseconds: .max)
            guard min(due, rest) <= now else { break }
            if rest < due { endRest(at: now) } else { endWait(of: timers[0], at: now) }
        }
        if book.isOn { advanceMeters(to: now) }
        if poolBook.againAt != nil { moveFurther(at: now) }
    }

    private mutating func endWait(of ticket: Ticket, at now: Uptime) {
        leave(ticket)
        enter(ticket, first: false)
        endRestEarly(tickets[ticket].lane, at: now)
    }

    /// Puts a lane where it belongs, after something about it changed; forgets it when nothing is left of it.
    mutating func refresh(_ number: LaneNumber) {
        if lanes[number].lane.isPreparation {
            preparationRing.put(number, in: lanes[number].ready > 0 ? .common : nil)
        } else {
            let (slot, look) = (lanes[number].wantsSlot(limits.perLane), lanes[number].wantsLookUp(limits.perLane))
            slotRings.put(number, in: slot ? lanes[number].slotClass : nil)
            lookRings.put(number, in: look ? lanes[number].lookClass : nil)
            if grantBook.isOn { noteLack(number) }
        }
        dropIfUnused(number)
    }

    /// The turn of a lane is over: it goes behind the others, if it still wants something.
    mutating func endTurn(_ number: LaneNumber) {
        preparationRing.put(number, in: nil)
        slotRings.put(number, in: nil)
        lookRings.put(number, in: nil)
        refresh(number)
    }

    private mutating func limitsChanged() {
        trims = true
        for number in lanes.keys where laneIndex[lanes[number].lane] == number { refresh(number) }
    }

    mutating func number(of lane: Lane) -> LaneNumber {
        if let number = laneIndex[lane] { return number }
        stamps &+= 1
        let isProven = known.contains(lane) || recalls(lane)
        let number = lanes.add(LaneState(lane: lane, stamp: stamps, isProven: isProven))
        laneIndex[lane] = number
        lanes[number].grant = firstGrant(lane)
        if book.isOn { bind(number) }
        if lane.source != nil { joinHealth(number) }
        return number
    }

    /// Lanes that answered to an earlier process, by their descriptions: nothing is kept from them, as if they had answered
    /// to this one.
    package mutating func recall(_ lanes: Set<String>) {
        recalled = lanes
        for number in self.lanes.keys where recalls(self.lanes[number].lane) && self.lanes[number].rests == 0 {
            guard laneIndex[self.lanes[number].lane] == number else { continue }
            self.lanes[number].isProven = true
            refresh(number)
        }
    }

    private func recalls(_ lane: Lane) -> Bool { !recalled.isEmpty && recalled.contains(lane.description) }

    /// Domains come and go by the million; a lane without parcels and sessions is forgotten.
    private mutating func dropIfUnused(_ number: LaneNumber) {
        guard lanes[number].members == 0, lanes[number].sessions == 0, lanes[number].lookingUp == 0,
            lanes[number].poised == 0, laneIndex[lanes[number].lane] == number
        else { return }
        let lane = lanes[number].lane
        if lanes[number].isProven, !lanes[number].isSlow { known.insert(lane) }
        laneIndex[lane] = nil
        if !lanes[number].meters.isEmpty { unbind(number) }
        health.leave(lanes[number].health)
        lanes.giveBack(number)
    }
}

// MARK: - Parts

/// 24 bytes for each parcel.
struct TicketState: Sendable {
    enum Place: UInt8, Sendable {
        case free, waiting, ready, inFlight, held
        /// It is due, and a limit or a pause keeps it.
        case parked
    }

    /// Waiting: until when; in flight: since when; in a line: since when it is due, or, because somebody asked, when it would have
    /// been due by itself.
    var due = Uptime(milliseconds: 0)
    var lane = LaneNumber.null
    /// In a line, the ticket behind; waiting, the place among the timers.
    var next = Ticket.null
    /// In a line, the ticket before.
    var previous = Ticket.null
    var place = Place.free
    /// It waits only because its next hop could not be reached.
    var isStranded = false
    /// In a line or in flight because somebody asked for it before its time.
    var isAsked = false
}

/// Lanes that have answered, remembered beyond their mail: the newest few thousand.
struct KnownLanes: Sendable {
    private static let most = 2048

    private var newer: Set<Lane> = []
    private var older: Set<Lane> = []

    func contains(_ lane: Lane) -> Bool { newer.contains(lane) || older.contains(lane) }

    mutating func insert(_ lane: Lane) {
        guard newer.count < Self.most else {
            older = newer
            newer = [lane]
            return
        }
        newer.insert(lane)
    }
}
