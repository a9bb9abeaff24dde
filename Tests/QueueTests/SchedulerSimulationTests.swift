// SchedulerSimulationTests.swift — nobody takes another's share (G9): lanes of every temper in every mixture.

import Mail
import TestSupport
import Testing

@testable import Queue

@Suite struct SchedulerSimulationTests {
    private static let mixtures: [(hanging: Int, slow: Int, refusing: Int)] = [0, 5, 300].flatMap { hanging in
        [0, 4, 60].flatMap { slow in [0, 300].map { (hanging, slow, $0) } }
    }

    private func lanes(_ mixture: (hanging: Int, slow: Int, refusing: Int)) -> SchedulerSimulation.Lanes {
        var lanes = SchedulerSimulation.Lanes()
        lanes.add(8, .fast, atOnce: 1, every: 400)
        lanes.add(mixture.hanging, .hanging, atOnce: 20)
        lanes.add(mixture.slow, .slow(2500), atOnce: 40)
        lanes.add(mixture.refusing, .refusing, atOnce: 5)
        return lanes
    }

    /// Mail of lanes that deliver waits a second at most, whatever the others do, before, while and after they begin.
    @Test(arguments: mixtures.indices)
    func fastLanesWaitForNobody(_ number: Int) {
        let lanes = lanes(Self.mixtures[number])
        let limits = Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000)
        var simulation = SchedulerSimulation(limits, lanes, seed: UInt64(number) + 7)
        simulation.run(until: 60_000, storm: 3000)
        #expect(simulation.p99() <= 1000, "\(Self.mixtures[number]): \(simulation.p99()) ms")
        #expect(simulation.mostSessions <= 100 && simulation.mostOfALane <= 20)
        #expect(simulation.stood <= simulation.attempts + lanes.tempers.count)
        for (index, temper) in lanes.tempers.enumerated() where temper == .slow(2500) {
            #expect(simulation.delivered[index] > 0, "nobody starves")
        }
    }

    /// A lane that nobody knows yet comes in the middle of the storm.
    @Test(arguments: [5, 50, 300])
    func aNewLaneFindsItsWayBetweenSilentOnes(_ hanging: Int) {
        var lanes = SchedulerSimulation.Lanes()
        lanes.add(hanging, .hanging, atOnce: 20)
        lanes.add(20, .fast, atOnce: 0, every: 30_000)
        var simulation = SchedulerSimulation(
            Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000),
            lanes,
            seed: 3
        )
        simulation.run(until: 90_000)
        let begin = Int64(hanging) * 1000 / 90 + 1000
        #expect(simulation.p99(after: begin) <= 1100, "\(simulation.p99(after: begin)) ms")
    }

    /// Three slots, one lane slow at the dot, one deferred message elsewhere: 2 990 connections for 9 mails were seen.
    @Test(arguments: [1, 2, 3, 5, 10], [1, 2, 7])
    func noSessionIsOpenedInVain(_ total: Int, _ others: Int) {
        var lanes = SchedulerSimulation.Lanes()
        lanes.add(1, .slow(1500), atOnce: 12)
        lanes.add(others, .slow(700), atOnce: 2, every: 5000)
        lanes.add(1, .refusing, atOnce: 1)
        var simulation = SchedulerSimulation(
            Scheduler.Limits(total: total, perLane: 20, longestRest: 60_000),
            lanes,
            seed: UInt64(total * 10 + others)
        )
        simulation.run(until: 120_000)
        #expect(simulation.stood <= simulation.attempts + lanes.tempers.count)
        #expect(simulation.connections <= simulation.attempts + lanes.tempers.count + 30)
        #expect(simulation.mostSessions <= total)
        #expect(simulation.delivered[0] == 12)
    }

    /// One smart host alone has all sessions it may have within a few round trips.
    @Test func aLaneAloneGrowsQuickly() {
        var lanes = SchedulerSimulation.Lanes()
        lanes.add(1, .fast, atOnce: 5000)
        var simulation = SchedulerSimulation(
            Scheduler.Limits(total: 100, perLane: 100, longestRest: 60_000),
            lanes,
            seed: 1
        )
        simulation.run(until: 20_000)
        #expect(simulation.delivered[0] == 5000)
        #expect(simulation.mostOfFirstAt[100].map { $0 < 400 } ?? false, "\(simulation.mostOfFirstAt[100] ?? -1) ms")
    }

    /// 421 to everybody: one finds out, the lane rests, the others wait.
    @Test func whoTurnsEverybodyAwayIsAskedSeldom() {
        var lanes = SchedulerSimulation.Lanes()
        lanes.add(1, .turningAway, atOnce: 200)
        var simulation = SchedulerSimulation(
            Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000),
            lanes,
            seed: 1
        )
        simulation.run(until: 60_000)
        #expect(simulation.connections <= 12, "\(simulation.connections) connections")
        #expect(simulation.refusals <= 12)
    }

    /// Two thousand domains whose names nobody answers, all at once: the next one is asked about at once.
    @Test func domainsThatNobodyAnswersKeepNobodyFromBeingAskedAbout() {
        var scheduler = Scheduler(Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000))
        let now = Uptime(milliseconds: 1000)
        for number in 0..<2000 {
            let lane = Lane.domain(Domain(unchecked: "dead\(number).test"))
            scheduler.add(Ticket(UInt32(number)), to: lane, due: now, at: now)
        }
        #expect(scheduler.turn(at: now).lookUps.count == 2000)
        let good = Lane.domain(Domain(unchecked: "good.test"))
        scheduler.add(Ticket(2000), to: good, due: now, at: now)
        #expect(scheduler.turn(at: now).lookUps.map(\.lane) == [good])
    }

    /// More domains whose names nobody answers than there are look-ups, all at once: lanes that are known, those that nobody
    /// knows, and those that come with the dead ones are asked about, and nobody's mail is deferred before its name was given up.
    @Test(arguments: [5000, 10_000])
    func noNumberOfDeadNamesKeepsAGoodOneFromBeingAskedAbout(_ dead: Int) {
        var lanes = SchedulerSimulation.Lanes()
        lanes.add(20, .fast, atOnce: 1, every: 5000)
        lanes.add(dead, .nameless, atOnce: 1)
        lanes.add(30, .fast, atOnce: 0, every: 40_000)
        var simulation = SchedulerSimulation(
            Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000),
            lanes,
            seed: 11
        )
        simulation.run(until: 60_000, storm: 2000)
        #expect(simulation.p99() <= 1000, "\(simulation.p99()) ms")
        #expect(simulation.scheduler.looks.line.count < 20_000)
    }

    /// The look-ups that made room are all given back, and what is left of them is asked about again.
    @Test func whoMadeRoomIsAskedAboutAgain() {
        var scheduler = Scheduler(Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000, lookUps: 80))
        func at(_ milliseconds: Int64) -> Uptime { Uptime(milliseconds: milliseconds) }
        func lane(_ number: Int) -> Lane { .domain(Domain(unchecked: "d\(number).test")) }
        for number in 0..<200 { scheduler.add(Ticket(UInt32(number)), to: lane(number), due: at(0), at: at(0)) }
        let first = scheduler.turn(at: at(0))
        #expect(first.lookUps.count == 70 && first.lookUpCuts.isEmpty)
        #expect(scheduler.nextWakeup == at(2000))
        #expect(scheduler.turn(at: at(1999)).lookUpCuts.isEmpty)
        let second = scheduler.turn(at: at(2000))
        #expect(second.lookUpCuts == first.lookUps.map(\.number))
        #expect(scheduler.turn(at: at(2001)).lookUpCuts.isEmpty, "once each")
        // One of them has found its way meanwhile.
        scheduler.poise(first.lookUps[0].lane, first.lookUps[0].number)
        for lookUp in first.lookUps.dropFirst() { scheduler.lookUpEnded(lookUp.lane, lookUp.number) }
        let third = scheduler.turn(at: at(2100))
        #expect(third.connects.map(\.lane) == [first.lookUps[0].lane])
        #expect(Set(third.lookUps.map(\.lane)).isDisjoint(with: first.lookUps.map(\.lane)))
        for lookUp in third.lookUps { scheduler.lookUpEnded(lookUp.lane, lookUp.number) }
        for lookUp in third.lookUps { scheduler.rest(lookUp.lane, at: at(2200)) }
        var again: Set<Lane> = []
        for _ in 0..<20 {
            for lookUp in scheduler.turn(at: at(2300)).lookUps {
                again.insert(lookUp.lane)
                scheduler.rest(lookUp.lane, at: at(2300))
                scheduler.lookUpEnded(lookUp.lane, lookUp.number)
            }
        }
        #expect(first.lookUps.dropFirst().allSatisfy { again.contains($0.lane) })
        #expect(scheduler.seeking == 0 && scheduler.looks.cut.isEmpty && scheduler.looks.out.isEmpty)
    }

    /// A start with more silent lanes than slots: lanes that answered to the process before wait for none of them, and of those
    /// that nobody knows every second is the newest.
    @Test(arguments: [200, 1000])
    func atAStartKnownLanesWaitForNoSilentOne(_ hanging: Int) {
        var lanes = SchedulerSimulation.Lanes()
        lanes.add(30, .fast, atOnce: 5)
        lanes.add(hanging, .hanging, atOnce: 20)
        var simulation = SchedulerSimulation(
            Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000),
            lanes,
            seed: 9
        )
        simulation.scheduler.recall(Set((0..<30).map { "d\($0).test" }))
        simulation.run(until: 60_000)
        #expect(simulation.p99() <= 1000, "\(simulation.p99()) ms")
        #expect(simulation.delivered.prefix(30).allSatisfy { $0 == 5 })
    }

    /// Somebody new comes while two thousand silent lanes wait for their first slot.
    @Test func aNewLaneDoesNotWaitForTwoThousandSilentOnes() {
        var lanes = SchedulerSimulation.Lanes()
        lanes.add(2000, .hanging, atOnce: 1)
        lanes.add(20, .fast, atOnce: 0, every: 15_000)
        var simulation = SchedulerSimulation(
            Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000),
            lanes,
            seed: 4
        )
        simulation.run(until: 30_000)
        #expect(simulation.p99(after: 1000) <= 1100, "\(simulation.p99(after: 1000)) ms")
    }

    /// Names that are not resolved hold no slot.
    @Test func lookUpsHoldNoSlot() {
        var lanes = SchedulerSimulation.Lanes()
        lanes.add(400, .nameless, atOnce: 3)
        lanes.add(10, .fast, atOnce: 1, every: 300)
        var simulation = SchedulerSimulation(
            Scheduler.Limits(total: 10, perLane: 5, longestRest: 60_000),
            lanes,
            seed: 5
        )
        simulation.run(until: 40_000)
        #expect(simulation.p99() <= 300, "\(simulation.p99()) ms")
    }
}
