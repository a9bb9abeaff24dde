// SourcePoolTests.swift — pools of addresses: who takes a message, and what becomes of mail whose address may send nothing.

import Mail
import TestSupport
import Testing

@testable import Queue

@Suite struct SourcePoolTests {
    private static let day: Int64 = 86_400_000
    private let limits = Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000)

    private func pool(_ weights: [Int] = [1, 1, 1]) throws -> SourcePool {
        let members = try weights.enumerated().map { index, weight in
            SourcePool.Member(try source("192.0.2.\(index + 1)"), weight: weight)
        }
        return SourcePool("main", members, origin: "outbound_ip.ini:1")
    }

    private func source(_ text: String, of pool: String? = "main") throws -> Source {
        let address = try #require(IPAddress(text))
        return try #require(Source([address], pool: pool))
    }

    private func any(_ domain: String = "a.test") -> Lane {
        Lane(.domain(Domain(unchecked: domain)), from: Source(anyOf: "main"))
    }

    /// Sends what a lane has, as sessions would.
    private func sends(_ desk: inout Desk, _ lane: Lane, atMost most: Int = .max, at now: Int64) -> Int {
        var count = 0
        while count < most,
            case .carry(let ticket) = desk.scheduler.next(for: lane, carried: 0, held: 0, at: uptime(now))
        {
            desk.scheduler.sent(ticket, at: uptime(now))
            desk.remove(ticket)
            count += 1
        }
        return count
    }

    private func ready(_ desk: Desk, _ lane: Lane) -> Int { desk.scheduler.report(on: lane)?.ready ?? 0 }

    // MARK: weights

    @Test(arguments: [[1, 1], [3, 1], [1, 2, 7], [1000, 1]])
    func mailIsSharedByWeight(weights: [Int]) throws {
        let pool = try pool(weights)
        var counts = Array(repeating: 0, count: weights.count)
        let first = QueueID(at: Timestamp(milliseconds: 1_700_000_000_000)).rawValue
        for number in 0..<100_000 { counts[try #require(pool.pick(first + UInt64(number)))] += 1 }
        for (place, weight) in weights.enumerated() {
            let part = 100_000 * weight / weights.reduce(0, +)
            #expect(abs(counts[place] - part) < 700, "\(weights): \(counts)")
        }
    }

    @Test func aMessageKeepsItsAddressAndTheRestShareByWeight() throws {
        let pool = try pool([1, 2, 7])
        var counts = [0, 0, 0]
        for key in UInt64(0)..<30_000 {
            #expect(pool.pick(key) == pool.pick(key))
            counts[try #require(pool.pick(key, without: 0b100))] += 1
        }
        #expect(counts[2] == 0 && abs(counts[1] - 2 * counts[0]) < 1500, "\(counts)")
        #expect(pool.pick(1, without: 0b111) == nil)
    }

    @Test func eachMessageIsFiledUnderOneAddressOfItsPool() throws {
        var desk = Desk(limits)
        let pool = try pool([3, 1])
        desk.scheduler.set(["main": pool], at: uptime(0))
        for number in UInt32(0)..<4000 {
            desk.scheduler.add(Ticket(number), to: any(), key: UInt64(number), due: uptime(0), at: uptime(0))
        }
        let lanes = pool.members.map { any().from($0.source) }
        #expect(ready(desk, lanes[0]) + ready(desk, lanes[1]) == 4000)
        #expect(abs(ready(desk, lanes[0]) - 3000) < 150)
        #expect(ready(desk, any()) == 0)
        // Sessions are the lane's: what is done in one lane opens nothing elsewhere.
        #expect(Set(desk.opens(at: uptime(0))) == Set(lanes))
        // Tried again it leaves from where it left, and is filed there after a restart.
        let ticket = Ticket(7)
        let lane = desk.scheduler.lane(of: ticket)
        var later = Desk(limits)
        later.scheduler.set(["main": pool], at: uptime(0))
        later.scheduler.add(ticket, to: any(), key: 7, due: uptime(0), at: uptime(0))
        #expect(later.scheduler.lane(of: ticket) == lane)
    }

    @Test func mailOfAnUnknownPoolWaitsUntilItIsKnown() throws {
        var desk = Desk(limits)
        desk.add(1, to: any(), due: uptime(0), at: uptime(0))
        desk.add(2, to: any(), due: uptime(5000), at: uptime(0))
        #expect(desk.opens(at: uptime(0)) == [], "it would leave from anywhere")
        desk.scheduler.set(["main": try pool([1])], at: uptime(1))
        let lane = any().from(try pool([1]).members[0].source)
        #expect(desk.opens(at: uptime(1)) == [lane] && ready(desk, lane) == 1)
        #expect(desk.scheduler.lane(of: 2) == lane, "what waits for its time too")
    }

    @Test func anAddressThatIsOfThePoolNoLongerSendsNothing() throws {
        var desk = Desk(limits)
        desk.scheduler.set(["main": try pool([1])], at: uptime(0))
        for number in UInt32(0)..<3 { desk.add(Ticket(number), to: any(), due: uptime(0), at: uptime(0)) }
        let source = try source("192.0.2.9")
        let other = SourcePool("main", [SourcePool.Member(source)])
        desk.scheduler.set(["main": other], at: uptime(1))
        #expect(desk.opens(at: uptime(1)).allSatisfy { $0 == any().from(source) })
        #expect(ready(desk, any().from(source)) == 3)
    }

    @Test func aNameThatTheMailAskedForStaysWithEachAddress() throws {
        var desk = Desk(limits)
        let lane = Lane(any().hop, from: Source(anyOf: "main", helo: Domain("says.test")))
        desk.scheduler.set(["main": try pool([1, 1])], at: uptime(0))
        for number in UInt32(0)..<10 {
            desk.scheduler.add(Ticket(number), to: lane, key: UInt64(number), due: uptime(0), at: uptime(0))
        }
        desk.scheduler.set(pause("source 192.0.2.1"), for: .source("192.0.2.1"), at: uptime(1))
        #expect(!desk.opens(at: uptime(1)).isEmpty)
        let own = desk.scheduler.lane(of: 1)
        #expect(own.source?.helo?.name == "says.test" && own.source?.v4?.description == "192.0.2.2")
        #expect(desk.scheduler.isPlaced(1, in: lane) && !desk.scheduler.isPlaced(1, in: any("b.test")))
    }

    // MARK: who is left

    private func pause(_ scope: String) -> Pause {
        Pause(LimitScope(scope) ?? .all, since: Timestamp(milliseconds: 0), reason: "ticket 1", by: "anna")
    }

    private let avoidance = Reaction(
        name: "blocked",
        when: [],
        count: 1,
        window: 1000,
        deed: .otherSource(3_600_000),
        origin: "limits.ini:9"
    )

    /// Says something of an address.
    private func say(
        _ state: String,
        of address: String,
        _ desk: inout Desk,
        _ rules: inout [(String, (inout LimitTerms) -> Void)]
    ) {
        switch state {
        case "spent": rules.append(("source \(address)", { $0.warmup = Warmup([1]) }))
        case "waits":
            rules.append(("source \(address)", { ($0.warmup, $0.overflow) = (Warmup([1]), .wait) }))
        case "day": rules.append(("source \(address)", { $0.daily = 1 }))
        case "rate": rules.append(("source \(address)", { $0.rate = Rate(1, per: 3_600_000, burst: 1) }))
        case "paused": desk.scheduler.set(pause("source \(address)"), for: .source(address), at: uptime(0))
        case "paused_here":
            desk.scheduler.set(pause("lane a.test from \(address)"), for: .laneFrom("a.test", address), at: uptime(0))
        default: break
        }
    }

    @Test(arguments: try TruthTable.load("source_pool").rows)
    func theTableSaysWhoTakesIt(row: TruthTable.Row) throws {
        var desk = Desk(limits)
        let pool = try pool()
        let lanes = pool.members.map { any().from($0.source) }
        let states = [try row.cell("one"), try row.cell("two"), try row.cell("three")]
        var said: [(String, (inout LimitTerms) -> Void)] = []
        for (index, state) in states.enumerated() { say(state, of: "192.0.2.\(index + 1)", &desk, &said) }
        let big = LimitRules.Provider(name: "big", hosts: ["*.big.test"])
        var all = rules(said, [big])
        all.add(avoidance)
        desk.scheduler.set(all, at: uptime(0))
        // Each has used up what it has; directly, so that nothing is moved.
        for lane in lanes {
            desk.add(100, to: lane, due: uptime(0), at: uptime(0))
            desk.scheduler.sent(100, at: uptime(0))
            desk.remove(100)
        }
        desk.scheduler.set(["main": pool], at: uptime(0))
        for (index, state) in states.enumerated() where state.hasPrefix("left") {
            let scope =
                state == "left"
                ? LimitScope.laneFrom("a.test", "192.0.2.\(index + 1)") : .providerFrom("big", "192.0.2.\(index + 1)")
            _ = desk.scheduler.slow(avoidance, scope, from: lanes[index], said: "550", at: uptime(0))
        }
        desk.add(1, to: lanes[0], due: uptime(1), at: uptime(1))
        for lane in lanes { _ = sends(&desk, lane, atMost: 0, at: 2) }
        let opened = desk.opens(at: uptime(2))
        let taker = ["one", "two", "three"][try #require(lanes.firstIndex(of: desk.scheduler.lane(of: 1)))]
        #expect(taker == (try row.cell("takes")))
        #expect(!opened.contains(lanes[0]) == (try row.cell("closed") == "yes"))
        let standing = try #require(desk.scheduler.poolStanding(of: any(), hosts: nil, at: uptime(2)))
        let takes = standing.members.map { $0.because == nil }
        #expect(takes == states.map { ["free", "rate", "left_there"].contains($0) }, "\(standing)")
    }

    @Test func whatIsSpentGoesOverAWarmAddressAndNothingIsDelayed() throws {
        var desk = Desk(limits)
        let big = LimitRules.Provider(name: "big", hosts: ["*.big.test"])
        desk.scheduler.set(rules([("source 192.0.2.1", { $0.warmup = Warmup([50, 100]) })], [big]), at: uptime(0))
        let pool = try pool([1, 1])
        desk.scheduler.set(["main": pool], at: uptime(0))
        let lanes = pool.members.map { any().from($0.source) }
        for number in UInt32(0)..<2000 {
            desk.scheduler.add(Ticket(number), to: any(), key: UInt64(number), due: uptime(0), at: uptime(0))
        }
        for lane in lanes { desk.scheduler.set(hosts: ["mx.big.test"], of: lane) }
        let cold = ready(desk, lanes[0])
        #expect(cold > 900)
        for lane in desk.opens(at: uptime(0)) { desk.stands(lane) }
        #expect(sends(&desk, lanes[0], at: 1) == 50)
        // What it had over is in the other's line within a few looks.
        for now in Int64(2)..<10 { _ = desk.opens(at: uptime(now)) }
        #expect(ready(desk, lanes[0]) == 0 && ready(desk, lanes[1]) == 1950)
        // What comes later is not given to it at all.
        for number in UInt32(2000)..<2100 {
            desk.scheduler.add(Ticket(number), to: any(), key: UInt64(number), due: uptime(20), at: uptime(20))
        }
        #expect(ready(desk, lanes[1]) == 2050)
        #expect(sends(&desk, lanes[1], at: 30) == 2050, "nothing is delayed")
        let standing = try #require(desk.scheduler.poolStanding(of: lanes[1], hosts: nil, at: uptime(31)))
        #expect(standing.members[0].because == "warmup 50, 100 of warmup big from 192.0.2.1 (limits.ini:1)")
        #expect(standing.members[0].until == uptime(Self.day) && standing.members[1].because == nil)
        #expect(standing.first?.source.v4?.description == "192.0.2.2")
        // The next day it has a part again.
        for number in UInt32(2100)..<2300 {
            let now = uptime(Self.day + 1)
            desk.scheduler.add(Ticket(number), to: any(), key: UInt64(number), due: now, at: now)
        }
        #expect(ready(desk, lanes[0]) > 70)
    }

    @Test func anAddressThatNothingWentFromYetIsCountedWithTheSameProvider() throws {
        var desk = Desk(limits)
        let big = LimitRules.Provider(name: "big", hosts: ["*.big.test"])
        let said: [(String, (inout LimitTerms) -> Void)] = [
            ("source 192.0.2.1", { $0.warmup = Warmup([1]) }), ("source 192.0.2.2", { $0.warmup = Warmup([2]) }),
        ]
        desk.scheduler.set(rules(said, [big]), at: uptime(0))
        let pool = try pool([1, 1])
        desk.scheduler.set(["main": pool], at: uptime(0))
        let lanes = pool.members.map { any().from($0.source) }
        for number in UInt32(0)..<10 { desk.add(Ticket(number), to: lanes[0], due: uptime(0), at: uptime(0)) }
        desk.scheduler.set(hosts: ["mx.big.test"], of: lanes[0])
        #expect(sends(&desk, lanes[0], at: 1) == 1)
        _ = desk.opens(at: uptime(2))
        #expect(ready(desk, lanes[1]) == 9, "it has no lane before")
        #expect(sends(&desk, lanes[1], at: 3) == 2)
        let standing = desk.scheduler.standing(of: desk.scheduler.scopes(of: lanes[1]), at: uptime(4))
        #expect(standing.keeps?.scope == .warmup("big", "192.0.2.2"))
    }

    @Test func anOpeningWhoseMailWentToOthersIsDismissedAndOneThatCarriesWaits() throws {
        var desk = Desk(limits)
        let pool = try pool([1, 1])
        desk.scheduler.set(["main": pool], at: uptime(0))
        let lanes = pool.members.map { any().from($0.source) }
        desk.add(1, to: lanes[0], due: uptime(0), at: uptime(0))
        let lookUp = try #require(desk.scheduler.turn(at: uptime(0)).lookUps.first)
        desk.scheduler.poise(lanes[0], lookUp.number)
        desk.scheduler.set(pause("source 192.0.2.1"), for: .source("192.0.2.1"), at: uptime(1))
        // It would ask for ever, under the lock.
        let turn = desk.scheduler.turn(at: uptime(2))
        #expect(turn.dismissals == [lanes[0]] && turn.connects.isEmpty && ready(desk, lanes[1]) == 1)
        // Nobody ends it, since it carries something: it waits for the pause, and goes then.
        _ = desk.scheduler.recover(at: uptime(1000))
        #expect(!desk.scheduler.turn(at: uptime(1001)).connects.contains { $0.lane == lanes[0] })
        desk.scheduler.set(nil, for: .source("192.0.2.1"), at: uptime(2000))
        _ = desk.scheduler.recover(at: uptime(3000))
        let next = desk.scheduler.turn(at: uptime(3001)).connects.map(\.lane)
        #expect(next.contains(lanes[0]))
    }

    @Test func whatWaitsSinceNobodyElseCouldGoesOnWithinASecondWhenSomebodyCan() throws {
        var desk = Desk(limits)
        desk.scheduler.set(
            rules([("source 192.0.2.1", { $0.daily = 1 }), ("source 192.0.2.2", { $0.daily = 2 })]),
            at: uptime(0)
        )
        let pool = try pool([1000, 1])
        desk.scheduler.set(["main": pool], at: uptime(0))
        let lanes = pool.members.map { any().from($0.source) }
        for number in UInt32(0)..<10 { desk.add(Ticket(number), to: lanes[0], due: uptime(0), at: uptime(0)) }
        #expect(sends(&desk, lanes[0], at: 1) == 1)
        _ = desk.opens(at: uptime(2))
        #expect(sends(&desk, lanes[1], at: 3) == 2)
        _ = desk.opens(at: uptime(4))
        #expect(ready(desk, lanes[0]) + ready(desk, lanes[1]) == 7 && desk.opens(at: uptime(5)) == [])
        let isReset = desk.scheduler.resetUse(of: .source("192.0.2.2"), at: uptime(6))
        #expect(isReset)
        _ = desk.scheduler.recover(at: uptime(1000))
        _ = desk.opens(at: uptime(1001))
        #expect(sends(&desk, lanes[1], at: 1002) == 2)
    }

    @Test func aReactionLeavesOneOfTwoAddressesAndOtherNextHopsStay() throws {
        var desk = Desk(limits)
        var its = LimitRules()
        its.add(avoidance)
        desk.scheduler.set(its, at: uptime(0))
        let pool = try pool([1, 1])
        desk.scheduler.set(["main": pool], at: uptime(0))
        let (here, there) = (
            pool.members.map { any().from($0.source) }, pool.members.map { any("b.test").from($0.source) }
        )
        for number in UInt32(0)..<200 {
            desk.scheduler.add(Ticket(number), to: any(), key: UInt64(number), due: uptime(0), at: uptime(0))
            desk.scheduler.add(
                Ticket(number + 200),
                to: any("b.test"),
                key: UInt64(number),
                due: uptime(0),
                at: uptime(0)
            )
        }
        let before = there.map { ready(desk, $0) }
        #expect(desk.scheduler.hasOtherSource(here[0], at: uptime(1)))
        let slowing = desk.scheduler.slow(
            avoidance,
            .laneFrom("a.test", "192.0.2.1"),
            from: here[0],
            said: "550 5.7.1 blocked",
            at: uptime(1)
        )
        #expect(slowing?.kind == .otherSource && slowing?.text == "3600s")
        _ = desk.opens(at: uptime(2))
        #expect(ready(desk, here[0]) == 0 && ready(desk, here[1]) == 200)
        #expect(there.map { ready(desk, $0) } == before, "the other next hop is untouched")
        let limit = try #require(
            desk.scheduler.standing(of: desk.scheduler.scopes(of: here[0]), at: uptime(3)).limits.first
        )
        #expect(limit.key == .otherSource && limit.origin == "limits.ini:9" && limit.opens == uptime(3_600_001))
        // With the other one left too there is nobody: mail waits, and goes on when the time is over.
        _ = desk.scheduler.slow(
            avoidance,
            .laneFrom("a.test", "192.0.2.2"),
            from: here[1],
            said: "550 5.7.1 blocked",
            at: uptime(20_000)
        )
        #expect(!desk.scheduler.hasOtherSource(here[1], at: uptime(20_000)))
        #expect(!desk.opens(at: uptime(20_001)).contains { here.contains($0) })
        let ended = desk.scheduler.recover(at: uptime(3_600_002)).map(\.scope)
        #expect(ended == [.laneFrom("a.test", "192.0.2.1")])
        #expect(sends(&desk, here[1], at: 3_600_003) == 0)
        #expect(sends(&desk, here[0], at: 3_600_004) == 200, "the first that is back takes all of it")
    }

    @Test func withoutAPoolMailWaitsForAsLong() throws {
        var desk = Desk(limits)
        var its = LimitRules()
        its.add(avoidance)
        desk.scheduler.set(its, at: uptime(0))
        let lane = Lane(any().hop, from: try source("192.0.2.1", of: nil))
        desk.add(1, to: lane, due: uptime(0), at: uptime(0))
        let parties = MailParties()
        let reply = Reply(550, EnhancedStatus(5, 7, 1), "blocked")
        let scope = avoidance.scope(of: reply, kinds: [], from: lane, provider: "big", parties)
        #expect(scope == .laneFrom("a.test", "192.0.2.1"))
        _ = desk.scheduler.slow(avoidance, scope, from: lane, said: "550", at: uptime(0))
        #expect(!desk.scheduler.hasOtherSource(lane, at: uptime(0)))
        #expect(desk.opens(at: uptime(3_599_000)) == [])
        let ended = desk.scheduler.recover(at: uptime(3_600_001))
        #expect(ended.count == 1)
        #expect(desk.opens(at: uptime(3_600_002)) == [lane])
    }

    @Test func aMillionMessagesThatMoveTakeNoLongLook() throws {
        var desk = Desk(limits)
        let pool = try pool([1, 1])
        desk.scheduler.set(["main": pool], at: uptime(0))
        let lanes = pool.members.map { any().from($0.source) }
        for number in UInt32(0)..<20_000 { desk.add(Ticket(number), to: lanes[0], due: uptime(0), at: uptime(0)) }
        desk.scheduler.set(pause("source 192.0.2.1"), for: .source("192.0.2.1"), at: uptime(1))
        var looks = 0
        var now: Int64 = 1
        while ready(desk, lanes[0]) > 0, looks < 1000 {
            let before = ready(desk, lanes[0])
            _ = desk.scheduler.turn(at: uptime(now))
            #expect(before - ready(desk, lanes[0]) <= 512)
            looks += 1
            now += 1
        }
        #expect(looks <= 41 && ready(desk, lanes[1]) == 20_000)
    }
}
