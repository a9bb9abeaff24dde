// Scheduler+Sessions.swift — who may look up, who may connect, who makes room: G9 in numbers.
//
// Of `concurrency_max` slots the last tenth is for lanes that have answered lately and hold none, the tenth before it for
// any lane that holds none; lanes that could not be reached have a quarter together. An opening that is silent gives its
// slot back when others want it: after a second, or after half a minute where the lane was silent before. A session gives
// its slot back between two messages, to a lane that can use it now and has fewer. So sessions ≤ messages + lanes.

import DequeModule
package import Mail

extension Scheduler {
    /// Milliseconds after which a silent opening makes room for others.
    static let patience: Int64 = 1000
    /// The same for a lane that could not be reached before: it has few slots, and may be one that takes its time.
    static let probePatience: Int64 = 30_000
    /// Milliseconds after which a lane's only session makes room for a lane that has none.
    private static let quantum: Int64 = 200

    // MARK: slots

    /// Slots below which a ring may claim one more.
    private func bound(_ ring: Ring) -> Int {
        let tenth = limits.total / 10
        return switch ring {
        case .swift: limits.total
        case .fresh, .failing: limits.total - tenth
        // A lane that is alone takes nothing from anybody.
        case .slow, .common, .eager: lanes.used <= 1 ? limits.total : max(1, limits.total - max(1, tenth) - tenth)
        }
    }

    /// Slots that openings of failing lanes may hold.
    private var failingBound: Int { max(1, limits.total / 4) }

    private func admits(_ ring: Ring) -> Bool {
        sessions < bound(ring) && (ring != .failing || failingOpenings < failingBound)
    }

    /// Whether a lane waits in this ring that will find no slot when all have ended that were asked to.
    private func isBlocked(_ ring: Ring) -> Bool {
        guard ring != .eager, slotRings.first(ring) != nil, sessions - leaving >= bound(ring) else { return false }
        return ring != .failing || failingOpenings < failingBound
    }

    // MARK: turns

    /// What is to be done now; what it grants is claimed.
    ///
    /// Each look-up is answered by ``poise(_:_:)`` or ``lookUpEnded(_:_:)``, each connect by ``reached(_:at:)`` or
    /// ``openingEnded(_:looksOn:)``.
    package mutating func turn(at now: Uptime) -> Turn {
        advance(to: now)
        release(at: now)
        var turn = Turn()
        turn.trims = trims
        trims = false
        guard !isStopped else { return turn }
        while let number = nextToConnect(at: now) { turn.connects.append(connect(number, at: now)) }
        while let number = nextToLookUp() {
            if asksLanes, !mayOpen(number, at: now) { continue }
            turn.lookUps.append(startLookUp(number, at: now))
            endTurn(number)
        }
        turn.lookUpCuts = cutLookUps(at: now)
        if !book.dismissals.isEmpty { swap(&turn.dismissals, &book.dismissals) }
        turn.cuts = cutSilent(at: now)
        turn.idleToEnd = max(missing, sessions - leaving - limits.total)
        return turn
    }

    /// Lanes without a session first; every fourth slot goes to the others first, so that nobody waits for ever.
    private mutating func nextToConnect(at now: Uptime) -> LaneNumber? {
        let order: [Ring] = grants % 4 == 3 ? [.failing, .slow, .common, .swift, .fresh, .eager] : Ring.allCases
        for ring in order where admits(ring) {
            while let number = ring == .fresh ? slotRings.next(ring, grants) : slotRings.first(ring) {
                if !asksLanes || mayOpen(number, at: now) { return number }
            }
        }
        return nil
    }

    private mutating func connect(_ number: LaneNumber, at now: Uptime) -> Turn.Connect {
        grants &+= 1
        let opening = Opening(number: grants)
        let isFailing = lanes[number].rests > 0
        openings[opening] = OpeningState(lane: number, since: now, isFailing: isFailing)
        openingOrder.append(opening)
        if isFailing { failingOpenings += 1 }
        seeking -= 1
        sessions += 1
        lanes[number].poised -= 1
        lanes[number].sessions += 1
        lanes[number].opening += 1
        if !lanes[number].meters.isEmpty { countSession(number, 1, at: now) }
        lanes[number].hasPlace = false
        if isFailing { startProbe(number, at: now) }
        endTurn(number)
        return Turn.Connect(lane: lanes[number].lane, opening: opening)
    }

    // MARK: openings

    /// An opening of the lane knows where to go, and waits for a slot.
    ///
    /// - Parameter lookUp: the number of its look-up; nil: it goes on from an earlier host.
    package mutating func poise(_ lane: Lane, _ lookUp: UInt64?) {
        guard let number = laneIndex[lane] else { return }
        lanes[number].lookingUp = max(0, lanes[number].lookingUp - 1)
        lanes[number].poised += 1
        endLookUp(number, lookUp, isKnown: true)
        if lanes[number].messageGate != .null || lanes[number].sessionGate != .null || lanes[number].isDismissed {
            book.dismissals.append(lane)
        }
        refresh(number)
    }

    /// An opening of the lane has found no way to go.
    ///
    /// - Parameter lookUp: the number of its look-up; nil: it went on from an earlier host.
    package mutating func lookUpEnded(_ lane: Lane, _ lookUp: UInt64?) {
        guard let number = laneIndex[lane], lanes[number].lookingUp > 0 else { return }
        lanes[number].lookingUp -= 1
        seeking -= 1
        endLookUp(number, lookUp, isKnown: false)
        if lanes[number].opening == 0 { lanes[number].probesUntil = nil }
        refresh(number)
    }

    /// An opening of the lane waits for a slot no longer.
    package mutating func unpoise(_ lane: Lane) {
        guard let number = laneIndex[lane], lanes[number].poised > 0 else { return }
        lanes[number].poised -= 1
        if lanes[number].poised == 0 { lanes[number].isDismissed = false }
        seeking -= 1
        refresh(number)
    }

    /// The session of an opening stands: its lane can be reached, and mail that waits for nothing else is due.
    package mutating func reached(_ opening: Opening, at now: Uptime) {
        guard let number = forget(opening) else { return }
        lanes[number].restsUntil = nil
        lanes[number].mayProbe = nil
        startRelease(number, at: now)
        // Where plugins are asked first, its mail waits to be prepared again.
        if let prepared = laneIndex[lanes[number].lane.preparation] { startRelease(prepared, at: now) }
        refresh(number)
    }

    /// No session stands at the end of an opening: its slot is free.
    ///
    /// - Parameter looksOn: the same opening goes on to another host, without a slot as yet.
    package mutating func openingEnded(_ opening: Opening, looksOn: Bool) {
        guard let number = forget(opening) else { return }
        sessions -= 1
        lanes[number].sessions -= 1
        if !lanes[number].meters.isEmpty { countSession(number, -1) }
        lanes[number].probesUntil = nil
        if looksOn { startLooking(number) }
        refresh(number)
    }

    /// Takes it off the list of openings.
    private mutating func forget(_ opening: Opening) -> LaneNumber? {
        guard let state = openings.removeValue(forKey: opening) else { return nil }
        if state.isFailing { failingOpenings -= 1 }
        if state.isCut {
            leaving -= 1
            lanes[state.lane].leaving -= 1
        }
        lanes[state.lane].opening -= 1
        while let first = openingOrder.first, openings[first] == nil { openingOrder.removeFirst() }
        return state.lane
    }

    private mutating func startLooking(_ number: LaneNumber) {
        lanes[number].lookingUp += 1
        seeking += 1
    }

    /// Slots that lanes wait for and will not find when all have ended that were asked to.
    private var missing: Int {
        var missing = 0
        for ring in Ring.allCases where isBlocked(ring) {
            missing = max(missing, sessions - leaving - bound(ring) + slotRings.count(ring))
        }
        return missing
    }

    /// Openings that have been silent for too long while others want their slots.
    private mutating func cutSilent(at now: Uptime) -> [Opening] {
        let wanted = missing
        let isFailingFull = slotRings.first(.failing) != nil && failingOpenings >= failingBound
        let pressure = Pressure(isGeneral: wanted > 0, isFailing: isFailingFull)
        if pressure == self.pressure, let cutsAt, cutsAt > now { return [] }
        self.pressure = pressure
        cutsAt = nil
        guard wanted > 0 || isFailingFull else { return [] }
        var cuts: [Opening] = []
        for opening in openingOrder {
            guard let state = openings[opening], !state.isCut else { continue }
            guard state.isFailing ? isFailingFull : wanted > 0 else { continue }
            let end = state.since.adding(milliseconds: state.isFailing ? Self.probePatience : Self.patience)
            guard end <= now, state.isFailing || cuts.count < wanted else {
                cutsAt = cutsAt.map { min($0, end) } ?? end
                // All behind it are younger, or nobody wants their slots.
                if !isFailingFull { break }
                continue
            }
            openings[opening]?.isCut = true
            leaving += 1
            lanes[state.lane].leaving += 1
            cuts.append(opening)
        }
        return cuts
    }

    // MARK: sessions that stand

    /// A session that stood is gone.
    ///
    /// - Parameters:
    ///   - carried: messages that it was given.
    ///   - wasLeaving: it was asked to end, by ``yields(_:carried:held:)`` or ``endsIdle(_:)``.
    ///   - looksOn: what it could not deliver goes on to another host, without a slot as yet.
    /// - Returns: whether the lane opens many sessions and delivers little, which somebody should know.
    @discardableResult
    package mutating func sessionEnded(_ lane: Lane, carried: Int, wasLeaving: Bool, looksOn: Bool = false) -> Bool {
        guard let number = laneIndex[lane], lanes[number].sessions > 0 else { return false }
        sessions -= 1
        lanes[number].sessions -= 1
        if !lanes[number].meters.isEmpty { countSession(number, -1) }
        if wasLeaving {
            leaving -= 1
            lanes[number].leaving -= 1
        }
        if lanes[number].sessions == 0 { lanes[number].probesUntil = nil }
        lanes[number].fruitless = max(0, lanes[number].fruitless + (carried == 0 ? 1 : -carried))
        let isFruitless = lanes[number].fruitless >= Self.mostFruitless
        if isFruitless { lanes[number].fruitless = 0 }
        if looksOn { startLooking(number) }
        refresh(number)
        return isFruitless
    }

    /// What a session does between two messages.
    ///
    /// - Parameters:
    ///   - carried: messages that it was given; it carries one at least, so that sessions are not opened in vain.
    ///   - held: milliseconds since it stands.
    package mutating func next(for lane: Lane, carried: Int, held: Int64, at now: Uptime) -> SessionTurn {
        advance(to: now)
        guard let number = laneIndex[lane] else { return .idle }
        if yields(number, carried, held) { return .yield }
        guard !isStopped else { return .idle }
        let ticket = asksLanes ? takeMetered(number, at: now) : take(from: number, at: now)
        return ticket.map { .carry($0) } ?? .idle
    }

    /// Whether a session should end; then it is counted as leaving.
    mutating func yields(_ number: LaneNumber, _ carried: Int, _ held: Int64) -> Bool {
        guard shouldYield(number, carried, held) else { return false }
        leaving += 1
        lanes[number].leaving += 1
        return true
    }

    private func shouldYield(_ number: LaneNumber, _ carried: Int, _ held: Int64) -> Bool {
        let own = lanes[number].sessions - lanes[number].leaving
        if own > lanes[number].allowed(limits.perLane) || sessions - leaving > limits.total { return true }
        if !lanes[number].meters.isEmpty, carried > 0 {
            if carried >= lanes[number].mostPerSession || makesRoom(number, held: held) { return true }
        }
        guard carried > 0, sessions - leaving >= bound(.common) else { return false }
        for ring in Ring.allCases where isBlocked(ring) {
            guard let other = slotRings.first(ring), other != number else { continue }
            let theirs = lanes[other].sessions - lanes[other].leaving
            if own > theirs + 1 || theirs == 0 && held >= Self.quantum { return true }
        }
        return false
    }

    /// A session without work ends, to make room or because there are too many; it is counted as leaving.
    package mutating func endsIdle(_ lane: Lane) {
        guard let number = laneIndex[lane] else { return }
        leaving += 1
        lanes[number].leaving += 1
        refresh(number)
    }

    /// The lane has more sessions than it may.
    package func hasTooMany(_ lane: Lane) -> Bool {
        guard let number = laneIndex[lane] else { return false }
        return lanes[number].sessions - lanes[number].leaving > lanes[number].allowed(limits.perLane)
            || book.isShared && isBeyondPart(number)
    }

    /// Sessions the lane has claimed.
    package func sessionCount(_ lane: Lane) -> Int { laneIndex[lane].map { lanes[$0].sessions } ?? 0 }
}

/// What a session does next.
package enum SessionTurn: Hashable, Sendable {
    /// The parcel is in flight from now on.
    case carry(Ticket)
    /// It ends; it is counted as leaving.
    case yield
    /// Nothing is due.
    case idle
}

/// Who would have the slots of silent openings.
struct Pressure: Hashable, Sendable {
    var isGeneral = false
    /// Lanes that could not be reached before.
    var isFailing = false
}

/// A slot whose session does not stand yet.
struct OpeningState: Sendable {
    let lane: LaneNumber
    let since: Uptime
    /// Its lane could not be reached before.
    let isFailing: Bool
    /// It was asked to give up.
    var isCut = false
}
