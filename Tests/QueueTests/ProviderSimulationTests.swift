// ProviderSimulationTests.swift — twenty minutes with a provider that counts messages and connections and tells nobody: with its limits in
// limits.ini nearly all that it takes is delivered, nearly nothing is refused, and nobody else waits.

import HeapModule
import Mail
import TestSupport
import Testing

@testable import Queue

@Suite struct ProviderSimulationTests {
    private static let minutes = 20
    private let provider = LimitRules.Provider(name: "big", hosts: ["*.big.test"])

    private func simulation(
        _ domains: Int,
        _ limits: (messages: Int, connections: Int),
        isKnown: Bool
    ) -> SchedulerSimulation {
        var lanes = SchedulerSimulation.Lanes()
        lanes.add(domains, .provided, atOnce: limits.messages * Self.minutes * 5 / 4 / domains + 10)
        lanes.add(5, .fast, atOnce: 0, every: 5000)
        var simulation = SchedulerSimulation(
            Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000),
            lanes,
            seed: UInt64(domains * 7 + limits.messages)
        )
        simulation.hidden.messages = limits.messages
        simulation.hidden.connections = limits.connections
        guard isKnown else { return simulation }
        simulation.scheduler.set(
            rules(
                [
                    (
                        "provider big",
                        {
                            $0.rate = Rate(limits.messages, per: 60_000)
                            $0.connections = limits.connections
                        }
                    )
                ],
                [provider]
            ),
            at: Uptime(milliseconds: 0)
        )
        return simulation
    }

    @Test(
        arguments: [1, 8, 40],
        [(messages: 20, connections: 3), (messages: 120, connections: 5), (messages: 300, connections: 10)]
    )
    func nearlyAllThatItTakesIsDelivered(_ domains: Int, _ limits: (messages: Int, connections: Int)) {
        var simulation = simulation(domains, limits, isKnown: true)
        simulation.run(until: Int64(Self.minutes) * 60_000)
        let hidden = simulation.hidden
        let share = Double(hidden.taken.count) / Double(limits.messages * Self.minutes)
        #expect(share >= 0.85, "\(hidden.taken.count) of \(limits.messages * Self.minutes)")
        #expect(Double(hidden.turnedAway) < 0.02 * Double(hidden.taken.count), "\(hidden.turnedAway) refused")
        #expect(hidden.refusedConnections == 0)
        #expect(simulation.p99() <= 1000, "others waited \(simulation.p99()) ms")
        let delivered = simulation.delivered.prefix(domains)
        #expect((delivered.min() ?? 0) > 0, "no domain of the provider starves")
    }

    /// The same without a limit: what is compared with.
    @Test func withoutALimitMuchIsRefused() {
        var simulation = simulation(8, (20, 3), isKnown: false)
        simulation.run(until: 600_000)
        #expect(simulation.hidden.turnedAway + simulation.hidden.refusedConnections > 20)
    }

    /// A million waiting messages under a thousand limits: a turn looks at no more lanes than wait for their time.
    @Test func manyLimitsNeedOneTimerEach() {
        var scheduler = Scheduler(Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000))
        let now = Uptime(milliseconds: 0)
        scheduler.set(rules([("lane *", { $0.rate = Rate(1, per: 60_000) })]), at: now)
        for number in 0..<100_000 {
            let lane = Lane.domain(Domain(unchecked: "d\(number % 1000).test"))
            scheduler.add(Ticket(UInt32(number)), to: lane, due: now, at: now)
        }
        for number in 0..<1000 {
            let lane = Lane.domain(Domain(unchecked: "d\(number).test"))
            guard case .carry(let ticket) = scheduler.next(for: lane, carried: 0, held: 0, at: now) else {
                Issue.record("lane \(number) has nothing")
                return
            }
            scheduler.sent(ticket, at: now)
        }
        #expect(scheduler.turn(at: Uptime(milliseconds: 1)).lookUps.isEmpty)
        #expect(scheduler.book.timers.count == 1000)
        #expect(scheduler.turn(at: Uptime(milliseconds: 60_000)).lookUps.count == 1000)
    }
}
