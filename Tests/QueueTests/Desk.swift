// Desk.swift — a scheduler with somebody who does what it says: look-ups end at once, openings are named by their lanes.

import Mail
import Synchronization

@testable import Queue

extension Ticket: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: UInt32) { self.init(value) }
}

func tickets(_ numbers: Range<UInt32>) -> [Ticket] { numbers.map { Ticket($0) } }

extension MailQueue {
    /// Lanes that want a session and may have one; each has it then.
    func lanesWantingSessions(at now: Uptime) -> [Lane] {
        state.withLock { state in
            for lookUp in state.scheduler.turn(at: now).lookUps { state.scheduler.poise(lookUp.lane, lookUp.number) }
            return state.scheduler.turn(at: now).connects.map(\.lane)
        }
    }

    func next(for lane: Lane, at now: Uptime) -> NextParcel { next(for: lane, carried: 0, held: 0, at: now) }
}

@dynamicMemberLookup
struct Desk {
    var scheduler: Scheduler
    private var openings: [Lane: [Opening]] = [:]
    private(set) var turn = Turn()

    init(_ limits: Scheduler.Limits) { scheduler = Scheduler(limits) }

    subscript<Value>(dynamicMember member: WritableKeyPath<Scheduler, Value>) -> Value {
        get { scheduler[keyPath: member] }
        set { scheduler[keyPath: member] = newValue }
    }

    subscript<Value>(dynamicMember member: KeyPath<Scheduler, Value>) -> Value { scheduler[keyPath: member] }

    /// Grants slots until there is nothing more to grant.
    mutating func opens(at now: Uptime) -> [Lane] {
        var lanes: [Lane] = []
        while true {
            turn = scheduler.turn(at: now)
            if turn.lookUps.isEmpty, turn.connects.isEmpty { return lanes }
            for lookUp in turn.lookUps { scheduler.poise(lookUp.lane, lookUp.number) }
            for connect in turn.connects {
                openings[connect.lane, default: []].append(connect.opening)
                lanes.append(connect.lane)
            }
        }
    }

    mutating func stands(_ lane: Lane, at now: Uptime = Uptime(milliseconds: 0)) {
        guard let opening = openings[lane]?.removeFirst() else { return }
        scheduler.reached(opening, at: now)
    }

    mutating func fails(_ lane: Lane) {
        guard let opening = openings[lane]?.popLast() else { return }
        scheduler.openingEnded(opening, looksOn: false)
    }

    mutating func ends(_ lane: Lane, carried: Int, wasLeaving: Bool) {
        scheduler.sessionEnded(lane, carried: carried, wasLeaving: wasLeaving)
    }

    mutating func add(_ ticket: Ticket, to lane: Lane, due: Uptime, at now: Uptime) {
        scheduler.add(ticket, to: lane, due: due, at: now)
    }

    mutating func next(for lane: Lane, at now: Uptime) -> Ticket? {
        scheduler.takeDue(in: lane, atMost: scheduler.isPaused ? 0 : 1, at: now).first
    }

    mutating func takeDue(in lane: Lane, atMost limit: Int, at now: Uptime) -> [Ticket] {
        scheduler.takeDue(in: lane, atMost: limit, at: now)
    }

    mutating func postpone(_ ticket: Ticket, until due: Uptime, at now: Uptime) {
        scheduler.postpone(ticket, until: due, at: now)
    }

    mutating func remove(_ ticket: Ticket) { scheduler.remove(ticket) }
    mutating func putBack(_ ticket: Ticket) { scheduler.putBack(ticket) }
    mutating func flush(_ lane: Lane?, at now: Uptime) -> Int { scheduler.flush(lane, at: now) }
    mutating func rest(_ lane: Lane, at now: Uptime) { scheduler.rest(lane, at: now) }
    func isResting(_ lane: Lane) -> Bool { scheduler.isResting(lane) }

    mutating func answered(_ lane: Lane, isFinal: Bool, took: Int64, at now: Uptime) {
        guard let number = scheduler.laneIndex[lane] else { return }
        scheduler.answered(number, isFinal: isFinal, took: took, at: now)
    }

    mutating func turnedAway(_ lane: Lane, at now: Uptime) -> Bool { scheduler.turnedAway(lane, at: now) }
    mutating func surplusRefused(_ lane: Lane, at now: Uptime) -> Bool { scheduler.surplusRefused(lane, at: now) }

    mutating func yields(_ lane: Lane, carried: Int, held: Int64) -> Bool {
        guard let number = scheduler.laneIndex[lane] else { return false }
        return scheduler.yields(number, carried, held)
    }
}
