// Scheduler+Slowings.swift — what reactions hold down: it begins, it is lowered again, it is raised by steps, it ends. Time is
// passed in.

package import Mail

extension Scheduler {
    /// Scopes that reactions hold down at most: beyond, no further one is.
    private static let mostSlowings = 10_000

    /// What reactions hold down.
    package var slowings: [LimitScope: Slowing] { book.slowings }

    /// A reaction is due.
    ///
    /// - Parameters:
    ///   - scope: what it is about.
    ///   - lane: that answered; what went there of late tells how fast it was.
    ///   - said: the reply.
    /// - Returns: what is held down now; nil when nothing changed.
    package mutating func slow(
        _ reaction: Reaction,
        _ scope: LimitScope,
        from lane: Lane,
        said: String,
        at now: Uptime
    ) -> Slowing? {
        let wall = book.wall(now)
        let lately = lately(scope, lane, at: now)
        let observed = lately.map { $0.count * 60 }
        if var slowing = book.slowings[scope], slowing.reaction.isSame(octets: reaction.name) {
            let old = slowing.level
            guard slowing.lower(reaction, observed: observed, said: said, at: wall) else {
                _ = book.set(slowing, for: scope)
                return nil
            }
            put(slowing, for: scope, lane, at: now)
            return slowing.level == old ? nil : slowing
        }
        guard book.slowings.count < Self.mostSlowings || book.slowings[scope] != nil else { return nil }
        let terms = book.terms(for: scope)
        var (before, end): (Int, Int?)
        if case .connections = reaction.deed {
            (before, end) = (terms?.connections ?? max(1, sessionCount(lane)), nil)
        } else if let rate = terms?.rate?.perHour {
            (before, end) = (min(rate, observed ?? rate), rate)
        } else {
            (before, end) = (observed ?? 2 * (reaction.slope?.floor ?? 1), lately?.speed)
        }
        if case .otherSource = reaction.deed { (before, end) = (1, nil) }
        guard let slowing = Slowing(reaction, of: scope, from: before, to: end, said: said, at: wall) else {
            return nil
        }
        // Of two reactions the narrower one stays.
        if let known = book.slowings[scope], known.kind == slowing.kind, known.level <= slowing.level { return nil }
        put(slowing, for: scope, lane, at: now)
        if terms?.rate == nil, let lately { owe(lately, slowing, at: now) }
        return slowing
    }

    /// What went in the last minute counts against a rate that was not there: a burst is followed by as much silence, at most
    /// a minute, since whoever refused it counts it too.
    private mutating func owe(_ lately: Lately, _ slowing: Slowing, at now: Uptime) {
        guard slowing.kind == .rate, let meter = book.known(slowing.scope) else { return }
        let debt = min(60_000, Int64(lately.count) * 3_600_000 / Int64(slowing.level) - lately.lasted)
        let until = now.adding(milliseconds: debt).milliseconds * 1000
        book.meters[meter].rate.arrival = max(book.meters[meter].rate.arrival, until)
    }

    /// Messages of the last minute.
    private struct Lately {
        var count = 0
        /// Milliseconds in which they came.
        var lasted: Int64 = 0
        /// Messages an hour, if it had gone on as it began.
        var speed = 0

        mutating func add(_ other: LateCount, at now: Uptime) {
            guard let more = other.lastMinute(at: now) else { return }
            (count, lasted) = (count + more, max(lasted, other.lasted(at: now)))
            speed += other.speed(at: now) ?? 0
        }
    }

    /// What went of late: of the scope where it is counted, of all lanes of a provider, else of the lane that answered; nil: too
    /// little to tell.
    private func lately(_ scope: LimitScope, _ lane: Lane, at now: Uptime) -> Lately? {
        var lately = Lately()
        if let meter = book.known(scope) { lately.add(book.meters[meter].lately, at: now) }
        if lately.count == 0, case .provider(let name) = scope {
            for number in lanes.keys where isOf(name, number) { lately.add(lanes[number].lately, at: now) }
        } else if lately.count == 0, let number = laneIndex[lane] {
            lately.add(lanes[number].lately, at: now)
        }
        return lately.count > 0 ? lately : nil
    }

    /// Whether a lane leads to a provider.
    private func isOf(_ provider: String, _ number: LaneNumber) -> Bool {
        laneIndex[lanes[number].lane] == number
            && book.rules.provider(of: lanes[number].hosts)?.isSame(octets: provider) ?? false
    }

    private mutating func put(_ slowing: Slowing?, for scope: LimitScope, _ lane: Lane?, at now: Uptime) {
        poolBook.forget()
        if book.set(slowing, for: scope) {
            if let lane, let number = laneIndex[lane] { rebind(number) }
            switch scope {
            case .provider(let name), .providerFrom(let name, _):
                // At once: in the second until then all its other domains would go on as fast as before.
                for number in lanes.keys where isOf(name, number) { rebind(number) }
            default:
                // Others of that name follow within a second.
                book.isUnbound = true
            }
        }
        if let meter = book.known(scope) { book.wake(meter, at: now) }
    }

    /// Takes over what an earlier process held down.
    mutating func restore(_ slowings: [Slowing], at now: Uptime) {
        let wall = book.wall(now)
        for var slowing in slowings.prefix(Self.mostSlowings) {
            slowing.clamp(to: wall)
            put(slowing, for: slowing.scope, nil, at: now)
        }
        rebindLanes()
    }

    /// Forgets what a reaction made of a scope.
    ///
    /// - Returns: what it was.
    package mutating func endSlowing(_ scope: LimitScope, at now: Uptime) -> Slowing? {
        guard let slowing = book.slowings[scope] else { return nil }
        put(nil, for: scope, nil, at: now)
        return slowing
    }

    /// Once a second: steps that are due, and lanes that are to be bound.
    ///
    /// - Returns: what is held down no longer, because it is back where it was or because its reaction is gone.
    package mutating func recover(at now: Uptime) -> [Slowing] {
        var ended: [Slowing] = []
        let wall = book.wall(now)
        for (scope, var slowing) in book.slowings {
            let slope = book.rules.reaction(named: slowing.reaction)?.slope
            guard slope == nil || wall >= slowing.stepsAt else { continue }
            if let slope, !slowing.step(slope, at: wall) {
                put(slowing, for: scope, nil, at: now)
            } else {
                put(nil, for: scope, nil, at: now)
                ended.append(slowing)
            }
        }
        heal(at: now)
        retryStuck(at: now)
        if book.isUnbound {
            rebindLanes()
            advance(to: now)
        }
        return ended
    }
}
