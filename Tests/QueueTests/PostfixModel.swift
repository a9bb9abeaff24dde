// PostfixModel.swift — what Postfix would do with the same providers: its documented algorithm as a small simulation, since the program
// itself cannot have time passed in. It is not Postfix: one transport, one recipient a message, no slow start of processes.
//
// From its manual (SCHEDULER_README, QSHAPE_README, postconf(5)): each destination is a domain; its concurrency begins with
// `initial_destination_concurrency` (5), grows by 1/N with each delivery and shrinks by 1/N with each session that did not come to stand,
// at most `default_destination_concurrency_limit` (20); at nought the destination rests `minimal_backoff_time`. A 4xx answer to a message
// says nothing of the destination: the message is deferred, and tried again after its age, between `minimal_backoff_time` (300 s) and
// `maximal_backoff_time` (4000 s), with the next run of the queue (`queue_run_delay`, 300 s). `default_destination_rate_delay` makes the
// concurrency 1, with so long a pause between two deliveries. A session is kept for the next message (`connection_cache_on_demand`).

import HeapModule
import Mail

@testable import Queue

struct PostfixModel {
    private struct Event: Comparable {
        let at: Int64
        let order: Int
        let domain: Int
        /// What was answered: a message; nil: the domain is looked at again.
        var message: Int?
        var stands = true

        static func < (a: Event, b: Event) -> Bool { (a.at, a.order) < (b.at, b.order) }
    }

    private struct Destination {
        var window = 5.0
        var busy = 0
        /// Sessions that are kept, by when they fell idle.
        var kept: [Int64] = []
        var active: [Int] = []
        var next = 0
        var restsUntil: Int64 = 0
        var goesAt: Int64 = 0
    }

    var hidden: HiddenLimits
    /// `default_destination_rate_delay` in milliseconds; 0: none.
    let rateDelay: Int64
    private(set) var delivered = 0
    private(set) var refused = 0
    private(set) var connections = 0
    private var destinations: [Destination]
    private var events = Heap<Event>()
    private var order = 0
    private var deferred: [(domain: Int, message: Int, due: Int64)] = []

    private static let limit = 20.0
    private static let minimalBackoff: Int64 = 300_000
    private static let maximalBackoff: Int64 = 4_000_000
    private static let queueRun: Int64 = 300_000
    private static let cached: Int64 = 2000

    /// - Parameter each: messages for each of the domains, all there at the beginning.
    init(_ hidden: HiddenLimits, domains: Int, each: Int, rateDelay: Int64) {
        (self.hidden, self.rateDelay) = (hidden, rateDelay)
        destinations = (0..<domains).map { domain in
            var destination = Destination()
            destination.active = (0..<each).map { domain + $0 * domains }
            return destination
        }
    }

    private mutating func schedule(_ domain: Int, at time: Int64, message: Int? = nil, stands: Bool = true) {
        order += 1
        events.insert(Event(at: time, order: order, domain: domain, message: message, stands: stands))
    }

    mutating func run(until end: Int64) {
        for domain in destinations.indices { schedule(domain, at: 0) }
        var nextRun = Self.queueRun
        while true {
            guard let event = events.min, event.at < nextRun else {
                guard nextRun <= end else { return }
                runQueue(at: nextRun)
                nextRun += Self.queueRun
                continue
            }
            guard event.at <= end else { return }
            events.removeMin()
            if let message = event.message { answer(event, message) }
            fill(event.domain, at: event.at)
        }
    }

    private mutating func runQueue(at now: Int64) {
        for entry in deferred where entry.due <= now {
            destinations[entry.domain].active.append(entry.message)
            schedule(entry.domain, at: now)
        }
        deferred.removeAll { $0.due <= now }
    }

    private mutating func fill(_ domain: Int, at now: Int64) {
        var its = destinations[domain]
        defer { destinations[domain] = its }
        let most = rateDelay > 0 ? 1 : Int(its.window)
        guard now >= its.restsUntil, now >= its.goesAt else { return }
        while its.busy < most, its.next < its.active.count {
            let message = its.active[its.next]
            its.next += 1
            its.busy += 1
            its.kept.removeAll { $0 < now - Self.cached }
            if its.kept.popLast() != nil {
                schedule(domain, at: now + 80, message: message)
            } else {
                connections += 1
                let stands = hidden.open < hidden.connections && !hidden.outage.contains(now)
                if stands { hidden.open += 1 }
                schedule(domain, at: now + (stands ? 230 : 30), message: message, stands: stands)
            }
        }
    }

    private mutating func answer(_ event: Event, _ message: Int) {
        let (domain, now) = (event.domain, event.at)
        destinations[domain].busy -= 1
        if rateDelay > 0 {
            destinations[domain].goesAt = now + rateDelay
            schedule(domain, at: now + rateDelay)
        }
        guard event.stands else {
            hidden.refusedConnections += 1
            put(message, domain, at: now)
            destinations[domain].window -= 1 / max(1, destinations[domain].window)
            guard destinations[domain].window < 1 else { return }
            (destinations[domain].window, destinations[domain].restsUntil) = (5, now + Self.minimalBackoff)
            return schedule(domain, at: now + Self.minimalBackoff)
        }
        // A kept session is counted as closed at once: that is in its favour.
        if hidden.open > 0 { hidden.open -= 1 }
        destinations[domain].kept.append(now)
        destinations[domain].window = min(Self.limit, destinations[domain].window + 1 / destinations[domain].window)
        if hidden.complaint(about: Ticket(UInt32(message)), at: now) == nil, hidden.takes(at: now) {
            delivered += 1
        } else {
            refused += 1
            put(message, domain, at: now)
        }
    }

    /// Deferred: again after its age, which is the time since the beginning.
    private mutating func put(_ message: Int, _ domain: Int, at now: Int64) {
        deferred.append((domain, message, now + min(Self.maximalBackoff, max(Self.minimalBackoff, now))))
    }
}
