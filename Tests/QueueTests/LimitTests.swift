// LimitTests.swift — limits and pauses in the scheduler: exact rates, gates, lines of those who wait, nobody behind anybody.

import Mail
import TestSupport
import Testing

@testable import Queue

/// Rules by their scopes, as a file would have them.
func rules(_ sections: [(String, (inout LimitTerms) -> Void)], _ providers: [LimitRules.Provider] = []) -> LimitRules {
    var rules = LimitRules()
    for provider in providers { rules.add(provider) }
    for (index, section) in sections.enumerated() {
        var terms = LimitTerms()
        section.1(&terms)
        for key in LimitTerms.Key.allCases where terms.text(key) != nil {
            terms.origins[key] = "limits.ini:\(index + 1)"
        }
        if let scope = LimitScope(section.0) { rules.add(terms, for: scope) }
    }
    return rules
}

func uptime(_ milliseconds: Int64) -> Uptime { Uptime(milliseconds: milliseconds) }

@Suite struct LimitTests {
    private let lane = Lane.domain(Domain(unchecked: "a.test"))
    private let other = Lane.domain(Domain(unchecked: "b.test"))
    private let limits = Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000)

    private func envelope(_ sender: String, user: String? = nil) -> Envelope {
        let path = EmailAddress(sender).map(ReversePath.address) ?? .null
        var envelope = Envelope(sender: path, recipients: [])
        envelope.user = user
        return envelope
    }

    /// A session that takes what it gets and asks again when told.
    private func carries(_ desk: inout Desk, _ lane: Lane, _ carried: Int, at now: Int64) -> Ticket? {
        guard case .carry(let ticket) = desk.scheduler.next(for: lane, carried: carried, held: 0, at: uptime(now))
        else {
            return nil
        }
        desk.scheduler.sent(ticket, at: uptime(now))
        return ticket
    }

    @Test func aRateHoldsALaneAndNeedsOneTimer() {
        var desk = Desk(limits)
        desk.scheduler.set(rules([("lane a.test", { $0.rate = Rate(20, per: 60_000, burst: 1) })]), at: uptime(0))
        for ticket in tickets(0..<1000) { desk.add(ticket, to: lane, due: uptime(0), at: uptime(0)) }
        #expect(desk.opens(at: uptime(0)).first == lane)
        desk.stands(lane)
        #expect(carries(&desk, lane, 0, at: 10) != nil)
        #expect(carries(&desk, lane, 1, at: 11) == nil)
        #expect(desk.scheduler.nextWakeup == uptime(3010))
        #expect(desk.opens(at: uptime(500)) == [], "no session is opened for a lane that may not send")
        #expect(carries(&desk, lane, 1, at: 3009) == nil)
        #expect(carries(&desk, lane, 1, at: 3010) != nil)
        #expect(desk.scheduler.report(on: lane)?.ready == 998)
    }

    @Test func anAddressWarmsUpByProviderAndDay() throws {
        let day: Int64 = 86_400_000
        var desk = Desk(limits)
        let provider = LimitRules.Provider(name: "big", hosts: ["*.big.test"])
        desk.scheduler.set(rules([("source 192.0.2.1", { $0.warmup = Warmup([2, 5]) })], [provider]), at: uptime(0))
        let source = Source([try #require(IPAddress("192.0.2.1"))])
        let lanes = ["a.test", "b.test", "c.test"].map { Lane(.domain(Domain(unchecked: $0)), from: source) }
        for (index, lane) in lanes.enumerated() {
            for number in 0..<20 {
                desk.add(Ticket(UInt32(index * 20 + number)), to: lane, due: uptime(1), at: uptime(1))
            }
            if index < 2 { desk.scheduler.set(hosts: ["mx.big.test"], of: lane) }
        }
        func sent(_ lane: Lane, _ now: Int64) -> Int {
            var count = 0
            while carries(&desk, lane, 0, at: now) != nil { count += 1 }
            return count
        }
        #expect(sent(lanes[0], 10) == 2 && sent(lanes[1], 11) == 0, "both are of one provider")
        #expect(sent(lanes[2], 12) == 2, "what is of no provider is counted by itself")
        let standing = desk.scheduler.standing(of: desk.scheduler.scopes(of: lanes[0]), at: uptime(13))
        #expect(standing.keeps?.words == "warmup 2, 5 of warmup big from 192.0.2.1 (limits.ini:1)")
        #expect(standing.keeps?.opens == uptime(day))
        // A restart in between changes nothing, and days without mail are no steps.
        let records = desk.scheduler.book.records(at: uptime(14))
        #expect(records.map(\.scope).contains(.warmup("big", "192.0.2.1")))
        #expect(sent(lanes[0], day * 3) + sent(lanes[1], day * 3 + 1) == 5)
        #expect(sent(lanes[1], day * 4) == 20, "then it is warm")
        #expect(desk.scheduler.report(on: lanes[1])?.ready == 0)
    }

    @Test func connectionsAreCountedOverTheLanesOfAProvider() {
        var desk = Desk(limits)
        let provider = LimitRules.Provider(name: "big", hosts: ["*.big.test"])
        desk.scheduler.set(rules([("provider big", { $0.connections = 3 })], [provider]), at: uptime(0))
        let lanes = (0..<5).map { Lane.domain(Domain(unchecked: "d\($0).test")) }
        for (index, lane) in lanes.enumerated() {
            desk.add(Ticket(UInt32(index)), to: lane, due: uptime(0), at: uptime(0))
            desk.scheduler.set(hosts: ["mx\(index).big.test"], of: lane)
        }
        let opened = desk.opens(at: uptime(0))
        #expect(opened.count == 3)
        for lane in opened { desk.stands(lane) }
        #expect(desk.opens(at: uptime(1000)) == [])
        #expect(carries(&desk, opened[0], 0, at: 1000) != nil, "a session that stands goes on")
        desk.ends(opened[0], carried: 1, wasLeaving: false)
        let next = desk.opens(at: uptime(1001))
        #expect(next.count == 1 && !opened.contains(next[0]), "the next in line has the free place")
    }

    @Test func aPauseCatchesWhatComesLaterAndAFlushDoesNotPassIt() {
        var desk = Desk(limits)
        let scope = LimitScope.lane("a.test")
        let pause = Pause(scope, since: Timestamp(milliseconds: 0), reason: "ticket 1", by: "anna")
        desk.scheduler.set(pause, for: scope, at: uptime(0))
        desk.add(1, to: lane, due: uptime(0), at: uptime(0))
        desk.add(2, to: other, due: uptime(0), at: uptime(0))
        #expect(desk.opens(at: uptime(1)) == [other])
        _ = desk.scheduler.flush(nil, at: uptime(2))
        #expect(desk.opens(at: uptime(3)) == [])
        desk.scheduler.set(nil, for: scope, at: uptime(4))
        #expect(desk.opens(at: uptime(5)) == [lane])
    }

    @Test func aPauseEndsByItself() {
        var desk = Desk(limits)
        for scope in [LimitScope.all, .lane("a.test")] {
            let end = Timestamp(milliseconds: 5000)
            desk.scheduler.set(Pause(scope, since: end, until: end, reason: "", by: ""), for: scope, at: uptime(0))
        }
        desk.add(1, to: lane, due: uptime(0), at: uptime(0))
        #expect(desk.opens(at: uptime(4999)) == [])
        #expect(desk.scheduler.nextWakeup.map { $0 <= uptime(5000) } ?? false)
        #expect(desk.opens(at: uptime(5000)) == [lane])
    }

    @Test func nobodyStandsBehindASenderThatIsPaused() {
        var desk = Desk(limits)
        let scope = LimitScope.sender("bad.test")
        desk.scheduler.set(
            Pause(scope, since: Timestamp(milliseconds: 0), reason: "", by: ""),
            for: scope,
            at: uptime(0)
        )
        for ticket in tickets(0..<1000) {
            desk.add(ticket, to: lane, due: uptime(0), at: uptime(0))
            desk.scheduler.look(ticket, envelope(ticket == 999 ? "x@good.test" : "x@bad.test"), domain: nil)
            desk.scheduler.placeAgain(ticket)
        }
        #expect(desk.scheduler.parkedCount == 999)
        _ = desk.opens(at: uptime(0))
        desk.stands(lane)
        #expect(carries(&desk, lane, 0, at: 1) == 999)
        #expect(carries(&desk, lane, 1, at: 2) == nil)
        #expect(desk.scheduler.report(on: lane)?.ready == 999)
        desk.scheduler.set(nil, for: scope, at: uptime(3))
        for place in 0..<999 { #expect(carries(&desk, lane, 0, at: 4 + Int64(place)) == Ticket(UInt32(place))) }
        #expect(desk.scheduler.parkedCount == 0)
    }

    @Test func aSendersRateLetsOthersPassAndKeepsItsOrder() {
        var desk = Desk(limits)
        desk.scheduler.set(rules([("sender slow.test", { $0.rate = Rate(1, per: 1000, burst: 1) })]), at: uptime(0))
        for ticket in tickets(0..<20) {
            desk.add(ticket, to: lane, due: uptime(0), at: uptime(0))
            desk.scheduler.look(ticket, envelope(ticket.number % 2 == 0 ? "x@slow.test" : "x@fast.test"), domain: nil)
            desk.scheduler.placeAgain(ticket)
        }
        _ = desk.opens(at: uptime(0))
        desk.stands(lane)
        var taken: [(Int64, UInt32)] = []
        for now in stride(from: Int64(0), through: 12_000, by: 10) {
            while let ticket = carries(&desk, lane, 0, at: now) {
                taken.append((now, ticket.number))
                desk.scheduler.remove(ticket)
            }
        }
        #expect(taken.filter { $0.1 % 2 == 1 }.map(\.1) == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19])
        #expect(taken.filter { $0.1 % 2 == 1 }.allSatisfy { $0.0 == 0 }, "nobody waits behind it")
        let slow = taken.filter { $0.1 % 2 == 0 }
        #expect(slow.map(\.1) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18])
        #expect(zip(slow, slow.dropFirst()).allSatisfy { $1.0 - $0.0 >= 1000 && $1.0 - $0.0 <= 1020 })
    }

    @Test func aSessionCarriesSoManyMessages() {
        var desk = Desk(limits)
        desk.scheduler.set(rules([("lane *", { $0.perConnection = 2 })]), at: uptime(0))
        for ticket in tickets(0..<9) { desk.add(ticket, to: lane, due: uptime(0), at: uptime(0)) }
        _ = desk.opens(at: uptime(0))
        desk.stands(lane)
        #expect(carries(&desk, lane, 0, at: 1) != nil)
        #expect(carries(&desk, lane, 1, at: 1) != nil)
        let turn = desk.scheduler.next(for: lane, carried: 2, held: 0, at: uptime(1))
        #expect(turn == .yield)
    }

    @Test func whatWasUsedIsKnownAfterARestart() {
        let given = rules([
            (
                "lane a.test",
                {
                    $0.rate = Rate(1, per: 3_600_000, burst: 1); $0.daily = 2
                }
            )
        ])
        var first = Desk(limits)
        first.scheduler.setEpoch(1_000_000_000)
        first.scheduler.set(given, at: uptime(0))
        first.add(1, to: lane, due: uptime(0), at: uptime(0))
        _ = first.opens(at: uptime(0))
        first.stands(lane)
        #expect(carries(&first, lane, 0, at: 0) != nil)
        let records = first.scheduler.book.records(at: uptime(5000))
        #expect(records.count == 1)
        // Another boot: its clock begins elsewhere.
        var second = Desk(limits)
        second.scheduler.setEpoch(1_000_000_000 + 5000 - 70)
        second.scheduler.set(given, at: uptime(70))
        second.scheduler.book.restore(records, at: uptime(70))
        second.add(1, to: lane, due: uptime(70), at: uptime(70))
        #expect(second.opens(at: uptime(70)) == [])
        #expect(second.scheduler.nextWakeup == uptime(3_600_000 - 5000 + 70))
    }

    @Test func aCarefulBreakerTellsWhatItSawAndIsReset() {
        var desk = Desk(limits)
        desk.add(1, to: lane, due: uptime(0), at: uptime(0))
        desk.scheduler.rest(lane, because: "421 go away", at: uptime(100))
        desk.scheduler.rest(lane, because: "421 still", at: uptime(90_000))
        let breaker = desk.scheduler.breaker(of: lane)
        #expect(breaker?.state == .open && breaker?.since == uptime(100) && breaker?.said == "421 still")
        let wasThere = desk.scheduler.reset(lane)
        #expect(wasThere)
        #expect(desk.scheduler.breaker(of: lane)?.state == .closed)
        #expect(desk.opens(at: uptime(90_001)) == [lane])
    }
}
