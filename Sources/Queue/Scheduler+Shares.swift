// Scheduler+Shares.swift — what this node asks for and gets of limits that count for several lanes, where several nodes share the
// queue: rates, new connections, sessions, messages of a day.
//
// Guarantees: nothing that a rule of `limits.ini` limits leaves without a part of it; what is given back is not used from that
// moment on, and takes along how far it was used.

import Mail
import Storage

/// What this node has asked for.
struct ShareBook: Sendable {
    struct Entry: Sendable {
        let scope: LimitScope
        let limit: SharedLimit
        /// When it was last wanted.
        var usedAt: Uptime
        /// When it was last asked for.
        var askedAt: Uptime?
    }

    /// By the name that nodes know it by.
    var entries: [String: Entry] = [:]
    /// Meters that somebody waits at.
    var lacking: Set<MeterNumber> = []
    /// Days of which somebody had what was used forgotten.
    var resets: Set<LimitScope> = []
    /// When all days were last looked at.
    var daysAt: Uptime?
}

extension Scheduler {
    /// Milliseconds for which something is kept that nobody uses.
    private static let shareLife: Int64 = 10_000
    /// Milliseconds between two questions for something that there may be no more of as yet.
    private static let sharePause: Int64 = 500
    /// Milliseconds between two looks at days that nobody waits for.
    private static let dayRound: Int64 = 2_000
    /// Lanes in a line whose messages are counted.
    private static let mostCounted = 64

    // MARK: sessions and rates

    /// Limits of which something is lacking, or all of which something is there or wanted.
    mutating func shareWishes(isAll: Bool, at now: Uptime) -> [GrantWish] {
        guard book.isShared else { return [] }
        var names: Set<String> = []
        for meter in isAll ? Array(book.all) : Array(shareBook.lacking) {
            guard book.meters[meter].part != nil, book.known(book.meters[meter].scope) == meter else {
                shareBook.lacking.remove(meter)
                continue
            }
            for limit in SharedLimit.allCases where wants(limit, meter) > 0 && (isAll || lacks(limit, meter)) {
                let name = limit.name(book.meters[meter].scope)
                let entry = ShareBook.Entry(scope: book.meters[meter].scope, limit: limit, usedAt: now)
                let asked = shareBook.entries[name, default: entry].askedAt
                guard isAll || asked.map({ now.milliseconds(since: $0) >= Self.sharePause }) ?? true else { continue }
                shareBook.entries[name, default: entry].askedAt = now
                names.insert(name)
            }
            if book.meters[meter].waiters == 0 { shareBook.lacking.remove(meter) }
        }
        if isAll { names.formUnion(shareBook.entries.keys) }
        return names.sorted().compactMap { wish($0, at: now) }
    }

    private mutating func wish(_ name: String, at now: Uptime) -> GrantWish? {
        guard let entry = shareBook.entries[name] else { return nil }
        guard let meter = book.known(entry.scope), let part = book.meters[meter].part else {
            return GrantWish(lane: name, limit: 0, wanted: 0)
        }
        let wanted = wants(entry.limit, meter)
        if wanted > 0 { shareBook.entries[name]?.usedAt = now }
        let isIdle = now.milliseconds(since: lastUse(entry, meter)) >= Self.shareLife
        var wish: GrantWish
        if let rate = part.rate(of: entry.limit) {
            let buckets = RateParts.buckets(burst: rate.burst)
            wish = GrantWish(lane: name, limit: buckets, wanted: min(wanted, buckets))
            wish.kind = .rate(parts: RateParts.whole / buckets, fill: Int64(rate.burst) * rate.interval)
            wish.kept = isIdle ? 0 : buckets
        } else if entry.limit == .connections, let limit = part.rule.connections {
            wish = GrantWish(lane: name, limit: limit, wanted: min(wanted, limit))
            wish.kept = isIdle ? 0 : limit
            wish.kind = .sessions
        } else {
            // The rule is gone.
            wish = GrantWish(lane: name, limit: 0, wanted: 0)
            wish.kind = entry.limit == .connections ? .sessions : .rate(parts: 1, fill: 1)
        }
        return wish
    }

    /// When something was last wanted, or used.
    private func lastUse(_ entry: ShareBook.Entry, _ number: MeterNumber) -> Uptime {
        let meter = book.meters[number]
        let arrival: Int64
        switch entry.limit {
        case .rate: arrival = meter.rate.arrival
        case .newConnections: arrival = meter.connects.arrival
        case .connections: arrival = 0
        }
        return max(entry.usedAt, Uptime(milliseconds: arrival / 1000))
    }

    /// Sessions or buckets that a meter could use now.
    private func wants(_ limit: SharedLimit, _ number: MeterNumber) -> Int {
        let meter = book.meters[number]
        switch limit {
        case .rate:
            guard let rate = meter.part?.rule.rate else { return 0 }
            return lined(at: number) > 0 ? rate.burst : 0
        case .newConnections:
            guard let rate = meter.part?.rule.newConnections else { return 0 }
            return meter.forSessions.isEmpty || lined(at: number) == 0 ? 0 : rate.burst
        case .connections:
            guard let most = meter.part?.rule.connections else { return 0 }
            return min(most, meter.sessions + (meter.forSessions.isEmpty ? 0 : lined(at: number)))
        }
    }

    /// Messages that wait at a meter, as far as that is counted: of the first lanes in each of its lines.
    private func lined(at number: MeterNumber) -> Int {
        let meter = book.meters[number]
        var waiting: Set<LaneNumber> = []
        for waiter in meter.forSessions.prefix(Self.mostCounted)
        where lanes[waiter.lane].sessionStamp == waiter.stamp && lanes[waiter.lane].sessionGate == number {
            waiting.insert(waiter.lane)
        }
        for waiter in [meter.forMessages, meter.unseated].flatMap({ $0.prefix(Self.mostCounted) })
        where lanes[waiter.lane].gateStamp == waiter.stamp && lanes[waiter.lane].messageGate == number {
            waiting.insert(waiter.lane)
        }
        let count = waiting.reduce(meter.parked) { $0 + lanes[$1].ready }
        // Behind those that went away others may stand.
        return count == 0 && meter.waiters > Self.mostCounted ? 1 : count
    }

    /// Somebody waits for nothing else than more of it.
    private func lacks(_ limit: SharedLimit, _ number: MeterNumber) -> Bool {
        let meter = book.meters[number]
        guard let part = meter.part else { return false }
        if limit == .connections { return part.sessions <= meter.sessions && !meter.forSessions.isEmpty }
        return part[limit] == 0
    }

    /// Uses no more than so much of a limit.
    mutating func lowerShare(_ name: String, to target: Int, at now: Uptime) -> GrantHeld {
        guard let entry = shareBook.entries[name], let meter = book.known(entry.scope) else {
            return GrantHeld(sessions: 0)
        }
        let usable = min(book.meters[meter].part?[entry.limit] ?? 0, target)
        book.meters[meter].part?[entry.limit] = usable
        if entry.limit == .connections {
            if book.meters[meter].hasTooMany { trims = true }
            return GrantHeld(sessions: book.meters[meter].sessions, usable: usable)
        }
        let arrival = entry.limit == .rate ? book.meters[meter].rate.arrival : book.meters[meter].connects.arrival
        return GrantHeld(sessions: 0, usable: usable, ahead: max(0, arrival - now.milliseconds * 1000))
    }

    /// So much of a limit may be used from now on.
    ///
    /// - Parameters:
    ///   - written: what the others believe this node to have.
    ///   - ahead: microseconds until what was added has been used up by who had it.
    mutating func raiseShare(_ name: String, to usable: Int, written: Int, ahead: Int64, at now: Uptime) {
        guard let entry = shareBook.entries[name] else { return }
        guard let meter = book.known(entry.scope) else {
            if written == 0 { shareBook.entries[name] = nil }
            return
        }
        let had = book.meters[meter].part?[entry.limit] ?? 0
        book.meters[meter].part?[entry.limit] = usable
        let arrival = now.milliseconds * 1000 + ahead
        switch entry.limit {
        case .rate where ahead > 0:
            book.meters[meter].rate.arrival = RateParts.joined(book.meters[meter].rate.arrival, arrival)
        case .newConnections where ahead > 0:
            book.meters[meter].connects.arrival = RateParts.joined(book.meters[meter].connects.arrival, arrival)
        default: break
        }
        if usable > had { book.wake(meter, at: now) }
        let isIdle = now.milliseconds(since: entry.usedAt) >= Self.shareLife
        if written == 0, isIdle { shareBook.entries[name] = nil }
    }

    /// Nothing may be begun until it is granted anew.
    mutating func loseShares() {
        for meter in book.all { book.meters[meter].part?.lose() }
    }

    // MARK: days

    /// Days of which messages are wanted, or given back.
    ///
    /// - Parameter isLast: nothing more is sent.
    mutating func dayWishes(isLast: Bool, at now: Uptime) -> [DayWish] {
        guard book.isShared, book.hasDays else { return [] }
        let isAll = isLast || shareBook.daysAt.map { now.milliseconds(since: $0) >= Self.dayRound } ?? true
        if isAll { shareBook.daysAt = now }
        return (isAll ? Array(book.all) : Array(shareBook.lacking)).compactMap { dayWish($0, isLast: isLast, at: now) }
    }

    private mutating func dayWish(_ number: MeterNumber, isLast: Bool, at now: Uptime) -> DayWish? {
        guard let part = book.meters[number].part else { return nil }
        let meter = book.meters[number]
        let lined = lined(at: number)
        let isWanted = !isLast && part.rule.daily != nil && lined > 0
        let isOver = part.day.count > 0 && now >= part.day.ends
        let isIdle = !isWanted && now.milliseconds(since: part.dayUsedAt) >= Self.shareLife
        let unused = isOver || isIdle || isLast || part.rule.daily == nil ? part.day.count : 0
        if unused > 0 { book.meters[number].part?.day.count = 0 }
        // Where nothing is left another node may give something back.
        let isOpen = part.day.opens.map { $0 <= now } ?? true
        let pause = isOpen ? Self.sharePause : Self.shareLife
        let mayAsk = part.dayAskedAt.map { now.milliseconds(since: $0) >= pause } ?? true
        let wanted = isWanted && (isOver || part.day.count == 0) && mayAsk ? lined : 0
        let isReset = shareBook.resets.remove(meter.scope) != nil
        guard unused > 0 || wanted > 0 || isReset else { return nil }
        if wanted > 0 { book.meters[number].part?.dayAskedAt = now }
        var wish = DayWish(
            scope: "\(meter.scope)",
            limit: part.rule.daily ?? 0,
            wanted: wanted,
            unused: unused,
            slice: part.day.slice
        )
        wish.isReset = isReset
        return wish
    }

    /// So many messages of a day may be sent.
    mutating func allow(_ scope: LimitScope, _ allowance: DayAllowance, at now: Uptime) {
        guard let meter = book.known(scope), book.meters[meter].part != nil else { return }
        book.meters[meter].part?.day = allowance
        book.meters[meter].part?.dayUsedAt = now
        // Where it was given something there may be more.
        if allowance.count > 0 { book.meters[meter].part?.dayAskedAt = nil }
        book.wake(meter, at: now)
    }
}
