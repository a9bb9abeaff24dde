// ReactionTests.swift — which replies a pattern means, how many make a reaction, what becomes of the lane.

import Mail
import NIOPosix
import TestSupport
import Testing

@testable import Queue

@Suite struct ReactionTests {
    private func reaction(_ name: String, _ count: Int, _ window: Int64, pause: Int64 = 60_000) -> Reaction {
        Reaction(
            name: name,
            when: [.kind("policy"), .code([4, 2, 1])],
            count: count,
            window: window,
            pause: pause,
            origin: "limits.ini:1"
        )
    }

    private func failure(_ code: UInt16, _ text: String = "no") -> Failure {
        Failure(.message, at: .endOfData, Reply(code, nil, text), remote: nil)
    }

    @Test(arguments: try TruthTable.load("reply_pattern").rows)
    func followsTheTable(row: TruthTable.Row) throws {
        let pattern = try #require(ReplyPattern(try row.cell("pattern")) { $0.allSatisfy { $0.isLetter || $0 == "_" } })
        let status = EnhancedStatus(leading: Substring(try row.cell("status")).utf8)
        let reply = Reply(try #require(UInt16(try row.cell("code"))), status, "words")
        let kinds = try row.cell("kinds").split(separator: ",").map(String.init)
        #expect(pattern.fits(reply, kinds: kinds) == (try row.cell("fits") == "true"))
    }

    @Test(arguments: ["", "5.7", "5.7.1.1", "3.7.1", "5.x.1", "5.1000.1", "6**", "42", "4a1", "no_such_kind"])
    func refusesWhatIsNoPattern(_ text: String) { #expect(ReplyPattern(text) { _ in false } == nil) }

    @Test func countsWhatCameInTheWindow() {
        var tally = ReplyTally()
        let three = reaction("three", 3, 1000)
        #expect([0, 500, 1000, 1400].map { tally.add(three, at: uptime($0)) } == [false, false, false, true])
        #expect([1401, 1402, 1403].map { tally.add(three, at: uptime($0)) } == [false, false, true])
    }

    @Test func lanesAreCountedApartAndMemoryIsBounded() {
        var reactor = Reactor()
        reactor.set([reaction("short", 2, 10_000), reaction("long", 3, 10_000, pause: 90_000)])
        #expect(reactor.hear(failure(421), from: "a.test", at: uptime(0)) == nil)
        #expect(reactor.hear(failure(421), from: "b.test", at: uptime(1)) == nil)
        #expect(reactor.hear(failure(550), from: "a.test", at: uptime(2)) == nil, "another reply")
        #expect(reactor.hear(failure(421), from: "a.test", at: uptime(3))?.name == "short")
        #expect(reactor.hear(failure(421), from: "a.test", at: uptime(4))?.name == "long")
        for number in 0..<30_000 { _ = reactor.hear(failure(421), from: "d\(number).test", at: uptime(5)) }
    }

    @Test func aLanePausesAndSaysWhy() async throws {
        let disk = NIOThreadPool(numberOfThreads: 1)
        disk.start()
        let queue = MailQueue(store: MemoryStore(), disk: disk, memory: MemoryBudget(limit: 1), options: .init()) {
            address,
            _ in .domain(address.domain)
        }
        var rules = LimitRules()
        rules.add(reaction("busy", 2, 10_000))
        queue.apply(rules)
        let lane = Lane.domain(Domain(unchecked: "a.test"))
        queue.heard([.deferred(failure(421)), .deferred(failure(421)), nil], from: lane, at: .now())
        queue.heard([.bounced(failure(554))], from: lane, at: .now())
        #expect(queue.pauses.isEmpty, "one reply to two recipients is one")
        queue.heard([.deferred(failure(421, "slow down"))], from: lane, at: .now())
        #expect(await eventually { !queue.pauses.isEmpty })
        let pause = try #require(queue.pauses.first)
        #expect(pause.scope == .lane("a.test") && pause.actor == "reaction busy")
        #expect(pause.reason == "limits.ini:1: 421 slow down")
        #expect(pause.until.map { $0.milliseconds(since: pause.since) } == 60_000)
        // A person's pause is not cut short.
        #expect(queue.pause(Pause(.lane("a.test"), since: .now(), reason: "mine", by: "anna")))
        for _ in 0..<2 { queue.heard([.deferred(failure(421))], from: lane, at: .now()) }
        try await disk.shutdownGracefully()
        #expect(queue.pauses.map(\.reason) == ["mine"])
    }
}
