// SourcePoolSimulationTests.swift — a seeded day of everything that can happen to a pool: pauses, blocks, reactions, warm-ups, members that
// come and go, retries. Nobody is lost, nobody goes twice, nothing is left behind.

import Mail
import TestSupport
import Testing

@testable import Queue

/// A relay in small: sessions that stand at once.
private struct PoolHouse {
    var scheduler = Scheduler(.init(total: 60, perLane: 10, longestRest: 60_000))
    var generator: SeededRandom
    var now: Int64 = 0
    var sessions: [Lane] = []
    var added = 0
    var sent: Set<Ticket> = []
    var twice = 0
    /// Messages that left from an address that was paused.
    var wrong = 0
    var paused: Set<LimitScope> = []
    private let domains = ["a.test", "b.test", "c.test"]

    init(seed: UInt64) { generator = SeededRandom(seed: seed) }

    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &generator) < percent }

    mutating func any() -> Lane {
        let domain = domains.randomElement(using: &generator) ?? "a.test"
        return Lane(.domain(Domain(unchecked: domain)), from: Source(anyOf: "main"))
    }

    mutating func add() {
        let lane = any()
        for _ in 0..<Int.random(in: 1...20, using: &generator) {
            let due = uptime(chance(70) ? now : now + Int64.random(in: 1...5000, using: &generator))
            scheduler.add(Ticket(UInt32(added)), to: lane, key: UInt64(added), due: due, at: uptime(now))
            added += 1
        }
    }

    mutating func open() {
        let turn = scheduler.turn(at: uptime(now))
        for lane in turn.dismissals { for _ in 0..<10 { scheduler.unpoise(lane) } }
        for lookUp in turn.lookUps {
            if chance(80) { scheduler.set(hosts: ["mx.big.test"], of: lookUp.lane) }
            scheduler.poise(lookUp.lane, lookUp.number)
        }
        for connect in turn.connects {
            if chance(10) {
                scheduler.openingEnded(connect.opening, looksOn: false)
                scheduler.rest(connect.lane, at: uptime(now))
            } else {
                scheduler.reached(connect.opening, at: uptime(now))
                sessions.append(connect.lane)
            }
        }
    }

    mutating func carry(mayFail: Bool) {
        for index in sessions.indices.reversed() {
            let lane = sessions[index]
            switch scheduler.next(for: lane, carried: 1, held: 1000, at: uptime(now)) {
            case .carry(let ticket):
                scheduler.sent(ticket, at: uptime(now))
                let isPaused = lane.scopes.contains { paused.contains($0) }
                if isPaused || lane.source?.isAnyOfPool == true { wrong += 1 }
                scheduler.answered(ticket, isFinal: true, at: uptime(now))
                if mayFail, chance(20) {
                    scheduler.postpone(ticket, until: uptime(now + 3000), at: uptime(now))
                } else {
                    if !sent.insert(ticket).inserted { twice += 1 }
                    scheduler.remove(ticket)
                }
            case .yield: end(index, wasLeaving: true)
            case .idle:
                guard chance(30) else { continue }
                scheduler.endsIdle(lane)
                end(index, wasLeaving: true)
            }
        }
    }

    mutating func end(_ index: Int, wasLeaving: Bool) {
        scheduler.sessionEnded(sessions.remove(at: index), carried: 1, wasLeaving: wasLeaving)
    }

    mutating func meddle(_ reaction: Reaction) {
        let address = "192.0.2.\(Int.random(in: 1...4, using: &generator))"
        let scope = chance(50) ? LimitScope.source(address) : .laneFrom("a.test", address)
        switch Int.random(in: 0..<6, using: &generator) {
        case 0:
            paused.insert(scope)
            let pause = Pause(scope, since: Timestamp(milliseconds: now), reason: "", by: "")
            scheduler.set(pause, for: scope, at: uptime(now))
        case 1:
            paused.remove(scope)
            scheduler.set(nil, for: scope, at: uptime(now))
        case 2:
            guard let lane = sessions.randomElement(using: &generator) else { return }
            _ = scheduler.slow(reaction, .laneFrom(lane.name, address), from: lane, said: "550", at: uptime(now))
        case 3:
            guard let lane = sessions.randomElement(using: &generator) else { return }
            for _ in 0..<3 { _ = scheduler.noteHealth(.blocked, "550", from: lane, at: uptime(now)) }
        case 4: scheduler.set(["main": pool((1...4).filter { _ in chance(60) })], at: uptime(now))
        default: _ = scheduler.flush(nil, at: uptime(now))
        }
    }

    func pool(_ numbers: [Int]) -> SourcePool {
        let members = (numbers.isEmpty ? [1] : numbers).compactMap { number in
            IPAddress("192.0.2.\(number)").flatMap { Source([$0], pool: "main") }.map {
                SourcePool.Member($0, weight: number)
            }
        }
        return SourcePool("main", members)
    }
}

@Suite struct SourcePoolSimulationTests {
    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func nobodyIsLostAndNobodyGoesTwice(seed: UInt64) {
        var house = PoolHouse(seed: seed)
        let reaction = Reaction(
            name: "r",
            when: [],
            count: 1,
            window: 1,
            deed: .otherSource(60_000),
            origin: "limits.ini:1"
        )
        var its = rules(
            [
                ("source 192.0.2.1", { $0.warmup = Warmup([30, 60]) }),
                ("source 192.0.2.3", { ($0.daily, $0.overflow) = (2000, .wait) }),
                ("source 192.0.2.4", { $0.rate = Rate(600, per: 60_000) }),
            ],
            [LimitRules.Provider(name: "big", hosts: ["*.big.test"])]
        )
        its.add(reaction)
        house.scheduler.set(its, at: uptime(0))
        // The pool is known a moment later than its first mail.
        house.add()
        house.scheduler.set(["main": house.pool([1, 2, 3])], at: uptime(1))
        for step in 1...3000 {
            house.now += Int64.random(in: 1...400, using: &house.generator)
            if house.chance(15) { house.add() }
            if house.chance(8) { house.meddle(reaction) }
            house.open()
            house.carry(mayFail: true)
            if step % 5 == 0 { _ = house.scheduler.recover(at: uptime(house.now)) }
        }
        #expect(house.sent.count > 1000, "\(house.sent.count) of \(house.added)")
        #expect(house.wrong == 0, "nothing leaves from an address that is paused")
        // Everything is let go: all of it goes, within two days of warm-ups.
        for scope in house.paused { house.scheduler.set(nil, for: scope, at: uptime(house.now)) }
        house.paused = []
        house.scheduler.set(["main": house.pool([1, 2, 3, 4])], at: uptime(house.now))
        for _ in 0..<20_000 where house.sent.count < house.added {
            house.now += 20_000
            _ = house.scheduler.recover(at: uptime(house.now))
            house.open()
            for _ in 0..<20 { house.carry(mayFail: false) }
        }
        #expect(house.sent.count == house.added && house.twice == 0, "\(house.sent.count) of \(house.added)")
        for _ in 0..<10 {
            house.now += 1000
            house.open()
            while !house.sessions.isEmpty { house.end(0, wasLeaving: false) }
        }
        let left = house.scheduler.lanes.keys.map { house.scheduler.lanes[$0] }.filter { $0.ready > 0 }
        #expect(
            left.isEmpty,
            "\(left.map { "\($0.lane): \($0.ready), \($0.sessions), \($0.poised), \($0.messageGate)" })"
        )
        #expect(house.scheduler.readyCount == 0 && house.scheduler.waitingCount == 0)
        #expect(house.scheduler.inFlightCount == 0 && house.scheduler.parkedCount == 0)
        #expect(house.scheduler.sessions == 0 && house.scheduler.lanes.used == 0)
    }
}
