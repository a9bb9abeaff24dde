// Scheduler+Meters.swift — limits and pauses of lanes: a lane that may not send, or may not open one more session, waits at
// the meter that says so, and is let on in turn. No timer per message: one for each meter that somebody waits at.

import DequeModule
import HeapModule
package import Mail

extension Scheduler {
    /// Milliseconds after which a turn that nobody took is offered to the next.
    private static let offerPause: Int64 = 500
    /// Milliseconds after which a session makes room for another lane of its meter.
    private static let seat: Int64 = 30_000
    /// Lanes, and parcels, that are let on in one go.
    private static let mostLetOn = 1024

    // MARK: rules and pauses

    /// Puts limits in force.
    package mutating func set(_ rules: LimitRules, at now: Uptime) {
        guard rules != book.rules else { return }
        book.set(rules)
        rebindLanes()
        offerAll(at: now)
    }

    /// Pauses a scope, or resumes it.
    package mutating func set(_ pause: Pause?, for scope: LimitScope, at now: Uptime) {
        book.set(pause, for: scope)
        rebindLanes()
        offerAll(at: now)
    }

    /// Pauses in force.
    package var pauses: [LimitScope: Pause] { book.pauses }

    /// Limits in force.
    package var rules: LimitRules { book.rules }

    /// Milliseconds from the uptime to the wall clock, which days are counted by.
    package mutating func setEpoch(_ epoch: Int64) { book.epoch = epoch }

    /// Lanes are asked before they send.
    var asksLanes: Bool { book.isOn || poolBook.isOn }

    /// Nothing is handed out at all.
    var isStopped: Bool { isPaused || book.stopsAll }

    mutating func rebindLanes() {
        poolBook.forget()
        book.isUnbound = false
        for number in lanes.keys where laneIndex[lanes[number].lane] == number { rebind(number) }
        trims = true
    }

    mutating func offerAll(at now: Uptime) {
        for meter in book.all { book.wake(meter, at: now) }
        advance(to: now)
    }

    // MARK: lanes and their meters

    /// Counts a lane where it is to be counted now, and lets it on.
    mutating func rebind(_ number: LaneNumber) {
        // Whose provider it is may be known by now, or be said otherwise.
        if lanes[number].lane.source != nil { joinHealth(number) }
        guard book.isOn || !lanes[number].meters.isEmpty else { return }
        bind(number)
        lanes[number].messageGate = .null
        lanes[number].sessionGate = .null
        refresh(number)
    }

    /// Counts a lane where it is to be counted now.
    mutating func bind(_ number: LaneNumber) {
        guard !lanes[number].lane.isPreparation else { return }
        unbind(number)
        let scopes = book.scopes(of: lanes[number].lane, hosts: lanes[number].hosts)
        let meters = scopes.compactMap { book.meter($0) }
        lanes[number].meters = meters
        var most = Int.max
        for meter in meters {
            book.meters[meter].members += 1
            book.meters[meter].sessions += lanes[number].sessions
            most = min(most, book.meters[meter].terms.perConnection ?? .max)
        }
        lanes[number].mostPerSession = most
    }

    /// Counts a lane nowhere.
    mutating func unbind(_ number: LaneNumber) {
        for meter in lanes[number].meters {
            book.meters[meter].members -= 1
            book.meters[meter].sessions -= lanes[number].sessions
            if !book.meters[meter].forSessions.isEmpty { book.wake(meter, at: Uptime(milliseconds: 0)) }
        }
        lanes[number].meters = []
        lanes[number].mostPerSession = .max
    }

    /// Somebody asks which hosts lanes have.
    package var asksHosts: Bool { book.asksHosts }

    /// The hosts that a lane leads to are known: whose provider it is.
    package mutating func set(hosts: [String], of lane: Lane) {
        guard let number = laneIndex[lane], lanes[number].hosts != hosts else { return }
        lanes[number].hosts = hosts
        rebind(number)
    }

    /// One session more or less is counted.
    mutating func countSession(_ number: LaneNumber, _ change: Int, at now: Uptime? = nil) {
        for meter in lanes[number].meters {
            book.meters[meter].sessions += change
            if let now, let limit = book.meters[meter].terms.newConnections {
                let own = book.meters[meter].own(limit, .newConnections) ?? limit
                book.meters[meter].connects.take(own, at: now)
            }
            // A place is free: who waits for it is let on with the next look.
            if change < 0, !book.meters[meter].forSessions.isEmpty { book.wake(meter, at: Uptime(milliseconds: 0)) }
        }
    }

    // MARK: gates

    /// Whether a lane may send a message now; else it waits at the meter that is closed longest.
    mutating func maySend(_ number: LaneNumber, at now: Uptime) -> Bool {
        guard lanes[number].messageGate == .null else { return false }
        if lanes[number].isPooled, movesOn(number, at: now) { return false }
        guard let meter = closedMeter(lanes[number].meters, at: now) else { return true }
        stamps &+= 1
        lanes[number].messageGate = meter
        lanes[number].gateStamp = stamps
        let waiter = Meter.Waiter(lane: number, stamp: stamps)
        if lanes[number].standing > 0 {
            book.meters[meter].forMessages.append(waiter)
        } else {
            book.meters[meter].unseated.append(waiter)
        }
        shut(number, meter, at: now)
        return false
    }

    /// Whether a lane may open a session now; else it waits.
    mutating func mayOpen(_ number: LaneNumber, at now: Uptime) -> Bool {
        guard lanes[number].sessionGate == .null else { return false }
        if lanes[number].isPooled, movesOn(number, at: now) { return false }
        // A place first: a message's turn would be lost on a lane that has nobody to send it with.
        let hasPlace = lanes[number].hasPlace
        for meter in lanes[number].meters
        where book.meters[meter].closedToSessions(at: now) != nil
            || !hasPlace && !book.meters[meter].forSessions.isEmpty
        {
            waitForPlace(number, meter, at: now)
            return false
        }
        // Who has no session waits for a place and a turn together, or the place would stand empty until the turn comes.
        if lanes[number].sessions == 0, let meter = closedMeter(lanes[number].meters, at: now),
            book.meters[meter].limitsSessions
        {
            waitForPlace(number, meter, at: now)
            return false
        }
        return maySend(number, at: now)
    }

    private mutating func waitForPlace(_ number: LaneNumber, _ meter: MeterNumber, at now: Uptime) {
        stamps &+= 1
        lanes[number].sessionGate = meter
        lanes[number].sessionStamp = stamps
        let waiter = Meter.Waiter(lane: number, stamp: stamps)
        if lanes[number].hasPlace {
            book.meters[meter].forSessions.prepend(waiter)
        } else {
            book.meters[meter].forSessions.append(waiter)
        }
        shut(number, meter, at: now)
    }

    /// A session makes room for lanes that wait for one, where sessions are limited: after half a minute; for those of another node
    /// at once.
    func makesRoom(_ number: LaneNumber, held: Int64) -> Bool {
        if book.isShared, isBeyondPart(number) { return true }
        guard held >= Self.seat else { return false }
        return lanes[number].meters.contains { meter in
            guard let limit = book.meters[meter].terms.connections else { return false }
            return book.meters[meter].sessions >= limit && !book.meters[meter].forSessions.isEmpty
        }
    }

    /// Some limit of the lane has more sessions here than this node's part.
    func isBeyondPart(_ number: LaneNumber) -> Bool {
        lanes[number].meters.contains { book.meters[$0].hasTooMany }
    }

    /// It wants nothing now; an opening of it that waits for a slot waits in vain.
    private mutating func shut(_ number: LaneNumber, _ meter: MeterNumber, at now: Uptime) {
        if lanes[number].poised > 0 { book.dismissals.append(lanes[number].lane) }
        setTimer(meter, at: now)
        refresh(number)
    }

    /// The meter of a list that is closed longest; nil: all are open.
    func closedMeter(_ meters: [MeterNumber], at now: Uptime) -> MeterNumber? {
        guard !meters.isEmpty else { return nil }
        let wall = book.wall(now)
        var found: (meter: MeterNumber, until: Closed)?
        for meter in meters {
            guard let closed = book.meters[meter].closed(at: now, wall) else { continue }
            if let found, found.until.later(closed) == found.until { continue }
            found = (meter, closed)
        }
        return found?.meter
    }

    // MARK: turns

    /// A parcel leaves with a session: every meter that counts it.
    package mutating func sent(_ ticket: Ticket, at now: Uptime) {
        guard book.isOn else { return }
        let wall = book.wall(now)
        let number = tickets[ticket].lane
        if book.rules.measures { lanes[number].lately.add(at: now) }
        for meter in lanes[number].meters { count(meter, at: now, wall) }
        guard book.asksMail, let scope = book.scope(of: ticket) else { return }
        for meter in book.scopes[scope].meters { count(meter, at: now, wall) }
    }

    private mutating func count(_ meter: MeterNumber, at now: Uptime, _ wall: Timestamp) {
        book.meters[meter].sent(at: now, wall)
        if book.meters[meter].isAwaited { setTimer(meter, at: now) }
    }

    /// Meters whose time has come let on who waits there.
    mutating func advanceMeters(to now: Uptime) {
        if let end = book.allEnds, end <= now { book.endAll() }
        if let again = book.againAt, again <= now { book.againAt = nil }
        while let meter = book.woken(at: now) { offer(meter, at: now) }
    }

    private mutating func offer(_ meter: MeterNumber, at now: Uptime) {
        let wall = book.wall(now)
        var room = min(Self.mostLetOn, book.meters[meter].room(at: now, wall))
        unpark(meter, atMost: room)
        let isTheirs = book.meters[meter].turns % 4 == 3 || book.meters[meter].forMessages.isEmpty
        if isTheirs, room > 0, room < Self.mostLetOn, letOnToPlaces(meter, atMost: 1, at: now) > 0 {
            room -= 1
            book.meters[meter].turns += 1
        }
        while room > 0, let waiter = book.meters[meter].nextForMessages() {
            guard lanes[waiter.lane].gateStamp == waiter.stamp, lanes[waiter.lane].messageGate == meter else {
                continue
            }
            room -= 1
            lanes[waiter.lane].messageGate = .null
            refresh(waiter.lane)
        }
        if book.meters[meter].terms.rate == nil, room > 0 { _ = letOnToPlaces(meter, atMost: room, at: now) }
        setTimer(meter, at: now)
    }

    /// Lanes that wait for a session may open one.
    ///
    /// - Returns: how many.
    private mutating func letOnToPlaces(_ meter: MeterNumber, atMost most: Int, at now: Uptime) -> Int {
        let room = min(most, book.meters[meter].roomForSessions(at: now))
        var count = 0
        while count < room, let waiter = book.meters[meter].forSessions.popFirst() {
            guard lanes[waiter.lane].sessionStamp == waiter.stamp, lanes[waiter.lane].sessionGate == meter else {
                continue
            }
            count += 1
            lanes[waiter.lane].sessionGate = .null
            lanes[waiter.lane].hasPlace = true
            refresh(waiter.lane)
        }
        return count
    }

    /// When a meter looks again: when it opens, or soon where it is open and somebody waits.
    private mutating func setTimer(_ meter: MeterNumber, at now: Uptime) {
        let soon = now.adding(milliseconds: book.meters[meter].terms.isEmpty ? 1 : Self.offerPause)
        book.meters[meter].note(at: now)
        if book.isShared { shareBook.lacking.insert(meter) }
        if book.meters[meter].isAwaited {
            switch book.meters[meter].closed(at: now, book.wall(now)) {
            case .until(let time): book.wake(meter, at: time)
            case .open: break
            case nil: book.wake(meter, at: soon)
            }
        }
        if !book.meters[meter].forSessions.isEmpty {
            switch book.meters[meter].closedToSessions(at: now) {
            case .until(let time): book.wake(meter, at: time)
            case .open: break
            case nil:
                switch book.meters[meter].closed(at: now, book.wall(now)) {
                case .until(let time): book.wake(meter, at: time)
                case .open: break
                case nil: book.wake(meter, at: soon)
                }
            }
        }
    }
}
