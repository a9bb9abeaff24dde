// ReactionSimulationTests.swift — an hour with providers that tell nobody what they take: reactions find the rate, keep near it,
// come back when more is taken, and leave everybody else alone. The figures are those of Limits.md.

import Mail
import TestSupport
import Testing

@testable import Queue

@Suite struct ReactionSimulationTests {
    private static let minutes = 60
    private let provider = LimitRules.Provider(name: "big", hosts: ["*.big.test"])

    /// As `config/limits.ini` has it.
    private func busy(about: Subject = .provider, left: Int = 80, step: Int = 5, every: Int64 = 60_000) -> Reaction {
        Reaction(
            name: "busy",
            when: [.code([4, nil, nil])],
            count: 1,
            window: 600_000,
            deed: .slow(Slope(left: left, floor: 60, step: step, every: every)),
            about: about,
            origin: "limits.ini:1"
        )
    }

    private func simulation(
        _ domains: Int,
        rate: Int,
        demand: Double = 1.25,
        minutes: Int = Self.minutes,
        _ reactions: [Reaction]? = nil,
        fast: Int = 5
    ) -> SchedulerSimulation {
        var lanes = SchedulerSimulation.Lanes()
        lanes.add(domains, .provided, atOnce: Int(Double(rate * minutes) * demand) / domains + 10)
        lanes.add(fast, .fast, atOnce: 0, every: 5000)
        var simulation = SchedulerSimulation(
            Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000),
            lanes,
            seed: UInt64(domains * 7 + rate)
        )
        (simulation.hidden.messages, simulation.hidden.answer) = (rate, "451 4.7.1 too many messages, slow down")
        var rules = LimitRules()
        rules.add(provider)
        for reaction in reactions ?? [busy()] { rules.add(reaction) }
        simulation.scheduler.set(rules, at: uptime(0))
        var reactor = Reactor()
        reactor.set(rules.reactions)
        simulation.reactor = reactor
        return simulation
    }

    private func share(_ simulation: SchedulerSimulation, _ rate: Int, from: Int, to: Int) -> Double {
        let taken = (from..<to).reduce(0) { $0 + simulation.hidden.takenByMinute[$1, default: 0] }
        return Double(taken) / Double(rate * (to - from))
    }

    @Test(arguments: [(1, 60), (8, 120), (40, 300)])
    func findsAHiddenRateAndKeepsNearIt(_ domains: Int, _ rate: Int) {
        var simulation = simulation(domains, rate: rate)
        let hidden = simulation.hidden
        simulation.run(until: Int64(Self.minutes) * 60_000)
        let whole = share(simulation, rate, from: 0, to: Self.minutes)
        let later = share(simulation, rate, from: 10, to: Self.minutes)
        let (delivered, turnedAway) = (simulation.delivered.prefix(domains).reduce(0, +), simulation.hidden.turnedAway)
        print(
            "hidden rate \(rate)/m, \(domains) domains: \(whole), after ten minutes \(later); \(delivered) delivered,",
            "\(turnedAway) refused, slowed \(simulation.slowed) times"
        )
        #expect(whole >= 0.85 && later >= 0.85)
        #expect(Double(turnedAway) < 0.02 * Double(delivered))
        #expect(simulation.p99() <= 1000, "others waited \(simulation.p99()) ms")
        #expect((simulation.delivered.prefix(domains).min() ?? 0) > 0, "no domain of the provider starves")
        besidePostfix(hidden, domains, rate, delivered, turnedAway)
    }

    /// The same hour, as `PostfixModel` has it: as it is shipped, and with the pause between two messages that its users set.
    private func besidePostfix(_ hidden: HiddenLimits, _ domains: Int, _ rate: Int, _ delivered: Int, _ refused: Int) {
        let each = Int(Double(rate * Self.minutes) * 1.25) / domains + 10
        for delay in [Int64(0), 1000] {
            var theirs = PostfixModel(hidden, domains: domains, each: each, rateDelay: delay)
            theirs.run(until: Int64(Self.minutes) * 60_000)
            print(
                "    Postfix, \(delay) ms between two: \(theirs.delivered) delivered, \(theirs.refused) refused,",
                "\(theirs.connections) connections"
            )
            if domains == 1, delay == 1000 {
                // The rate that is hidden, to the message: nobody finds more than that.
                #expect(Double(delivered) > 0.95 * Double(theirs.delivered))
            } else {
                #expect(delivered > theirs.delivered && refused < theirs.refused)
            }
        }
    }

    @Test func comesBackWhenMoreIsTaken() {
        var simulation = simulation(1, rate: 60, demand: 6, minutes: 46)
        simulation.hidden.liftedAt = 20 * 60_000
        simulation.run(until: 46 * 60_000)
        let before = share(simulation, 60, from: 10, to: 20)
        let quarter = share(simulation, 60, from: 44, to: 45)
        print(
            "lifted after 20 minutes: before \(before), 25 minutes later \(quarter) times the old rate, over \(simulation.recovered)"
        )
        #expect(before >= 0.85 && quarter >= 2.5, "in twenty-five steps of five percent it is three times as fast")
        // Never a snap back: no minute has much more than the one before.
        for minute in 21..<44 {
            let (one, next) = (
                share(simulation, 60, from: minute, to: minute + 1),
                share(simulation, 60, from: minute + 1, to: minute + 2)
            )
            #expect(next <= one * 1.25 + 0.05, "minute \(minute): \(one), then \(next)")
        }
    }

    @Test func aRestartInTheMiddleChangesNothing() {
        var plain = simulation(4, rate: 60)
        plain.run(until: 1_800_000)
        var restarted = simulation(4, rate: 60)
        restarted.restartsAt = 1_000_000
        restarted.run(until: 1_800_000)
        let (one, other) = (share(plain, 60, from: 0, to: 30), share(restarted, 60, from: 0, to: 30))
        print(
            "a restart in the middle: \(one) without, \(other) with; refused \(plain.hidden.turnedAway), \(restarted.hidden.turnedAway)"
        )
        #expect(abs(one - other) < 0.03 && restarted.hidden.turnedAway <= plain.hidden.turnedAway + 20)
    }

    @Test func aSenderThatIsDislikedSlowsNobodyElse() {
        var simulation = simulation(1, rate: 100_000, demand: 0.0006, [busy(about: .reply, left: 10)])
        simulation.hidden.disliked = 5
        simulation.run(until: 600_000)
        #expect(simulation.scheduler.slowings.keys.map { "\($0)" } == ["sender bad.test to d0.test"])
        let tried = simulation.attempts - simulation.delivered.reduce(0, +)
        print("a disliked sender: \(simulation.delivered[0]) delivered, it was tried \(tried) times in ten minutes")
        #expect(simulation.waiting.allSatisfy { simulation.hidden.isDisliked($0) }, "nobody else waits")
        #expect(tried < 30)
    }

    @Test func greylistsAndOutagesArePassed() {
        var simulation = simulation(4, rate: 300, demand: 0.5, minutes: 30, [])
        simulation.hidden.greylist = 60_000
        simulation.hidden.outage = 300_000..<600_000
        simulation.run(until: 1_800_000)
        let delivered = simulation.delivered.prefix(4).reduce(0, +)
        print(
            "greylist of a minute and an outage of five: \(delivered) of 4540 delivered, others waited \(simulation.p99()) ms"
        )
        #expect(delivered == 4540 && simulation.p99() <= 1000)
    }

    @Test func aDailyCapIsWaitedOut() {
        let day = Reaction(
            name: "day",
            when: [.code([4, nil, nil])],
            count: 1,
            window: 3_600_000,
            deed: .slow(Slope(left: 1, floor: 12, step: 10, every: 3_600_000)),
            about: .provider,
            origin: "limits.ini:1"
        )
        var simulation = simulation(1, rate: 100_000, demand: 0.0001, minutes: 240, [day])
        simulation.hidden.daily = 500
        simulation.run(until: 4 * 3_600_000)
        print(
            "a daily cap of 500: \(simulation.hidden.taken.count) taken, \(simulation.hidden.turnedAway) refused in four hours"
        )
        #expect(simulation.hidden.taken.count == 500 && simulation.hidden.turnedAway < 100)
    }

    /// Nobody says how many sessions it takes: the window of the lane finds that, without a reaction.
    @Test func findsAHiddenCapOfConnections() {
        var simulation = simulation(1, rate: 300, demand: 1.25, minutes: 30, [])
        (simulation.hidden.connections, simulation.hidden.messages) = (3, 100_000)
        simulation.run(until: 1_800_000)
        let hidden = simulation.hidden
        print(
            "three connections: \(simulation.delivered[0]) delivered, \(hidden.refusedConnections) refused of \(simulation.connections)"
        )
        #expect(simulation.delivered[0] == 11_260)
    }

    /// Two domains with names of their own in front of the same hosts are one provider.
    @Test func domainsBehindTheSameHostsAreHeldTogether() {
        var simulation = simulation(2, rate: 60)
        simulation.run(until: Int64(Self.minutes) * 60_000)
        #expect(Array(simulation.scheduler.slowings.keys) == [.provider("big")])
        let (one, other) = (simulation.delivered[0], simulation.delivered[1])
        print("two domains behind the same hosts: \(one) and \(other)")
        #expect(one + other <= 60 * Self.minutes + 60 && abs(one - other) < (one + other) / 5)
    }
}
