// SharedLimitTests.swift — a scheduler whose limits are divided among nodes: nothing without a part, no more than the part, and what
// is asked for and given back.

import Mail
import Storage
import Testing

@testable import Queue

@Suite struct SharedLimitTests {
    private let lane = Lane.domain(Domain(unchecked: "a.test"))
    private let other = Lane.domain(Domain(unchecked: "b.test"))
    private let both = LimitRules.Provider(name: "p", hosts: ["a.test", "b.test"])

    /// Two lanes of one provider with that rule, each with a grant and mail.
    private func make(_ rule: @escaping (inout LimitTerms) -> Void) -> Desk {
        var desk = Desk(Scheduler.Limits(total: 100, perLane: 4, longestRest: 60_000))
        desk.scheduler.startGrants()
        desk.scheduler.set(rules([("provider p", rule)], [both]), at: uptime(0))
        for (place, lane) in [lane, other].enumerated() {
            for number in 0..<20 {
                desk.add(Ticket(UInt32(place * 20 + number)), to: lane, due: uptime(0), at: uptime(0))
            }
            desk.scheduler.set(hosts: [lane.name], of: lane)
        }
        _ = desk.scheduler.grantWishes(isAll: true, at: uptime(0))
        for lane in [lane, other] { desk.scheduler.raiseGrant(lane.description, to: 4, written: 4) }
        return desk
    }

    private func send(_ desk: inout Desk, _ lane: Lane, at now: Int64) -> Bool {
        guard case .carry(let ticket) = desk.scheduler.next(for: lane, carried: 0, held: 0, at: uptime(now)) else {
            return false
        }
        desk.scheduler.sent(ticket, at: uptime(now))
        return true
    }

    @Test func aRateNeedsAPartAndIsThatMuchSlower() throws {
        var desk = make { $0.rate = Rate(600, per: 60_000, burst: 2) }
        #expect(desk.opens(at: uptime(0)).isEmpty)
        let wish = try #require(desk.scheduler.shareWishes(isAll: false, at: uptime(0)).first)
        #expect(wish.lane == "limit rate provider p" && wish.limit == 2 && wish.wanted == 2)
        #expect(wish.kind == .rate(parts: RateParts.whole / 2, fill: 200_000))
        // Half of it: ten a second become five, two at once become one.
        desk.scheduler.raiseShare(
            wish.lane,
            to: RateParts.whole / 2,
            written: RateParts.whole / 2,
            ahead: 0,
            at: uptime(0)
        )
        #expect(!desk.opens(at: uptime(0)).isEmpty)
        for lane in [lane, other] { desk.stands(lane) }
        #expect(send(&desk, lane, at: 0))
        #expect(!send(&desk, lane, at: 199))
        #expect(send(&desk, lane, at: 200))
        // What is given back tells how far it was used, and nothing of it is used from then on.
        let held = desk.scheduler.lowerShare(wish.lane, to: 0, at: uptime(250))
        #expect(held == GrantHeld(sessions: 0, usable: 0, ahead: 150_000))
        #expect(!send(&desk, lane, at: 5_000))
        // Who gets it begins behind what was used before.
        desk.scheduler.raiseShare(
            wish.lane,
            to: RateParts.whole,
            written: RateParts.whole,
            ahead: 300_000,
            at: uptime(5_000)
        )
        #expect(!send(&desk, lane, at: 5_199))
        #expect(send(&desk, lane, at: 5_200))
    }

    @Test func whatNobodyWantsIsKeptForAWhileAndGivenBack() {
        var desk = make { $0.rate = Rate(20, per: 60_000) }
        _ = desk.opens(at: uptime(0))
        #expect(desk.scheduler.shareWishes(isAll: false, at: uptime(0)).count == 1)
        // Asked for again only after a while.
        #expect(desk.scheduler.shareWishes(isAll: false, at: uptime(100)).isEmpty)
        #expect(desk.scheduler.shareWishes(isAll: false, at: uptime(600)).count == 1)
        desk.scheduler.raiseShare(
            "limit rate provider p",
            to: RateParts.whole,
            written: RateParts.whole,
            ahead: 0,
            at: uptime(600)
        )
        for ticket in tickets(0..<40) { desk.remove(ticket) }
        let soon = desk.scheduler.shareWishes(isAll: true, at: uptime(1_000)).filter { $0.kind != .lane }
        #expect(soon.map(\.wanted) == [0] && soon.map(\.kept) == [1])
        let late = desk.scheduler.shareWishes(isAll: true, at: uptime(20_000))
        #expect(late.map(\.wanted) == [0] && late.map(\.kept) == [0])
        desk.scheduler.raiseShare("limit rate provider p", to: 0, written: 0, ahead: 0, at: uptime(20_000))
        #expect(desk.scheduler.shareWishes(isAll: true, at: uptime(20_000)).isEmpty)
    }

    @Test func sessionsOfALimitAreThoseOfThePart() throws {
        var desk = make { $0.connections = 3 }
        #expect(desk.opens(at: uptime(0)).isEmpty)
        let wish = try #require(desk.scheduler.shareWishes(isAll: false, at: uptime(0)).first)
        #expect(wish.lane == "limit connections provider p" && wish.limit == 3 && wish.kind == .sessions)
        desk.scheduler.raiseShare(wish.lane, to: 2, written: 2, ahead: 0, at: uptime(0))
        let opened = desk.opens(at: uptime(1))
        #expect(opened.count == 2)
        for lane in opened { desk.stands(lane) }
        // Another node has a turn: one of them ends after its message, and counts until it has.
        #expect(desk.scheduler.lowerShare(wish.lane, to: 1, at: uptime(10)).sessions == 2)
        #expect(desk.scheduler.hasTooMany(opened[0]) && desk.yields(opened[0], carried: 1, held: 0))
        desk.ends(opened[0], carried: 1, wasLeaving: true)
        #expect(desk.scheduler.lowerShare(wish.lane, to: 1, at: uptime(10)).sessions == 1)
        #expect(desk.opens(at: uptime(20)).isEmpty)
    }

    @Test func aDayIsTakenInBatchesAndGivenBack() throws {
        var desk = make { $0.daily = 30 }
        desk.scheduler.setEpoch(1_000_000_000)
        #expect(desk.opens(at: uptime(0)).isEmpty)
        let wish = try #require(desk.scheduler.dayWishes(isLast: false, at: uptime(0)).first)
        #expect(wish.scope == "provider p" && wish.limit == 30 && wish.wanted >= 1 && wish.unused == 0)
        var allowance = DayAllowance()
        (allowance.count, allowance.slice, allowance.ends) = (2, 7, uptime(60_000))
        desk.scheduler.allow(.provider("p"), allowance, at: uptime(10))
        #expect(!desk.opens(at: uptime(20)).isEmpty)
        for lane in [lane, other] { desk.stands(lane) }
        #expect(send(&desk, lane, at: 30))
        // The hour is over: what is left is that hour's, and may not be sent any more.
        #expect(!send(&desk, lane, at: 60_000))
        let back = try #require(desk.scheduler.dayWishes(isLast: false, at: uptime(60_000)).first)
        #expect(back.unused == 1 && back.slice == 7)
        allowance = DayAllowance()
        allowance.opens = uptime(90_000)
        desk.scheduler.allow(.provider("p"), allowance, at: uptime(60_100))
        // Nothing is left; but another node may give something back.
        #expect(desk.scheduler.dayWishes(isLast: false, at: uptime(69_000)).isEmpty)
        #expect(desk.scheduler.dayWishes(isLast: false, at: uptime(70_100)).count == 1)
        // Somebody has it forgotten: for all nodes, and at once.
        let wasReset = desk.scheduler.resetUse(of: .provider("p"), at: uptime(70_200))
        #expect(wasReset)
        let anew = try #require(desk.scheduler.dayWishes(isLast: false, at: uptime(72_200)).first)
        #expect(anew.isReset && anew.wanted > 0)
    }

    @Test func withoutOtherNodesLimitsNeedNoPart() {
        var desk = Desk(Scheduler.Limits(total: 100, perLane: 4, longestRest: 60_000))
        desk.scheduler.set(rules([("lane a.test", { $0.rate = Rate(20, per: 60_000) })]), at: uptime(0))
        desk.add(0, to: lane, due: uptime(0), at: uptime(0))
        #expect(desk.opens(at: uptime(0)) == [lane] && desk.scheduler.shareWishes(isAll: true, at: uptime(0)).isEmpty)
    }
}
