// SchedulerTests.swift — due times, lanes, limits, fairness and rests.

import Mail
import Testing

@testable import Queue

@Suite struct SchedulerTests {
    private let a = Lane.domain(Domain(unchecked: "a.test"))
    private let b = Lane.domain(Domain(unchecked: "b.test"))

    private func at(_ seconds: Int64) -> Uptime { Uptime(milliseconds: seconds * 1000) }

    private func make(total: Int = 10, perLane: Int = 5, rest: Int64 = 60_000) -> Desk {
        Desk(Scheduler.Limits(total: total, perLane: perLane, longestRest: rest))
    }

    @Test func handsOutDueParcelsInOrderOfArrival() {
        var scheduler = make()
        for ticket in tickets(0..<3) { scheduler.add(ticket, to: a, due: at(0), at: at(0)) }
        #expect((0..<4).map { _ in scheduler.next(for: a, at: at(0)) } == [0, 1, 2, nil])
        #expect(scheduler.inFlightCount == 3)
    }

    @Test func holdsAParcelUntilItsTimeToTheMillisecond() {
        var scheduler = make()
        scheduler.add(0, to: a, due: at(64), at: at(0))
        #expect(scheduler.nextWakeup == at(64))
        #expect(scheduler.next(for: a, at: Uptime(milliseconds: 63_999)) == nil)
        #expect(scheduler.next(for: a, at: at(64)) == 0)
    }

    @Test func wakesPreciselyAmongAMillionWaitingParcels() {
        var scheduler = make()
        for ticket in tickets(0..<1_000_000) {
            // A permutation, so that arrival order is not due order.
            let due = Int64((UInt64(ticket.number) &* 7_919) % 1_000_000)
            scheduler.add(ticket, to: a, due: Uptime(milliseconds: 1 + due), at: at(0))
        }
        #expect(scheduler.nextWakeup == Uptime(milliseconds: 1))
        #expect(scheduler.takeDue(in: a, atMost: .max, at: Uptime(milliseconds: 1000)).count == 1000)
        #expect(scheduler.nextWakeup == Uptime(milliseconds: 1001))
        #expect(scheduler.waitingCount == 999_000)
    }

    @Test func grantsSessionsToLanesInTurn() {
        var scheduler = make(total: 4, perLane: 3)
        for ticket in tickets(0..<10) { scheduler.add(ticket, to: a, due: at(0), at: at(0)) }
        for ticket in tickets(10..<20) { scheduler.add(ticket, to: b, due: at(0), at: at(0)) }
        #expect(scheduler.opens(at: at(0)) == [a, b, a], "the last slot is for a lane that has none")
        #expect(scheduler.sessions == 3)
    }

    @Test func neverGrantsMoreThanALaneMayHave() {
        var scheduler = make(total: 100, perLane: 3)
        for ticket in tickets(0..<50) { scheduler.add(ticket, to: a, due: at(0), at: at(0)) }
        #expect(scheduler.opens(at: at(0)).count == 3)
        #expect(scheduler.opens(at: at(0)).isEmpty)
    }

    @Test func opensNoMoreSessionsThanThereAreParcels() {
        var scheduler = make()
        scheduler.add(0, to: a, due: at(0), at: at(0))
        #expect(scheduler.opens(at: at(0)) == [a])
        #expect(scheduler.opens(at: at(0)).isEmpty)
        scheduler.stands(a)
        #expect(scheduler.next(for: a, at: at(0)) == 0)
        scheduler.remove(0)
        // The session is idle now: the next parcel is its work, not a new session's.
        scheduler.add(1, to: a, due: at(1), at: at(0))
        #expect(scheduler.opens(at: at(2)).isEmpty)
    }

    @Test func pausedHandsOutNothingAndLosesNothing() {
        var scheduler = make()
        scheduler.isPaused = true
        scheduler.add(0, to: a, due: at(0), at: at(0))
        #expect(scheduler.opens(at: at(0)).isEmpty)
        #expect(scheduler.next(for: a, at: at(0)) == nil)
        scheduler.isPaused = false
        #expect(scheduler.opens(at: at(0)) == [a])
        #expect(scheduler.next(for: a, at: at(0)) == 0)
    }

    @Test func restingLaneGetsNoSessionAndOthersDo() {
        var scheduler = make()
        scheduler.add(0, to: a, due: at(0), at: at(0))
        #expect(scheduler.opens(at: at(0)) == [a])
        scheduler.rest(a, at: at(0))
        scheduler.fails(a)
        scheduler.add(1, to: a, due: at(0), at: at(0))
        scheduler.add(2, to: b, due: at(0), at: at(0))
        #expect(scheduler.opens(at: at(0)) == [b])
        #expect(scheduler.isResting(a))
        #expect(scheduler.opens(at: at(1)) == [a])
    }

    @Test func sessionsThatStandCarryOnWhileAFurtherOneIsRefused() {
        var scheduler = make()
        for ticket in tickets(0..<9) { scheduler.add(ticket, to: a, due: at(0), at: at(0)) }
        #expect(scheduler.opens(at: at(0)).count == 5)
        for _ in 0..<2 { scheduler.stands(a) }
        for _ in 0..<3 {
            scheduler.fails(a)
            #expect(scheduler.surplusRefused(a, at: at(0)) == true)
        }
        #expect(scheduler.next(for: a, at: at(0)) == 0)
        #expect(scheduler.next(for: a, at: at(0)) == 1)
        #expect(scheduler.opens(at: at(9)).isEmpty, "no other is tried for a while")
        scheduler.answered(a, isFinal: true, took: 5, at: at(9))
        #expect(scheduler.opens(at: at(9)).isEmpty)
        scheduler.answered(a, isFinal: true, took: 5, at: at(10))
        #expect(scheduler.opens(at: at(10)) == [a], "then one more")
    }

    @Test func restsGrowAndOneSessionProbes() {
        var scheduler = make(rest: 8000)
        for ticket in tickets(0..<9) { scheduler.add(ticket, to: a, due: at(0), at: at(0)) }
        #expect(scheduler.opens(at: at(0)).count == 5)
        for _ in 0..<5 { scheduler.fails(a) }
        var now: Int64 = 0
        for length: Int64 in [1, 2, 4, 8, 8] {
            scheduler.rest(a, at: at(now))
            #expect(scheduler.opens(at: at(now + length - 1)).isEmpty)
            now += length
            #expect(scheduler.opens(at: at(now)) == [a])
            scheduler.fails(a)
        }
    }

    @Test func aProbeThatHangsLetsAnotherTry() {
        var scheduler = make()
        for ticket in tickets(0..<9) { scheduler.add(ticket, to: a, due: at(0), at: at(0)) }
        scheduler.rest(a, at: at(0))
        #expect(scheduler.opens(at: at(1)) == [a])
        #expect(scheduler.nextWakeup == at(31))
        #expect(scheduler.opens(at: at(30)).isEmpty)
        #expect(scheduler.opens(at: at(31)) == [a])
        scheduler.stands(a)
        scheduler.answered(a, isFinal: true, took: 5, at: at(31))
        #expect(scheduler.opens(at: at(31)).count == 3, "the lane has five sessions now")
    }

    @Test func aProbeThatEndsEarlyIsFollowedByTheNext() {
        var scheduler = make()
        for ticket in tickets(0..<9) { scheduler.add(ticket, to: a, due: at(0), at: at(0)) }
        scheduler.rest(a, at: at(0))
        #expect(scheduler.opens(at: at(1)) == [a])
        scheduler.fails(a)
        #expect(scheduler.opens(at: at(1)) == [a])
    }

    @Test func restEndsWhenADeferredParcelIsDue() {
        var scheduler = make()
        for ticket in tickets(0..<2) { scheduler.add(ticket, to: a, due: at(0), at: at(0)) }
        for now: Int64 in [0, 1, 3, 7, 15] { scheduler.rest(a, at: at(now)) }
        let taken = scheduler.takeDue(in: a, atMost: 1, at: at(15))
        scheduler.postpone(taken[0], until: at(20), at: at(15))
        #expect(scheduler.opens(at: at(19)).isEmpty)
        #expect(scheduler.opens(at: at(20)) == [a])
    }

    @Test func anAnswerMakesALaneForgetItsRests() {
        var scheduler = make()
        for ticket in tickets(0..<9) { scheduler.add(ticket, to: a, due: at(0), at: at(0)) }
        scheduler.rest(a, at: at(0))
        #expect(scheduler.opens(at: at(1)) == [a])
        scheduler.stands(a)
        #expect(scheduler.opens(at: at(1)).isEmpty, "it stands, and may turn every message away")
        scheduler.answered(a, isFinal: false, took: 5, at: at(1))
        #expect(scheduler.opens(at: at(1)).count == 4)
    }

    @Test func flushMakesEverythingDueAndEndsRests() {
        var scheduler = make()
        scheduler.add(0, to: a, due: at(100), at: at(0))
        scheduler.add(1, to: b, due: at(100), at: at(0))
        scheduler.rest(a, at: at(0))
        #expect(scheduler.flush(nil, at: at(0)) == 2)
        #expect(Set(scheduler.opens(at: at(0))) == [a, b])
        #expect(scheduler.next(for: a, at: at(0)) == 0)
        // The stale timer of a flushed parcel does not bring it back.
        scheduler.remove(0)
        #expect(scheduler.next(for: a, at: at(200)) == nil)
    }

    @Test func whatIsAskedForKnowsItsOwnTime() {
        var scheduler = make()
        for ticket in tickets(0..<3) { scheduler.add(ticket, to: a, due: at(100), at: at(0)) }
        scheduler.add(3, to: a, due: at(0), at: at(0))
        #expect(scheduler.scheduler.hurry(1, at: at(1)) && scheduler.flush(nil, at: at(1)) == 2)
        #expect(tickets(0..<4).map { scheduler.scheduler.ownTime($0) } == [at(100), at(100), at(100), nil])
        #expect((0..<4).map { _ in scheduler.next(for: a, at: at(2)) } == [1, 3, 0, 2])
        #expect(scheduler.scheduler.ownTime(0) == at(100))
        scheduler.putBack(0)
        #expect(scheduler.scheduler.ownTime(0) == at(100), "nobody tried it")
        #expect(scheduler.next(for: a, at: at(3)) == 0)
        scheduler.postpone(0, until: at(100), at: at(4))
        scheduler.remove(1)
        scheduler.add(1, to: a, due: at(0), at: at(5))
        #expect(scheduler.scheduler.ownTime(0) == nil && scheduler.scheduler.ownTime(1) == nil)
        #expect(scheduler.flush(nil, at: at(6)) == 1 && scheduler.scheduler.ownTime(0) == at(100))
    }

    @Test func flushOfOneLaneLeavesTheOthers() {
        var scheduler = make()
        scheduler.add(0, to: a, due: at(100), at: at(0))
        scheduler.add(1, to: b, due: at(100), at: at(0))
        #expect(scheduler.flush(a, at: at(0)) == 1)
        #expect(scheduler.waitingCount == 1)
    }

    @Test func putsBackAtTheHead() {
        var scheduler = make()
        for ticket in tickets(0..<2) { scheduler.add(ticket, to: a, due: at(0), at: at(0)) }
        let first = scheduler.next(for: a, at: at(0))
        scheduler.putBack(first ?? 9)
        #expect(scheduler.next(for: a, at: at(0)) == 0)
    }

    @Test func greedyLaneYieldsWhenOthersWait() {
        var scheduler = make(total: 2, perLane: 2)
        for ticket in tickets(0..<9) { scheduler.add(ticket, to: a, due: at(0), at: at(0)) }
        #expect(scheduler.opens(at: at(0)) == [a, a])
        for _ in 0..<2 { scheduler.stands(a) }
        #expect(scheduler.yields(a, carried: 1, held: 1000) == false)
        scheduler.add(20, to: b, due: at(0), at: at(0))
        #expect(scheduler.opens(at: at(0)).isEmpty)
        #expect(scheduler.yields(a, carried: 0, held: 1000) == false, "no session is opened in vain")
        #expect(scheduler.yields(a, carried: 1, held: 0) == true)
        #expect(scheduler.yields(a, carried: 1, held: 0) == false, "one is enough")
        scheduler.ends(a, carried: 1, wasLeaving: true)
        #expect(scheduler.opens(at: at(0)) == [b])
    }

    @Test func nobodyYieldsToALaneThatWantsNothing() {
        var scheduler = make(total: 3, perLane: 3)
        for ticket in tickets(0..<9) { scheduler.add(ticket, to: a, due: at(0), at: at(0)) }
        scheduler.add(20, to: b, due: at(500), at: at(0))
        let opened = scheduler.opens(at: at(0))
        #expect(opened == [a, a], "one slot is left for a lane without a session")
        for _ in opened { scheduler.stands(a) }
        #expect(scheduler.yields(a, carried: 5, held: 100_000) == false)
    }

    @Test func reusesTicketsAndLanesWithoutMixingThemUp() {
        var scheduler = make()
        for round in 0..<1000 {
            let lane = Lane.domain(Domain(unchecked: "d\(round).test"))
            scheduler.add(0, to: lane, due: at(Int64(round) + 10), at: at(Int64(round)))
            scheduler.remove(0)
        }
        scheduler.add(0, to: a, due: at(5000), at: at(1000))
        #expect(scheduler.next(for: a, at: at(4999)) == nil)
        #expect(scheduler.next(for: a, at: at(5000)) == 0)
        #expect(scheduler.readyCount == 0 && scheduler.waitingCount == 0 && scheduler.inFlightCount == 1)
    }

    @Test func countsStayTrueUnderRandomUse() {
        var seed = UInt64(42)
        func roll(_ n: Int) -> Int {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(seed >> 33) % n
        }
        var scheduler = make(total: 7, perLane: 3).scheduler
        var live: Set<Ticket> = []
        var flying: Set<Ticket> = []
        for step in 0..<20_000 {
            let now = Uptime(milliseconds: Int64(step))
            let ticket = Ticket(UInt32(roll(200)))
            switch roll(5) {
            case 0 where !live.contains(ticket):
                scheduler.add(ticket, to: roll(2) == 0 ? a : b, due: now.adding(milliseconds: Int64(roll(50))), at: now)
                live.insert(ticket)
            case 1:
                if let next = scheduler.takeDue(in: roll(2) == 0 ? a : b, atMost: 1, at: now).first {
                    #expect(live.contains(next) && !flying.contains(next))
                    flying.insert(next)
                }
            case 2:
                if let one = flying.first {
                    scheduler.postpone(one, until: now.adding(milliseconds: Int64(roll(50))), at: now)
                    flying.remove(one)
                }
            case 3 where live.contains(ticket):
                scheduler.remove(ticket)
                live.remove(ticket)
                flying.remove(ticket)
            default:
                _ = scheduler.flush(roll(9) == 0 ? nil : a, at: now)
            }
            #expect(scheduler.inFlightCount == flying.count)
            #expect(scheduler.readyCount + scheduler.waitingCount + scheduler.inFlightCount == live.count)
        }
    }
}
