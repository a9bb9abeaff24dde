// SchedulerSimulation.swift — a day at the scheduler in a second: lanes of every temper, events in the order of time, no clock.

import HeapModule
import Mail
import TestSupport

@testable import Queue

/// How a next hop behaves.
enum Temper: Hashable, Sendable {
    /// Takes connections and says nothing, for five minutes.
    case hanging
    /// Stands at once and answers to a dot after so many milliseconds.
    case slow(Int64)
    /// Refuses every connection at once.
    case refusing
    /// Answers within milliseconds.
    case fast
    /// Stands, and turns every message away with 421.
    case turningAway
    /// Its name is not resolved, for half a minute.
    case nameless
    /// One of many domains of a provider that counts messages and connections over all of them.
    case provided

    /// Milliseconds from MAIL to the answer.
    var answer: Int64 {
        switch self {
        case .slow(let time): time
        case .hanging, .refusing, .fast, .turningAway, .nameless: 10
        case .provided: 80
        }
    }
}

/// What a provider tells nobody.
struct HiddenLimits {
    /// Messages in so many milliseconds; what is beyond is turned away.
    var messages = Int.max
    var window: Int64 = 60_000
    var connections = Int.max
    /// When messages were taken.
    var taken: [Int64] = []
    var open = 0
    var turnedAway = 0
    var refusedConnections = 0
    /// A temporary answer instead of 421; reactions hear it.
    var answer: String?
    /// From when on it takes any rate.
    var liftedAt = Int64.max
    /// Nobody is answered in this time.
    var outage: Range<Int64> = 0..<0
    /// Messages of any 24 hours.
    var daily = Int.max
    /// Milliseconds for which a message is greylisted; 0: none is.
    var greylist: Int64 = 0
    /// Each nth message is of a sender that it does not like; 0: none.
    var disliked = 0
    var seen: [Ticket: Int64] = [:]
    /// By the minute.
    var takenByMinute: [Int: Int] = [:]
    var refusedByMinute: [Int: Int] = [:]

    /// Why a message is not taken now, beside the rate.
    mutating func complaint(about ticket: Ticket, at now: Int64) -> String? {
        if greylist > 0, now - seen[ticket, default: now] < greylist || seen[ticket] == nil {
            seen[ticket] = seen[ticket] ?? now
            return "450 4.2.0 greylisted"
        }
        if isDisliked(ticket) { return "421 4.7.28 unusual rate of mail from your DKIM domain" }
        return nil
    }

    func isDisliked(_ ticket: Ticket) -> Bool { disliked > 0 && Int(ticket.number) % disliked == 0 }

    private var turnedAwayBefore = 0

    mutating func takes(at now: Int64) -> Bool {
        let minute = Int(now / 60_000)
        guard now < liftedAt else {
            takenByMinute[minute, default: 0] += 1
            return true
        }
        guard taken.count < daily else {
            turnedAway += 1
            refusedByMinute[minute, default: 0] += 1
            return false
        }
        defer {
            if turnedAwayBefore < turnedAway {
                refusedByMinute[minute, default: 0] += 1
            } else {
                takenByMinute[minute, default: 0] += 1
            }
        }
        turnedAwayBefore = turnedAway

        // So many before this one came in the window if the first of them did.
        guard taken.count < messages || taken[taken.count - messages] <= now - window else {
            turnedAway += 1
            return false
        }
        taken.append(now)
        return true
    }
}

struct SchedulerSimulation {
    private enum Event {
        case arrives(Int)
        case lookedUp(Int, UInt64)
        /// A look-up, by its number.
        case nameless(Int, UInt64)
        case cut(UInt64)
        case stands(Opening)
        case fails(Opening)
        case answered(Int)
        case closed(Int)
        case tick
        case wake
    }

    private struct Entry: Comparable {
        let at: Int64
        let order: Int
        let event: Event

        static func < (a: Entry, b: Entry) -> Bool { a.at == b.at ? a.order < b.order : a.at < b.at }
        static func == (a: Entry, b: Entry) -> Bool { a.at == b.at && a.order == b.order }
    }

    private struct Session {
        let lane: Int
        let number: LaneNumber
        let stoodAt: Int64
        var carried = 0
        var ticket: Ticket?
        var isLeaving = false
    }

    struct Lanes {
        var tempers: [Temper] = []
        /// Messages at the beginning.
        var atOnce: [Int] = []
        /// Milliseconds between two messages; 0: no further ones.
        var every: [Int64] = []

        mutating func add(_ count: Int, _ temper: Temper, atOnce: Int, every: Int64 = 0) {
            for _ in 0..<count {
                tempers.append(temper)
                self.atOnce.append(atOnce)
                self.every.append(every)
            }
        }
    }

    var scheduler: Scheduler
    var hidden = HiddenLimits()
    /// Hears temporary answers of providers; nil: nobody does.
    var reactor: Reactor?
    /// When the relay is stopped and started again, with what it keeps on disk.
    var restartsAt: Int64?
    private(set) var slowed = 0
    private(set) var recovered = 0
    private var random: SeededRandom
    private let lanes: Lanes
    private var events = Heap<Entry>()
    private var order = 0
    private var now: Int64 = 0
    private var wakeAt = Int64.max
    private var openings: [Opening: Int] = [:]
    private var looking: [UInt64: Int] = [:]
    private var sessions: [Int: Session] = [:]
    private var nextSession = 0
    private var nextTicket: UInt32 = 0
    private var arrivedAt: [Ticket: Int64] = [:]

    /// Milliseconds that messages of fast lanes waited for their session, by when they came.
    private(set) var waits: [(at: Int64, wait: Int64)] = []
    private(set) var stood = 0
    private(set) var connections = 0
    private(set) var attempts = 0
    private(set) var refusals = 0
    private(set) var delivered: [Int]
    private(set) var mostSessions = 0
    private(set) var mostOfALane = 0
    /// When all messages of the first lane were delivered.
    private(set) var mostOfFirstAt: [Int: Int64] = [:]

    init(_ limits: Scheduler.Limits, _ lanes: Lanes, seed: UInt64) {
        scheduler = Scheduler(limits)
        random = SeededRandom(seed: seed)
        self.lanes = lanes
        names = lanes.tempers.indices.map { .domain(Domain(unchecked: "d\($0).test")) }
        delivered = Array(repeating: 0, count: lanes.tempers.count)
    }

    private let names: [Lane]
    private func lane(_ index: Int) -> Lane { names[index] }
    private func index(_ lane: Lane) -> Int {
        guard case .domain(let domain) = lane.hop else { return 0 }
        return Int(domain.name.utf8.dropFirst().prefix { $0 != UInt8(ascii: ".") }.reduce(0) { $0 * 10 + Int($1 - 48) })
    }

    private mutating func schedule(_ event: Event, after delay: Int64) {
        order += 1
        events.insert(Entry(at: now + max(0, delay), order: order, event: event))
    }

    /// - Parameter storm: when lanes that are not fast begin, in milliseconds.
    mutating func run(until end: Int64, storm: Int64 = 0) {
        for index in lanes.tempers.indices.shuffled(using: &random) {
            let begin = lanes.tempers[index] == .fast ? 0 : storm
            for _ in 0..<lanes.atOnce[index] { schedule(.arrives(index), after: begin) }
            if lanes.every[index] > 0 {
                var at = begin + Int64.random(in: 0..<lanes.every[index], using: &random)
                while at < end {
                    schedule(.arrives(index), after: at)
                    at += lanes.every[index]
                }
            }
        }
        if reactor != nil { schedule(.tick, after: 1000) }
        while let entry = events.popMin(), entry.at <= end {
            now = entry.at
            if let at = restartsAt, at <= now { restart() }
            handle(entry.event)
            // What comes together is looked at once, as the dispatcher does.
            if events.min.map({ $0.at > now }) ?? true { look() }
        }
    }

    private var time: Uptime { Uptime(milliseconds: now) }

    private mutating func handle(_ event: Event) {
        switch event {
        case .arrives(let index):
            let ticket = Ticket(nextTicket)
            nextTicket += 1
            arrivedAt[ticket] = now
            homes[ticket] = index
            file(ticket, due: time)
        case .lookedUp(let index, let number):
            if lanes.tempers[index] == .provided { scheduler.set(hosts: ["mx\(index).big.test"], of: lane(index)) }
            scheduler.poise(lane(index), number)
        case .nameless(let index, let number):
            guard looking.removeValue(forKey: number) != nil else { return }
            unopened(index)
            scheduler.lookUpEnded(lane(index), number)
        case .cut(let number):
            if let index = looking.removeValue(forKey: number) { scheduler.lookUpEnded(lane(index), number) }
        case .stands(let opening): stands(opening)
        case .fails(let opening):
            guard let index = openings.removeValue(forKey: opening) else { return }
            scheduler.openingEnded(opening, looksOn: true)
            if !scheduler.surplusRefused(lane(index), at: time) { unopened(index) }
            scheduler.lookUpEnded(lane(index), nil)
        case .answered(let number): answered(number)
        case .closed(let number):
            guard let session = sessions.removeValue(forKey: number) else { return }
            if lanes.tempers[session.lane] == .provided { hidden.open -= 1 }
            scheduler.sessionEnded(lane(session.lane), carried: session.carried, wasLeaving: session.isLeaving)
        case .tick:
            recovered += scheduler.recover(at: time).count
            schedule(.tick, after: 1000)
        case .wake: wakeAt = .max
        }
    }

    private var homes: [Ticket: Int] = [:]

    /// Messages that were not delivered.
    var waiting: some Collection<Ticket> { homes.keys }

    private mutating func file(_ ticket: Ticket, due: Uptime) {
        guard let index = homes[ticket] else { return }
        scheduler.add(ticket, to: lane(index), due: due, at: time)
        look(at: ticket)
    }

    private func envelope(_ ticket: Ticket) -> Envelope {
        let name = hidden.isDisliked(ticket) ? "x@bad.test" : "x@good.test"
        return Envelope(sender: EmailAddress(name).map(ReversePath.address) ?? .null, recipients: [])
    }

    private mutating func look(at ticket: Ticket) {
        guard scheduler.wantsLook(ticket) else { return }
        scheduler.look(ticket, envelope(ticket), domain: nil)
        scheduler.placeAgain(ticket)
    }

    /// Sessions are gone, nothing is known but what is on disk: rules, what was used, what is held down.
    private mutating func restart() {
        restartsAt = nil
        let (rules, records, slowings) = (scheduler.rules, scheduler.book.records(at: time), scheduler.slowings.values)
        var next = Scheduler(scheduler.limits)
        next.set(rules, at: time)
        next.book.restore(records, at: time)
        next.restore(Array(slowings), at: time)
        scheduler = next
        openings = [:]
        sessions = [:]
        looking = [:]
        hidden.open = 0
        wakeAt = .max
        for ticket in homes.keys.sorted(by: { $0.number < $1.number }) { file(ticket, due: time) }
    }

    /// A temporary answer: the message waits for its next time, the session goes on.
    private mutating func hear(_ answer: String, _ ticket: Ticket, _ session: Int) {
        guard let index = sessions[session]?.lane, let reply = Reply(line: answer) else { return }
        let failure = Failure(.recipient, at: .recipient, reply)
        scheduler.answered(ticket, isFinal: false, at: time)
        scheduler.postpone(ticket, until: time.adding(milliseconds: 64_000), at: time)
        let (lane, parties) = (lane(index), MailParties(envelope(ticket)))
        let (now, provider) = (time, scheduler.provider(of: lane))
        let heard = reactor?.hear(failure, from: lane, provider: provider, parties, at: now) ?? []
        for due in heard where scheduler.slow(due.reaction, due.scope, from: lane, said: answer, at: now) != nil {
            slowed += 1
        }
    }

    private mutating func stands(_ opening: Opening) {
        guard let index = openings.removeValue(forKey: opening), let number = scheduler.laneIndex[lane(index)] else {
            return
        }
        scheduler.reached(opening, at: time)
        stood += 1
        nextSession += 1
        sessions[nextSession] = Session(lane: index, number: number, stoodAt: now)
        pull(nextSession)
    }

    /// The lane rests, and what is due waits until it is back, or its time comes.
    private mutating func unopened(_ index: Int) {
        scheduler.rest(lane(index), at: time)
        for ticket in scheduler.takeDue(in: lane(index), atMost: .max, at: time) {
            scheduler.postpone(ticket, until: time.adding(milliseconds: 64_000), at: time)
            scheduler.strand(ticket)
        }
    }

    private mutating func answered(_ number: Int) {
        guard var session = sessions[number], let ticket = session.ticket else { return }
        session.ticket = nil
        sessions[number] = session
        attempts += 1
        let temper = lanes.tempers[session.lane]
        if temper == .provided, let answer = hidden.complaint(about: ticket, at: now) {
            hear(answer, ticket, number)
            return pull(number)
        }
        if temper == .provided, let answer = hidden.answer, !hidden.takes(at: now) {
            refusals += 1
            hear(answer, ticket, number)
            return pull(number)
        }
        if temper == .turningAway || temper == .provided && hidden.answer == nil && !hidden.takes(at: now) {
            refusals += 1
            if scheduler.turnedAway(lane(session.lane), at: time) {
                scheduler.putBack(ticket)
            } else {
                scheduler.postpone(ticket, until: time.adding(milliseconds: 64_000), at: time)
                scheduler.rest(lane(session.lane), at: time)
            }
            return schedule(.closed(number), after: 1)
        }
        scheduler.answered(ticket, isFinal: true, at: time)
        scheduler.remove(ticket)
        homes[ticket] = nil
        delivered[session.lane] += 1
        pull(number)
    }

    private mutating func pull(_ number: Int) {
        guard var session = sessions[number], !session.isLeaving, session.ticket == nil else { return }
        let held = now - session.stoodAt
        let ticket: Ticket
        switch scheduler.next(for: lane(session.lane), carried: session.carried, held: held, at: time) {
        case .idle: return
        case .yield:
            sessions[number]?.isLeaving = true
            return schedule(.closed(number), after: 2)
        case .carry(let next): ticket = next
        }
        if scheduler.wantsLook(ticket) {
            scheduler.look(ticket, envelope(ticket), domain: nil)
            if scheduler.putAside(ticket, at: time) { return pull(number) }
        }
        scheduler.sent(ticket, at: time)
        session.ticket = ticket
        session.carried += 1
        sessions[number] = session
        let temper = lanes.tempers[session.lane]
        if temper == .fast, let at = arrivedAt[ticket] { waits.append((at, now - at)) }
        schedule(.answered(number), after: temper.answer)
    }

    private mutating func look() {
        if reactor != nil { scheduler.advance(to: time) }
        for number in idle { pull(number) }
        let turn = scheduler.turn(at: time)
        for lane in turn.dismissals { scheduler.unpoise(lane) }
        for connect in turn.connects { begin(connect) }
        for opening in turn.cuts { schedule(.fails(opening), after: 1) }
        for number in turn.lookUpCuts { schedule(.cut(number), after: 1) }
        for lookUp in turn.lookUps {
            let index = index(lookUp.lane)
            if lanes.tempers[index] == .nameless {
                looking[lookUp.number] = index
                schedule(.nameless(index, lookUp.number), after: 30_000)
            } else {
                schedule(.lookedUp(index, lookUp.number), after: 2)
            }
        }
        endIdle(turn)
        mostSessions = max(mostSessions, scheduler.sessions)
        // With thousands of lanes the walk would be the simulation.
        for index in lanes.tempers.indices.prefix(reactor == nil ? 1000 : 0) {
            mostOfALane = max(mostOfALane, scheduler.sessionCount(lane(index)))
        }
        if let wakeup = scheduler.nextWakeup?.milliseconds, max(wakeup, now + 1) < wakeAt {
            wakeAt = max(wakeup, now + 1)
            schedule(.wake, after: wakeAt - now)
        }
    }

    /// Sessions that have nothing to do, but for those whose lane may not send: they would only be asked in vain.
    private var idle: [Int] {
        var idle: [Int] = []
        for (number, session) in sessions where session.ticket == nil && !session.isLeaving {
            if reactor == nil || scheduler.lanes[session.number].messageGate == .null { idle.append(number) }
        }
        return idle.sorted()
    }

    private mutating func begin(_ connect: Turn.Connect) {
        let index = index(connect.lane)
        openings[connect.opening] = index
        connections += 1
        let count = scheduler.sessionCount(connect.lane)
        if mostOfFirstAt[count] == nil { mostOfFirstAt[count] = now }
        switch lanes.tempers[index] {
        case .hanging: schedule(.fails(connect.opening), after: 300_000)
        case .refusing: schedule(.fails(connect.opening), after: 3)
        case .slow, .fast, .turningAway, .nameless: schedule(.stands(connect.opening), after: 20)
        case .provided:
            guard hidden.open < hidden.connections, !hidden.outage.contains(now) else {
                hidden.refusedConnections += 1
                return schedule(.fails(connect.opening), after: 30)
            }
            hidden.open += 1
            schedule(.stands(connect.opening), after: 150)
        }
    }

    private mutating func endIdle(_ turn: Turn) {
        var left = turn.idleToEnd
        guard left > 0 || turn.trims else { return }
        for (number, session) in sessions.sorted(by: { $0.key < $1.key })
        where session.ticket == nil && !session.isLeaving {
            guard left > 0 || turn.trims && scheduler.hasTooMany(lane(session.lane)) else { continue }
            left -= 1
            scheduler.endsIdle(lane(session.lane))
            sessions[number]?.isLeaving = true
            schedule(.closed(number), after: 2)
        }
    }

    /// Milliseconds that all but one of a hundred messages of fast lanes waited at most.
    func p99(after begin: Int64 = 0) -> Int64 {
        let sorted = waits.filter { $0.at >= begin }.map(\.wait).sorted()
        return sorted.isEmpty ? .max : sorted[min(sorted.count - 1, sorted.count * 99 / 100)]
    }
}
