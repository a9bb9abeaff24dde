// Replay.swift — what limits and reactions would have made of attempts that history knows: the scheduler itself, with the time of
// that day passed in. No clock, no lock, no store.
//
// Next hops say what they said, as fast as they said it; what they would have said to slower mail nobody knows.

import HeapModule
package import Mail

/// An attempt that was made once.
package struct ReplayAttempt: Hashable, Sendable {
    package var message: QueueID
    package var lane: Lane
    /// In normal form; empty where nobody was reached.
    package var hosts: [String] = []
    package var envelope: Envelope
    /// When it could have left.
    package var due: Timestamp
    /// Milliseconds that the session took to stand; nil: it stood already, or nobody knows.
    package var opening: Int64?
    /// Milliseconds from its first command to the answer.
    package var service: Int64 = 0
    /// When it was answered.
    package var answered: Timestamp
    /// What was said to those who did not get it; each once.
    package var failures: [Failure] = []
    /// Somebody got it.
    package var isDelivered = false
    /// From 1 on.
    package var number = 1

    package init(_ message: QueueID, _ lane: Lane, _ envelope: Envelope, due: Timestamp, answered: Timestamp) {
        (self.message, self.lane, self.envelope, self.due, self.answered) = (message, lane, envelope, due, answered)
    }
}

/// A pause of a person, as it was; the end of one.
package struct ReplayPause: Hashable, Sendable {
    package let scope: LimitScope
    package let at: Timestamp
    /// nil: it ends.
    package let pause: Pause?

    package init(_ scope: LimitScope, at: Timestamp, _ pause: Pause?) {
        (self.scope, self.at, self.pause) = (scope, at, pause)
    }
}

/// A day at the scheduler once more.
package struct Replay: Sendable {
    /// Attempts that are looked at in one go.
    package static let mostAttempts = 200_000

    private enum Step: Sendable {
        case arrives(Int)
        case stands(Opening)
        case answered(Int)
        case closed(Int)
        case pause(ReplayPause)
        /// Once a second while something is held down.
        case tick
        case wake
    }

    private struct Entry: Comparable, Sendable {
        let at: Int64
        let order: Int
        let step: Step

        static func < (a: Entry, b: Entry) -> Bool { a.at == b.at ? a.order < b.order : a.at < b.at }
        static func == (a: Entry, b: Entry) -> Bool { a.at == b.at && a.order == b.order }
    }

    private struct Session: Sendable {
        let lane: Lane
        let stoodAt: Int64
        var carried = 0
        var ticket: Ticket?
    }

    private var scheduler: Scheduler
    private var reactor = Reactor()
    private let rules: LimitRules
    private let attempts: [ReplayAttempt]
    /// The next attempts at the same mail.
    private var next: [[Int]]
    private let begin: Timestamp
    private var openings: [Lane: Int64] = [:]
    private var events = Heap<Entry>()
    private var order = 0
    private var now: Int64 = 0
    private var wakeAt = Int64.max
    private var isTicking = false
    private var opening: [Opening: Lane] = [:]
    private var sessions: [Int: Session] = [:]
    private var idle: Set<Int> = []
    private var lastSession = 0
    private(set) var report = ReplayReport()

    /// - Parameters:
    ///   - attempts: in the order in which they were answered.
    ///   - pauses: of persons, in the order of time.
    ///   - kinds: the words that classifiers have for a reply.
    package init(
        _ attempts: [ReplayAttempt],
        _ pauses: [ReplayPause] = [],
        under rules: LimitRules,
        _ limits: Scheduler.Limits,
        kinds: @escaping @Sendable (Failure) -> [String]
    ) {
        self.attempts = attempts
        self.rules = rules
        begin = (attempts.map(\.due) + pauses.map(\.at)).min() ?? Timestamp(milliseconds: 0)
        scheduler = Scheduler(limits)
        // An uptime of zero means "never" to a meter.
        scheduler.setEpoch(begin.milliseconds - Self.origin)
        now = Self.origin
        reactor.set(rules.reactions)
        reactor.kinds = kinds
        next = Array(repeating: [], count: attempts.count)
        scheduler.set(rules, at: Uptime(milliseconds: Self.origin))
        report.place(attempts)
        var last: [Key: Int] = [:]
        for (index, attempt) in attempts.enumerated() {
            let keys = attempt.envelope.recipients.map { Key(message: attempt.message, recipient: $0.address) }
            if let before = keys.lazy.compactMap({ last[$0] }).first {
                next[before].append(index)
            } else {
                schedule(.arrives(index), at: time(attempt.due))
            }
            for key in keys { last[key] = index }
            if let took = attempt.opening { openings[attempt.lane] = min(took, openings[attempt.lane] ?? .max) }
        }
        for pause in pauses { schedule(.pause(pause), at: time(pause.at)) }
    }

    private struct Key: Hashable {
        let message: QueueID
        let recipient: EmailAddress
    }

    private static let origin: Int64 = 1_000_000

    private func time(_ wall: Timestamp) -> Int64 { wall.milliseconds(since: begin) + Self.origin }
    private var uptime: Uptime { Uptime(milliseconds: now) }
    private var wall: Timestamp { begin.adding(milliseconds: now - Self.origin) }

    private mutating func schedule(_ step: Step, at time: Int64) {
        order += 1
        events.insert(Entry(at: max(now, time), order: order, step: step))
    }

    /// Runs until nothing is left, or the time is over.
    ///
    /// - Parameter end: what has not left by then has not left.
    package mutating func run(until end: Timestamp) -> ReplayReport {
        while let entry = events.popMin(), entry.at <= time(end) {
            now = entry.at
            handle(entry.step)
            if events.min.map({ $0.at > now }) ?? true { look() }
        }
        report.finish(attempts)
        return report
    }

    private mutating func handle(_ step: Step) {
        switch step {
        case .arrives(let index): arrives(index)
        case .stands(let one):
            guard let lane = opening.removeValue(forKey: one) else { return }
            scheduler.reached(one, at: uptime)
            lastSession += 1
            sessions[lastSession] = Session(lane: lane, stoodAt: now)
            pull(lastSession)
        case .answered(let number): answered(number)
        case .closed(let number):
            guard let session = sessions.removeValue(forKey: number) else { return }
            idle.remove(number)
            scheduler.sessionEnded(session.lane, carried: session.carried, wasLeaving: true)
        case .pause(let pause): scheduler.set(pause.pause, for: pause.scope, at: uptime)
        case .tick:
            for slowing in scheduler.recover(at: uptime) { report.recovered(slowing, at: wall) }
            isTicking = !scheduler.slowings.isEmpty
            if isTicking { schedule(.tick, at: now + 1000) }
        case .wake: wakeAt = .max
        }
    }

    private mutating func arrives(_ index: Int) {
        let (ticket, attempt) = (Ticket(UInt32(index)), attempts[index])
        scheduler.add(ticket, to: attempt.lane, due: uptime, at: uptime)
        guard scheduler.asksMail else { return }
        let domains = attempt.envelope.recipients.compactMap { scheduler.askedDomain($0.address, in: attempt.lane) }
        scheduler.look(ticket, attempt.envelope, domain: domains.first)
        scheduler.placeAgain(ticket)
    }

    private mutating func pull(_ number: Int) {
        guard let session = sessions[number], session.ticket == nil else { return }
        while true {
            switch scheduler.next(for: session.lane, carried: session.carried, held: now - session.stoodAt, at: uptime)
            {
            case .idle:
                idle.insert(number)
                return
            case .yield:
                idle.remove(number)
                return schedule(.closed(number), at: now + 1)
            case .carry(let ticket):
                let attempt = attempts[Int(ticket.number)]
                if scheduler.wantsLook(ticket) {
                    scheduler.look(ticket, attempt.envelope, domain: nil)
                    if scheduler.putAside(ticket, at: uptime) { continue }
                }
                // What never came to a transaction counts for no rate.
                if attempt.failures.allSatisfy({ $0.stage.rawValue >= Failure.Stage.mail.rawValue }) {
                    scheduler.sent(ticket, at: uptime)
                }
                idle.remove(number)
                sessions[number]?.ticket = ticket
                sessions[number]?.carried += 1
                return schedule(.answered(number), at: now + attempt.service)
            }
        }
    }

    private mutating func answered(_ number: Int) {
        guard let ticket = sessions[number]?.ticket else { return }
        sessions[number]?.ticket = nil
        let index = Int(ticket.number)
        let attempt = attempts[index]
        report.times[index] = wall
        scheduler.answered(ticket, isFinal: attempt.isDelivered, at: uptime)
        scheduler.remove(ticket)
        for failure in attempt.failures { hear(failure, attempt) }
        for later in next[index] {
            // As long after its answer as it was then.
            let delay = max(0, attempts[later].due.milliseconds(since: attempt.answered))
            schedule(.arrives(later), at: now + delay)
        }
        pull(number)
    }

    private mutating func hear(_ failure: Failure, _ attempt: ReplayAttempt) {
        let lane = attempt.lane
        let provider = scheduler.provider(of: lane)
        for due in reactor.hear(failure, from: lane, provider: provider, MailParties(attempt.envelope), at: uptime) {
            switch due.reaction.deed {
            case .slow, .connections:
                guard let slowing = scheduler.slow(due.reaction, due.scope, from: lane, said: due.said, at: uptime)
                else { continue }
                report.slowed(slowing, lane, at: wall)
                if !isTicking { schedule(.tick, at: now + 1000) }
                isTicking = true
            case .pause, .parkSender:
                guard scheduler.pauses[due.scope]?.until.map({ $0 <= wall }) ?? true else { continue }
                let pause = due.pause(at: wall)
                scheduler.set(pause, for: due.scope, at: uptime)
                report.paused(pause, due.reaction, lane, at: wall)
            // Which address would have taken the mail instead, nobody knows.
            case .otherSource, .bounce, .delay: report.count(due.reaction, lane)
            }
        }
    }

    private mutating func look() {
        for number in idle.sorted() { pull(number) }
        let turn = scheduler.turn(at: uptime)
        for lane in turn.dismissals { scheduler.unpoise(lane) }
        for lookUp in turn.lookUps {
            if scheduler.asksHosts, let index = report.places[lookUp.lane] {
                scheduler.set(hosts: attempts[index].hosts, of: lookUp.lane)
            }
            scheduler.poise(lookUp.lane, lookUp.number)
        }
        for connect in turn.connects {
            opening[connect.opening] = connect.lane
            schedule(.stands(connect.opening), at: now + (openings[connect.lane] ?? 0))
        }
        for one in turn.cuts where opening.removeValue(forKey: one) != nil {
            scheduler.openingEnded(one, looksOn: false)
        }
        endIdle(turn)
        if !turn.lookUps.isEmpty { schedule(.wake, at: now) }
        if let wakeup = scheduler.nextWakeup?.milliseconds, max(wakeup, now + 1) < wakeAt {
            wakeAt = max(wakeup, now + 1)
            schedule(.wake, at: wakeAt)
        }
    }

    private mutating func endIdle(_ turn: Turn) {
        var left = turn.idleToEnd
        for number in idle.sorted() {
            guard let lane = sessions[number]?.lane, left > 0 || turn.trims && scheduler.hasTooMany(lane) else {
                continue
            }
            left -= 1
            scheduler.endsIdle(lane)
            idle.remove(number)
            schedule(.closed(number), at: now + 1)
        }
    }
}
