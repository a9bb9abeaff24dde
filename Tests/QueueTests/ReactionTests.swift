// ReactionTests.swift — which replies a pattern means, how many make a reaction, what becomes of the lane.

import Mail
import NIOPosix
import TestSupport
import Testing

@testable import Queue

@Suite struct ReactionTests {
    private func reaction(
        _ name: String,
        _ count: Int,
        _ window: Int64,
        _ deed: Deed = .pause(60_000),
        about: Subject = .lane
    ) -> Reaction {
        Reaction(
            name: name,
            when: [.kind("policy"), .code([4, 2, 1])],
            count: count,
            window: window,
            deed: deed,
            about: about,
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
        reactor.set([reaction("short", 2, 10_000), reaction("long", 3, 10_000)])
        func hear(_ code: UInt16, _ name: String, _ now: Int64) -> [String] {
            let lane = Lane.domain(Domain(unchecked: name))
            return reactor.hear(failure(code), from: lane, at: uptime(now)).map(\.reaction.name)
        }
        #expect(hear(421, "a.test", 0) == [])
        #expect(hear(421, "b.test", 1) == [])
        #expect(hear(550, "a.test", 2) == [], "another reply")
        #expect(hear(421, "a.test", 3) == ["short"])
        #expect(hear(421, "a.test", 4) == ["long"])
        for number in 0..<30_000 { _ = hear(421, "d\(number).test", 5) }
    }

    @Test(arguments: try TruthTable.load("reply_subject").rows)
    func isAboutWhatTheReplySpeaksOf(row: TruthTable.Row) throws {
        let text = try row.cell("reply").replacing("_", with: " ")
        let reply = try #require(Reply(line: text))
        let lane = Lane(.domain(Domain(unchecked: "a.test")), from: Source([try #require(IPAddress("192.0.2.1"))]))
        var parties = MailParties()
        (parties.sender, parties.user) = ("s.test", "app")
        let about = try #require(Subject(rawValue: try row.cell("about")))
        let scope = reaction("x", 1, 1, about: about)
            .scope(of: reply, kinds: [try row.cell("kind")], from: lane, provider: "big", parties)
        #expect("\(scope)" == (try row.cell("scope").replacing("_", with: " ")))
        #expect(LimitScope("\(scope)") == scope, "it is read as it is written")
        // Where there is no such thing it is about the next hop.
        let bare = reaction("x", 1, 1, about: about)
            .scope(of: reply, kinds: [], from: .domain(Domain(unchecked: "a.test")), provider: nil, MailParties())
        #expect(bare == .lane("a.test"))
    }

    @Test(arguments: try TruthTable.load("reaction_steps").rows)
    func goesDownByAFactorAndUpBySteps(row: TruthTable.Row) throws {
        let slope = Slope(
            left: Int(try row.cell("left")) ?? 0,
            floor: Int(try row.cell("floor")) ?? 0,
            step: Int(try row.cell("step")) ?? 0,
            every: 60_000
        )
        let most = Int(try row.cell("sessions"))
        let deed = most.map { Deed.connections($0, slope) } ?? .slow(slope)
        let its = reaction("x", 1, 1, deed)
        func minute(_ number: Double) -> Timestamp { Timestamp(milliseconds: Int64(number * 60_000)) }
        let from = try #require(Int(try row.cell("from")))
        var slowing: Slowing? = Slowing(its, of: .lane("a.test"), from: from, said: "421", at: minute(0))
        let again = try row.cell("again").split(separator: ",").compactMap { Double($0) }
        var levels = [slowing?.level ?? 0]
        for second in 1...(Int(try row.cell("minutes")) ?? 0) * 60 {
            let now = Double(second) / 60
            if again.contains(now) { _ = slowing?.lower(its, said: "421", at: minute(now)) }
            if slowing?.step(slope, at: minute(now)) == true { slowing = nil }
            if let level = slowing?.level, level != levels.last { levels.append(level) }
        }
        if slowing == nil { levels.append(0) }
        #expect(levels.map(String.init).joined(separator: ",") == (try row.cell("levels")))
    }

    @Test(arguments: try TruthTable.load("other_source").rows)
    func anAddressIsLeftForATime(row: TruthTable.Row) throws {
        func minute(_ text: some StringProtocol) -> Timestamp {
            Timestamp(milliseconds: Int64(((Double(text) ?? 0) * 60_000).rounded()))
        }
        let time = minute(try row.cell("time")).milliseconds
        let its = reaction("x", 1, 1, .otherSource(time))
        let slope = try #require(its.slope)
        let again = try row.cell("again").split(separator: ",").filter { $0 != "-" }.map { minute($0) }
        let now = minute(try row.cell("at"))
        var left = Slowing(its, of: .laneFrom("a.test", "192.0.2.1"), from: 1, said: "550", at: minute("0"))
        for second in stride(from: Int64(1000), through: now.milliseconds, by: 1000) {
            let wall = Timestamp(milliseconds: second)
            if again.contains(wall) { _ = left?.lower(its, said: "550", at: wall) }
            if left?.step(slope, at: wall) == true { left = nil }
        }
        #expect((left != nil) == (try row.cell("left") == "yes"))
        let until = try row.cell("until")
        #expect(left?.over(LimitTerms()).avoidedUntil == (until == "-" ? nil : minute(until)))
        #expect(left?.rate == nil && left?.text ?? "\(time / 1000)s" == "\(time / 1000)s")
    }

    @Test func aLaneIsSlowedAndComesBack() throws {
        var scheduler = Scheduler(.init(total: 100, perLane: 20, longestRest: 60_000))
        var rules = LimitRules()
        let busy = reaction("busy", 1, 10_000, .slow(Slope(left: 50, floor: 60, step: 25, every: 60_000)))
        rules.add(busy)
        scheduler.set(rules, at: uptime(0))
        let lane = Lane.domain(Domain(unchecked: "a.test"))
        for number in 0..<2000 { scheduler.add(Ticket(UInt32(number)), to: lane, due: uptime(0), at: uptime(0)) }
        func send(from begin: Int64, to end: Int64) -> Int {
            var count = 0
            for time in stride(from: begin, to: end, by: 100) {
                guard case .carry(let ticket) = scheduler.next(for: lane, carried: 1, held: 0, at: uptime(time)) else {
                    continue
                }
                scheduler.sent(ticket, at: uptime(time))
                count += 1
            }
            return count
        }
        #expect(send(from: 0, to: 60_000) == 600)
        let slowing = scheduler.slow(busy, .lane("a.test"), from: lane, said: "421 slow down", at: uptime(60_000))
        #expect(slowing?.text == "300/m" && slowing?.baseText == "600/m")
        #expect(scheduler.slow(busy, .lane("a.test"), from: lane, said: "421", at: uptime(60_500)) == nil, "one reply")
        let standing = scheduler.standing(of: scheduler.scopes(of: lane), at: uptime(60_001))
        #expect(
            standing.limits.first { $0.key == .rate && $0.applies }?.words == "rate 300/m of lane a.test (limits.ini:1)"
        )
        #expect(send(from: 60_500, to: 119_700) == 0, "what went in the last minute counts against it")
        #expect(scheduler.recover(at: uptime(121_000)).isEmpty)
        #expect(scheduler.slowings.values.map(\.text) == ["450/m"])
        #expect((440...460).contains(send(from: 121_000, to: 181_000)))
        #expect(scheduler.recover(at: uptime(300_000)).map(\.scope) == [.lane("a.test")])
        #expect(scheduler.slowings.isEmpty && send(from: 300_000, to: 301_000) == 10)
    }

    @Test func aSenderIsSlowedAndOthersPass() throws {
        var scheduler = Scheduler(.init(total: 100, perLane: 20, longestRest: 60_000))
        var rules = LimitRules()
        let slow = reaction("slow", 1, 10_000, .slow(Slope(left: 10, floor: 1, step: 1, every: 60_000)))
        rules.add(slow)
        scheduler.set(rules, at: uptime(0))
        let lane = Lane.domain(Domain(unchecked: "a.test"))
        let scope = LimitScope.senderTo("bad.test", "a.test")
        #expect(scheduler.slow(slow, scope, from: lane, said: "421", at: uptime(0))?.level == 1)
        for number in 0..<40 {
            let ticket = Ticket(UInt32(number))
            scheduler.add(ticket, to: lane, due: uptime(0), at: uptime(0))
            let sender = number % 2 == 0 ? "x@bad.test" : "x@good.test"
            let envelope = Envelope(sender: .address(try #require(EmailAddress(sender))), recipients: [])
            #expect(scheduler.wantsLook(ticket))
            scheduler.look(ticket, envelope, domain: nil)
            scheduler.placeAgain(ticket)
        }
        var taken: [UInt32] = []
        while case .carry(let ticket) = scheduler.next(for: lane, carried: 1, held: 0, at: uptime(1)) {
            scheduler.sent(ticket, at: uptime(1))
            taken.append(ticket.number)
        }
        #expect(taken.count == 21 && taken.filter { $0 % 2 == 0 }.count == 1)
    }

    @Test func whatIsHeldDownIsKeptOverARestart() throws {
        let files = LimitFiles(in: "/data", MemoryDisk())
        let its = reaction("busy", 1, 1, .slow(Slope()))
        let scope = LimitScope.senderTo("s.test", "a.test")
        let slowing = try #require(Slowing(its, of: scope, from: 600, said: "421 a b", at: Timestamp(milliseconds: 5)))
        try files.save([slowing])
        #expect(files.slowings() == [slowing])
    }

    @Test func whatIsAnsweredSoIsBouncedOrWaits() {
        let queue = MailQueue(
            store: MemoryStore(),
            disk: NIOThreadPool(numberOfThreads: 1),
            memory: MemoryBudget(limit: 1),
            options: .init()
        ) { address, _ in .domain(address.domain) }
        var rules = LimitRules()
        rules.add(reaction("no", 2, 10_000, .bounce))
        queue.apply(rules)
        let lane = Lane.domain(Domain(unchecked: "a.test"))
        let deferred: [Outcome?] = [.deferred(failure(421)), nil, .deferred(failure(451))]
        #expect(queue.heard(deferred, from: lane, at: uptime(0)) == nil, "once is not enough")
        let reacted = queue.heard(deferred, from: lane, at: uptime(1))
        guard case .bounced(let failure)? = reacted?.outcomes[0] else {
            Issue.record("it is not bounced")
            return
        }
        #expect(failure.reply.description == "521 no (not tried again: reaction no, limits.ini:1)")
        #expect(reacted?.outcomes[1] == nil && reacted?.outcomes[2] == deferred[2])
        #expect(queue.heard(deferred, from: lane, at: uptime(2)) != nil, "and the next one at once")
        var later = LimitRules()
        later.add(reaction("later", 1, 10_000, .delay(3_600_000)))
        queue.apply(later)
        let waits = queue.heard(deferred, from: lane, at: uptime(3))
        #expect(waits?.outcomes == deferred && waits?.delay == 3_600_000)
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
