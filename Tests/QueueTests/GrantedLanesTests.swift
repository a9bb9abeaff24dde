// GrantedLanesTests.swift — a scheduler whose sessions need grants: none without, no more than granted, and what is asked for.

import Mail
import Storage
import Testing

@testable import Queue

@Suite struct GrantedLanesTests {
    private let lane = Lane.domain(Domain(unchecked: "a.test"))
    private let now = Uptime(milliseconds: 1_000)

    private func make() -> Desk {
        var desk = Desk(Scheduler.Limits(total: 100, perLane: 4, longestRest: 60_000))
        desk.scheduler.startGrants()
        for ticket in tickets(0..<10) { desk.add(ticket, to: lane, due: now, at: now) }
        return desk
    }

    @Test func nothingBeginsWithoutAGrantAndNoMoreThanGranted() {
        var desk = make()
        #expect(desk.opens(at: now).isEmpty)
        let wishes = desk.scheduler.grantWishes(isAll: false, at: now)
        #expect(wishes == [GrantWish(lane: lane.description, limit: 4, wanted: 4)])
        desk.scheduler.raiseGrant(lane.description, to: 2, written: 2)
        #expect(desk.opens(at: now).count == 2)
        desk.scheduler.raiseGrant(lane.description, to: 3, written: 3)
        #expect(desk.opens(at: now).count == 1 && desk.opens(at: now).isEmpty)
        #expect(desk.scheduler.report(on: lane)?.limitedBy == .grant)
    }

    @Test func whatIsLoweredEndsAndCountsUntilItHasEnded() {
        var desk = make()
        _ = desk.scheduler.grantWishes(isAll: false, at: now)
        desk.scheduler.raiseGrant(lane.description, to: 3, written: 3)
        for opened in desk.opens(at: now) { desk.stands(opened) }
        #expect(desk.scheduler.lowerGrant(lane.description, to: 1) == 3)
        #expect(desk.scheduler.hasTooMany(lane) && desk.yields(lane, carried: 1, held: 0))
        // The one that is ending counts still, and none takes its place.
        #expect(desk.scheduler.lowerGrant(lane.description, to: 1) == 3 && desk.opens(at: now).isEmpty)
        desk.ends(lane, carried: 1, wasLeaving: true)
        #expect(desk.scheduler.lowerGrant(lane.description, to: 1) == 2)
    }

    @Test func aLaneThatHasNoMoreIsAskedForAgainAfterAWhile() {
        var desk = make()
        #expect(desk.scheduler.grantWishes(isAll: false, at: now).count == 1)
        desk.scheduler.raiseGrant(lane.description, to: 0, written: 0)
        _ = desk.opens(at: now)
        desk.add(11, to: lane, due: now, at: now)
        #expect(desk.scheduler.grantWishes(isAll: false, at: now.adding(milliseconds: 100)).isEmpty)
        #expect(desk.scheduler.grantWishes(isAll: false, at: now.adding(milliseconds: 600)).count == 1)
    }

    @Test func aGrantOutlivesItsLaneForAWhileAndIsGivenBack() {
        var desk = Desk(Scheduler.Limits(total: 100, perLane: 4, longestRest: 60_000))
        desk.scheduler.startGrants()
        desk.add(0, to: lane, due: now, at: now)
        _ = desk.scheduler.grantWishes(isAll: false, at: now)
        desk.scheduler.raiseGrant(lane.description, to: 2, written: 2)
        desk.remove(0)
        #expect(desk.scheduler.grantWishes(isAll: true, at: now).map(\.wanted) == [1])
        #expect(desk.scheduler.grantWishes(isAll: true, at: now.adding(milliseconds: 11_000)).map(\.wanted) == [0])
        // A session that still ends is the others' to know of, until it has ended.
        desk.scheduler.raiseGrant(lane.description, to: 0, written: 1)
        #expect(desk.scheduler.grantWishes(isAll: true, at: now.adding(milliseconds: 11_000)).map(\.wanted) == [0])
        desk.scheduler.raiseGrant(lane.description, to: 0, written: 0)
        #expect(desk.scheduler.grantWishes(isAll: true, at: now.adding(milliseconds: 11_000)).isEmpty)
        desk.add(1, to: lane, due: now, at: now)
        #expect(desk.opens(at: now).isEmpty)
    }

    @Test func withoutOtherNodesNothingNeedsAGrant() {
        var desk = Desk(Scheduler.Limits(total: 100, perLane: 4, longestRest: 60_000))
        for ticket in tickets(0..<10) { desk.add(ticket, to: lane, due: now, at: now) }
        #expect(desk.opens(at: now).count == 4 && desk.scheduler.grantWishes(isAll: true, at: now).isEmpty)
    }
}
