// SourceHealthTests.swift — an address that a provider blocks is passed by in its pool, there and nowhere else, and is tried again later.

import Mail
import Testing

@testable import Queue

@Suite struct SourceHealthTests {
    private static let minute: Int64 = 60_000
    private let limits = Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000)
    private let big = LimitRules.Provider(name: "big", hosts: ["*.big.test"])

    private func pool() throws -> SourcePool {
        let members = try ["192.0.2.1", "192.0.2.2"].map { text in
            let address = try #require(IPAddress(text))
            let source = try #require(Source([address], pool: "main"))
            return SourcePool.Member(source)
        }
        return SourcePool("main", members, origin: "outbound_ip.ini:1")
    }

    private func any(_ domain: String) -> Lane {
        Lane(.domain(Domain(unchecked: domain)), from: Source(anyOf: "main"))
    }

    private func fill(_ desk: inout Desk, _ lane: Lane, _ numbers: Range<UInt32>, at now: Int64) {
        for number in numbers {
            desk.scheduler.add(Ticket(number), to: lane, key: UInt64(number), due: uptime(now), at: uptime(now))
        }
    }

    private func ready(_ desk: Desk, _ lane: Lane) -> Int { desk.scheduler.report(on: lane)?.ready ?? 0 }

    /// So many answers of a lane.
    private func hear(
        _ desk: inout Desk,
        _ answer: SourceRecord.Answer,
        _ count: Int,
        from lane: Lane,
        at now: Int64
    ) -> Bool {
        var isWorse = false
        for _ in 0..<count {
            isWorse =
                desk.scheduler.noteHealth(answer, "550 5.7.1 your IP is listed", from: lane, at: uptime(now)) || isWorse
        }
        return isWorse
    }

    @Test func othersComeFirstWhileAnAddressIsBlockedAtAProvider() throws {
        var desk = Desk(limits)
        let pool = try pool()
        desk.scheduler.set(rules([], [big]), at: uptime(0))
        desk.scheduler.set(["main": pool], at: uptime(0))
        let names = ["a.test", "b.test", "c.test"]
        for (index, name) in names.enumerated() {
            fill(&desk, any(name), UInt32(index * 100)..<UInt32(index * 100 + 100), at: 0)
            for member in pool.members where name != "c.test" {
                desk.scheduler.set(hosts: ["mx.big.test"], of: any(name).from(member.source))
            }
        }
        func lanes(_ name: String) -> [Lane] { pool.members.map { any(name).from($0.source) } }
        let elsewhere = ready(desk, lanes("c.test")[0])
        #expect(elsewhere > 20 && ready(desk, lanes("b.test")[0]) > 20)
        #expect(!hear(&desk, .blocked, 2, from: lanes("a.test")[0], at: 1000))
        #expect(hear(&desk, .blocked, 1, from: lanes("a.test")[0], at: 2000))
        #expect(desk.scheduler.unwellCount == 1)
        _ = desk.opens(at: uptime(3000))
        for name in ["a.test", "b.test"] {
            #expect(ready(desk, lanes(name)[0]) == 0 && ready(desk, lanes(name)[1]) == 100, "\(name): of one provider")
        }
        #expect(ready(desk, lanes("c.test")[0]) == elsewhere, "it is well elsewhere")
        // What comes later goes to the other at once.
        fill(&desk, any("a.test"), 300..<340, at: 4000)
        #expect(ready(desk, lanes("a.test")[1]) == 140)
        let standing = try #require(
            desk.scheduler.poolStanding(of: any("a.test"), hosts: ["mx.big.test"], at: uptime(4000))
        )
        #expect(standing.members[0].because == "blocked 3 of 3 times of late: 550 5.7.1 your IP is listed")
        #expect(standing.members[0].until == uptime(60 * Self.minute) && standing.members[1].because == nil)
        let report = desk.scheduler.healthReport(at: uptime(4000))
        #expect(report.total == 1 && report.items[0].place == "big" && !report.items[0].isWell)
        // An hour later it is tried again by itself.
        _ = desk.scheduler.recover(at: uptime(60 * Self.minute))
        #expect(desk.scheduler.unwellCount == 0)
        fill(&desk, any("a.test"), 400..<500, at: 61 * Self.minute)
        #expect(ready(desk, lanes("a.test")[0]) > 20)
    }

    @Test func whatIsReachedFromAnotherAddressGoesThere() throws {
        var desk = Desk(limits)
        let pool = try pool()
        desk.scheduler.set(["main": pool], at: uptime(0))
        let lanes = pool.members.map { any("a.test").from($0.source) }
        fill(&desk, any("a.test"), 0..<100, at: 0)
        #expect(hear(&desk, .unreached, 3, from: lanes[0], at: 1))
        _ = desk.opens(at: uptime(2000))
        #expect(ready(desk, lanes[0]) == 0 && ready(desk, lanes[1]) == 100)
        // The other reaches nobody either: it is the next hop.
        #expect(hear(&desk, .unreached, 3, from: lanes[1], at: 3000))
        _ = desk.opens(at: uptime(4000))
        #expect(ready(desk, lanes[1]) == 100)
    }

    @Test func whereAllAreBlockedMailGoesOnAsBefore() throws {
        var desk = Desk(limits)
        let pool = try pool()
        desk.scheduler.set(["main": pool], at: uptime(0))
        let lanes = pool.members.map { any("a.test").from($0.source) }
        fill(&desk, any("a.test"), 0..<100, at: 0)
        let before = lanes.map { ready(desk, $0) }
        for lane in lanes {
            let isWorse = hear(&desk, .blocked, 3, from: lane, at: 1)
            #expect(isWorse)
        }
        let opened = Set(desk.opens(at: uptime(2000)))
        #expect(opened == Set(lanes) && lanes.map { ready(desk, $0) } == before)
    }

    @Test func ratherOverABlockedOneThanNotAtAll() throws {
        var desk = Desk(limits)
        let pool = try pool()
        desk.scheduler.set(["main": pool], at: uptime(0))
        let lanes = pool.members.map { any("a.test").from($0.source) }
        fill(&desk, any("a.test"), 0..<100, at: 0)
        #expect(hear(&desk, .blocked, 3, from: lanes[0], at: 1))
        let pause = Pause(.source("192.0.2.2"), since: Timestamp(milliseconds: 0), reason: "", by: "anna")
        desk.scheduler.set(pause, for: .source("192.0.2.2"), at: uptime(2))
        #expect(Set(desk.opens(at: uptime(2000))) == [lanes[0]])
        #expect(ready(desk, lanes[0]) == 100)
    }

    @Test func aLoneAddressIsCountedAndSendsOn() throws {
        var desk = Desk(limits)
        let address = try #require(IPAddress("192.0.2.1"))
        let lane = Lane(any("a.test").hop, from: Source([address]))
        desk.add(1, to: lane, due: uptime(0), at: uptime(0))
        #expect(hear(&desk, .blocked, 5, from: lane, at: 1))
        #expect(desk.opens(at: uptime(2)) == [lane])
        #expect(desk.scheduler.healthReport(at: uptime(3)).items.map(\.place) == ["a.test"])
        // Where the operating system chooses nobody counts.
        let free = Lane(any("b.test").hop)
        desk.add(2, to: free, due: uptime(0), at: uptime(0))
        #expect(!hear(&desk, .blocked, 5, from: free, at: 4))
    }

    @Test func thereIsAnEndOfWhatIsRemembered() throws {
        var desk = Desk(limits)
        let address = try #require(IPAddress("192.0.2.1"))
        for number in UInt32(0)..<12_000 {
            let lane = Lane(any("d\(number).test").hop, from: Source([address]))
            desk.add(Ticket(number), to: lane, due: uptime(0), at: uptime(0))
            _ = desk.scheduler.noteHealth(.delivered, "", from: lane, at: uptime(1))
        }
        let report = desk.scheduler.healthReport(at: uptime(2))
        #expect(report.total == 10_000 && report.items.count == Scheduler.mostHealth)
    }
}
