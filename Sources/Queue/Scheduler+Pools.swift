// Scheduler+Pools.swift — mail of a pool of addresses: each message is filed under the lane of one of them, by weight; where that
// one may send nothing for long, what stands in its line goes to the others. Time is passed in.
//
// A lane stays one next hop from one address: sessions, limits and rests are as everywhere, and a pool costs other mail nothing. What
// only makes an address wait for a moment (a rate, sessions) moves nobody.

package import Mail

extension Scheduler {
    /// Parcels that are moved in one go, so that nobody waits for the lock.
    private static let mostMoved = 512
    /// Lanes that are asked again in one go.
    private static let mostRetried = 256
    /// Milliseconds after which a lane whose address is unwell asks again who is well.
    private static let healthPause: Int64 = 1000
    /// Milliseconds for which a lane is left alone where nobody knows when it goes on.
    private static let unknownEnd: Int64 = 3_600_000

    /// Pools in force.
    package var pools: [String: SourcePool] { poolBook.pools }

    /// Puts pools in force.
    ///
    /// Mail whose lane is of no pool any more is rerouted by whoever knows its envelope.
    package mutating func set(_ pools: [String: SourcePool], at now: Uptime) {
        guard pools != poolBook.pools else { return }
        poolBook.set(pools)
        poolBook.forget()
        for number in lanes.keys where lanes[number].isPooled && !lanes[number].isUnplaced {
            guard let source = lanes[number].lane.source, let pool = source.pool.flatMap({ pools[$0] }) else {
                continue
            }
            lanes[number].isForeign = pool.place(of: source) == nil
        }
        for ticket in tickets.keys where tickets[ticket].place != .free && tickets[ticket].place != .inFlight {
            let old = tickets[ticket].lane
            guard lanes[old].isUnplaced else { continue }
            let new = place(lanes[old].lane, key: UInt64(ticket.place), at: now)
            if new != old { move(ticket, to: new) }
        }
    }

    // MARK: whom a message is given to

    /// The lane of the member that takes a message; the lane itself, where it is of no pool or has its address already.
    ///
    /// - Parameter key: the message's number.
    mutating func place(_ lane: Lane, key: UInt64, at now: Uptime) -> LaneNumber {
        guard let source = lane.source, let name = source.pool, let pool = poolBook.pools[name] else {
            return number(of: lane)
        }
        if !source.isAnyOfPool, pool.place(of: source) != nil { return number(of: lane) }
        var (without, first): (UInt64, Int?) = (0, nil)
        while let place = pool.pick(key, without: without) {
            first = first ?? place
            let found = lane.from(pool.members[place].source)
            if !poolBook.avoids(found, at: now) { return number(of: found) }
            without |= 1 << UInt64(place)
        }
        return number(of: lane.from(pool.members[first ?? 0].source))
    }

    /// Whether a parcel stands in a lane as it would be filed now.
    func isPlaced(_ ticket: Ticket, in lane: Lane) -> Bool {
        let own = lanes[tickets[ticket].lane].lane
        if own == lane { return lane.source?.isAnyOfPool != true || poolBook.pools[lane.source?.pool ?? ""] == nil }
        guard let source = own.source, let wanted = lane.source, wanted.isAnyOfPool, source.pool == wanted.pool,
            let pool = wanted.pool.flatMap({ poolBook.pools[$0] }), let place = pool.place(of: source)
        else { return false }
        return lane.from(pool.members[place].source) == own
    }

    /// Puts a parcel that nobody carries into another lane.
    private mutating func move(_ ticket: Ticket, to new: LaneNumber) {
        let old = tickets[ticket].lane
        let place = tickets[ticket].place
        if place == .ready { leave(ticket) }
        lanes[old].members -= 1
        lanes[new].members += 1
        tickets[ticket].lane = new
        switch place {
        case .ready: line(ticket, first: false)
        case .parked:
            lanes[old].parked -= 1
            lanes[new].parked += 1
        case .held:
            lanes[old].held -= 1
            lanes[new].held += 1
        case .waiting where tickets[ticket].isStranded:
            lanes[old].stranded -= 1
            lanes[new].stranded += 1
        case .waiting, .inFlight, .free: break
        }
        refresh(old)
    }

    // MARK: who is left

    /// Mail of a pool's lane leaves from other addresses where this one may send nothing for long.
    ///
    /// - Returns: whether its line went to others; then it wants nothing itself.
    mutating func movesOn(_ number: LaneNumber, at now: Uptime) -> Bool {
        let lane: Lane
        var takers: [Int: LaneNumber]
        if let left = left(number, at: now) {
            lane = left
            takers = self.takers(instead: number, at: now)
            // Rather over one that is unwell than not at all.
            if takers.isEmpty { takers = self.takers(instead: number, isLastResort: true, at: now) }
        } else if lanes[number].isUnwell, lanes[number].first != .null, lanes[number].asksHealthAt <= now {
            lane = lanes[number].lane
            takers = self.takers(instead: number, at: now)
            guard !takers.isEmpty else {
                lanes[number].asksHealthAt = now.adding(milliseconds: Self.healthPause)
                return false
            }
            poolBook.avoid(lane, until: unwellEnd(number, at: now))
        } else {
            return false
        }
        if takers.isEmpty, lanes[number].isForeign { takers = members(instead: number) }
        guard let pool = lane.source?.pool.flatMap({ poolBook.pools[$0] }), !takers.isEmpty else {
            poolBook.stuck.insert(number)
            return false
        }
        var without: UInt64 = 0
        for place in pool.members.indices where takers[place] == nil { without |= 1 << UInt64(place) }
        lanes[number].isMoving = false
        var moved = 0
        while moved < Self.mostMoved, lanes[number].first != .null {
            poolBook.turns &+= 1
            guard let place = pool.pick(poolBook.turns, without: without), let taker = takers[place] else { break }
            moved += 1
            move(lanes[number].first, to: taker)
        }
        if lanes[number].first != .null {
            lanes[number].isMoving = true
            poolBook.moving.append(number)
            poolBook.againAt = now.adding(milliseconds: 1)
        }
        if lanes[number].poised > 0 {
            lanes[number].isDismissed = true
            book.dismissals.append(lane)
            // One that carries what an earlier host did not take waits until the address may send again.
            poolBook.stuck.insert(number)
        }
        refresh(number)
        // Those that got nothing are forgotten.
        for taker in takers.values { refresh(taker) }
        return true
    }

    /// The lane, where it is one of a pool that takes nothing for long; its pool knows from then on.
    private mutating func left(_ number: LaneNumber, at now: Uptime) -> Lane? {
        guard lanes[number].isPooled else { return nil }
        let lane = lanes[number].lane
        if lanes[number].isForeign { return lane }
        guard let closed = shun(lanes[number].meters, at: now) else { return nil }
        switch closed {
        case .until(let end): poolBook.avoid(lane, until: end)
        case .open: poolBook.avoid(lane, until: now.adding(milliseconds: Self.unknownEnd))
        }
        return lane
    }

    /// When an address that is unwell is tried again.
    private func unwellEnd(_ number: LaneNumber, at now: Uptime) -> Uptime {
        let place = lanes[number].health
        guard place != .null else { return now }
        return health.entries[place].record.wellAgain(after: now) ?? now
    }

    /// How long meters of an address keep mail of a pool away; nil: they do not.
    private func shun(_ meters: [MeterNumber], for others: Bool = false, at now: Uptime) -> Closed? {
        let wall = book.wall(now)
        var found: Closed?
        for meter in meters {
            guard let closed = book.meters[meter].shuns(for: others, at: now, wall) else { continue }
            found = found?.later(closed) ?? closed
        }
        return found
    }

    /// Lanes of the same pool that take mail now, by the places of their members.
    ///
    /// - Parameter isLastResort: those that are unwell too.
    private mutating func takers(
        instead number: LaneNumber,
        isLastResort: Bool = false,
        at now: Uptime
    ) -> [Int: LaneNumber] {
        let lane = lanes[number].lane
        guard let name = lane.source?.pool, let pool = poolBook.pools[name] else { return [:] }
        var takers: [Int: LaneNumber] = [:]
        for place in pool.members.indices {
            let other = self.lane(lane, of: place, in: pool)
            guard other != lane, isLastResort || !poolBook.avoids(other, at: now) else { continue }
            let taker = self.number(of: other)
            // It leads to the same hosts, and is counted with the same provider.
            if lanes[taker].hosts.isEmpty, !lanes[number].hosts.isEmpty {
                lanes[taker].hosts = lanes[number].hosts
                countAgain(taker)
            }
            if left(taker, at: now) == nil, shun(lanes[taker].meters, for: true, at: now) == nil,
                isLastResort || !lanes[taker].isUnwell
            {
                takers[place] = taker
            } else {
                refresh(taker)
            }
        }
        return takers
    }

    /// Counts a lane whose hosts are known by now where it belongs; one that is new has no parcel yet and is not forgotten for it.
    private mutating func countAgain(_ number: LaneNumber) {
        guard lanes[number].members == 0 else { return rebind(number) }
        joinHealth(number)
        if book.isOn { bind(number) }
    }

    /// Lanes of all addresses that are of the pool now.
    private mutating func members(instead number: LaneNumber) -> [Int: LaneNumber] {
        let lane = lanes[number].lane
        guard let pool = lane.source?.pool.flatMap({ poolBook.pools[$0] }) else { return [:] }
        var members: [Int: LaneNumber] = [:]
        for place in pool.members.indices { members[place] = self.number(of: self.lane(lane, of: place, in: pool)) }
        return members
    }

    /// The same next hop from another member; a name that the mail asked for stays.
    private func lane(_ lane: Lane, of place: Int, in pool: SourcePool) -> Lane {
        let member = pool.members[place].source
        guard let source = lane.source, let own = pool.place(of: source), let helo = source.helo,
            helo != pool.members[own].source.helo
        else { return Lane(lane.hop, from: member, tls: lane.tls) }
        return Lane(lane.hop, from: Source(member.addresses, helo: helo, pool: member.pool), tls: lane.tls)
    }

    /// Lines that are on their way to others.
    mutating func moveFurther(at now: Uptime) {
        guard let again = poolBook.againAt, again <= now else { return }
        poolBook.againAt = nil
        var moving: [LaneNumber] = []
        swap(&moving, &poolBook.moving)
        for number in moving where lanes[number].isMoving {
            lanes[number].isMoving = false
            if !movesOn(number, at: now) { refresh(number) }
        }
    }

    /// Somebody is to be asked again.
    var hasStuck: Bool { !poolBook.stuck.isEmpty || !health.unwell.isEmpty }

    /// Once a second: lanes that wait since nobody else could take anything; by now somebody may.
    mutating func retryStuck(at now: Uptime) {
        guard !poolBook.stuck.isEmpty else { return }
        for number in poolBook.stuck.prefix(Self.mostRetried) {
            poolBook.stuck.remove(number)
            // Its place may be another's by now, which is asked like any other.
            guard lanes[number].isPooled, laneIndex[lanes[number].lane] == number else { continue }
            if lanes[number].isDismissed {
                if left(number, at: now) == nil {
                    lanes[number].isDismissed = false
                    refresh(number)
                } else {
                    poolBook.stuck.insert(number)
                }
            }
            guard lanes[number].ready > 0 else { continue }
            if movesOn(number, at: now) {
                lanes[number].messageGate = .null
                lanes[number].sessionGate = .null
                if laneIndex[lanes[number].lane] == number { refresh(number) }
            }
        }
    }

    // MARK: what is told

    /// Somebody else of its pool could take the mail of a lane now.
    package func hasOtherSource(_ lane: Lane, at now: Uptime) -> Bool {
        guard let standing = poolStanding(of: lane, hosts: nil, at: now), let own = lane.source else { return false }
        return standing.members.contains { !$0.isLeft && $0.source.addresses != own.addresses }
    }

    /// How the pool of a lane stands; nil: it is of none.
    ///
    /// - Parameter hosts: where it leads, where that is known better than here.
    package func poolStanding(of lane: Lane, hosts: [String]?, at now: Uptime) -> PoolStanding? {
        guard let name = lane.source?.pool, let pool = poolBook.pools[name] else { return nil }
        let wall = book.wall(now)
        let hosts = hosts ?? laneIndex[lane].map { lanes[$0].hosts } ?? []
        let members = pool.members.map { member in
            let other = lane.from(member.source)
            let reason = book.scopes(of: other, hosts: hosts).lazy.compactMap { self.reason($0, at: now, wall) }.first
            let record = reason == nil ? health.known(healthKey(other, hosts))?.record : nil
            let illness = record.flatMap { $0.isUnwell(at: now) ? $0 : nil }
            return PoolStanding.Member(
                source: member.source,
                weight: member.weight,
                isLeft: reason != nil,
                because: reason?.because ?? illness?.words(at: now),
                until: reason?.until ?? illness?.wellAgain(after: now)
            )
        }
        return PoolStanding(name: pool.name, origin: pool.origin, members: members)
    }

    private func reason(
        _ scope: LimitScope,
        at now: Uptime,
        _ wall: Timestamp
    ) -> (because: String, until: Uptime?)? {
        guard scope.isOfSource, let closed = book.value(of: scope)?.shuns(for: true, at: now, wall) else {
            return nil
        }
        let standing = standing(of: [scope], at: now)
        let pause = standing.pauses.first { $0.scope == scope }
        let limit = standing.limits.first { [.warmup, .daily, .otherSource].contains($0.key) && $0.opens != nil }
        let because = pause.map { "\($0.scope) is \($0.words)" } ?? limit?.words ?? "\(scope)"
        if case .until(let end) = closed { return (because, end) }
        return (because, nil)
    }
}

extension SourceRecord {
    /// Why others of its pool come first.
    fileprivate func words(at now: Uptime) -> String {
        let counts = counts(at: now)
        if counts[.blocked] == 0 { return "not reached \(counts[.unreached]) times of late: \(said)" }
        return "blocked \(counts[.blocked]) of \(counts.total) times of late: \(said)"
    }
}

extension Lane {
    /// The same next hop from an address of a pool; a name that the mail asked for stays.
    package func from(_ member: Source) -> Lane {
        guard let source, source.isAnyOfPool, let helo = source.helo else { return Lane(hop, from: member, tls: tls) }
        return Lane(hop, from: Source(member.addresses, helo: helo, pool: member.pool), tls: tls)
    }
}
