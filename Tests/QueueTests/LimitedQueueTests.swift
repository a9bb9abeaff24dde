// LimitedQueueTests.swift — limits and pauses in the queue: every wait names its rule, parcels are split where a rule asks, mail
// that was filed before a pause is caught when its turn comes.

import Mail
import NIOCore
import NIOPosix
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Queue

@Suite struct LimitedQueueTests {
    private let wall = Timestamp.now()
    private let loop = MultiThreadedEventLoopGroup.singleton.any()

    /// Lanes of domains, but for those below `host`, which go through a smart host from an address.
    private func make(_ store: MemoryStore, options: MailQueue.Options = MailQueue.Options()) throws -> MailQueue {
        let disk = NIOThreadPool(numberOfThreads: 1)
        disk.start()
        let queue = MailQueue(store: store, disk: disk, memory: MemoryBudget(limit: 1 << 20), options: options) {
            address,
            _ in
            guard address.domain.name.hasSuffix(".host") else { return .domain(address.domain) }
            return Lane(.route("smart"), from: IPAddress("192.0.2.1").flatMap { Source([$0]) })
        }
        _ = try queue.recover(at: .now(), wall: wall)
        return queue
    }

    private func accept(_ number: UInt64, to: [String], _ queue: MailQueue, _ store: MemoryStore) throws {
        let sender = ReversePath.address(try #require(EmailAddress("x@s.test")))
        let recipients = try to.map { Recipient(try #require(EmailAddress($0))) }
        var envelope = Envelope(sender: sender, recipients: recipients)
        envelope.user = "app"
        envelope.notes.tag = "spring"
        let message = NewMessage(
            id: QueueID(rawValue: number),
            acceptedAt: wall,
            envelope: envelope,
            content: Content(
                prologue: ByteBuffer(),
                body: .memory(ByteBuffer(string: "x: y\r\n\r\nhello\r\n")),
                hasLeadingDots: false,
                isEightBit: false
            )
        )
        queue.memory.force(message.residentBytes)
        queue.accept(message, by: .smtp, on: loop) { _ in }
        store.commit()
    }

    private func carry(_ queue: MailQueue, _ lane: Lane) -> Assignment? {
        if case .carry(let assignment) = queue.next(for: lane, at: .now()) { return assignment }
        return nil
    }

    /// The same of a message that is on the disk alone.
    private func read(_ queue: MailQueue, _ lane: Lane) async -> Assignment? {
        var found: Assignment?
        _ = await eventually {
            found = found ?? carry(queue, lane)
            return found != nil
        }
        return found
    }

    private var smart: Lane { Lane(.route("smart"), from: IPAddress("192.0.2.1").flatMap { Source([$0]) }) }

    private func because(
        _ queue: MailQueue,
        _ number: UInt64
    ) throws -> (reasons: [WaitingReason], estimate: Timestamp?) {
        let report = try #require(try queue.show(QueueID(rawValue: number), at: .now(), wall: .now()))
        return (report.waitingBecause, report.estimatedSend)
    }

    /// One message is carried, the next one waits, and says for what.
    @Test(arguments: [
        "lane smart", "route smart", "source 192.0.2.1", "domain c.host", "sender s.test", "user app", "tag spring",
        "provider big",
    ])
    func everyLimitNamesItsRule(_ scope: String) throws {
        let store = MemoryStore()
        let queue = try make(store)
        let provider = LimitRules.Provider(name: "big", hosts: ["mx.big.test"])
        queue.apply(rules([(scope, { $0.rate = Rate(1, per: 3_600_000) })], scope == "provider big" ? [provider] : []))
        for number in UInt64(1)...2 { try accept(number, to: ["x@c.host"], queue, store) }
        queue.know(hosts: ["mx.big.test"], of: smart)
        #expect(carry(queue, smart) != nil)
        #expect(carry(queue, smart) == nil)
        let (reasons, estimate) = try because(queue, 2)
        let reason = try #require(reasons.first { $0.code == .limit })
        #expect(reason.rule == "rate 1/h of \(scope)" && reason.origin == "limits.ini:1")
        let until = try #require(reason.until)
        #expect(abs(reason.since.milliseconds(since: .now())) < 60_000, "since when")
        #expect((3_590_000...3_600_000).contains(until.milliseconds(since: .now())))
        #expect(estimate.map { abs($0.milliseconds(since: until)) < 1000 } ?? false)
        #expect(queue.counts.waiting == 1)
        queue.apply(LimitRules())
        #expect(carry(queue, smart) != nil, "what waited goes on when the rule is gone")
    }

    @Test(arguments: [
        "all", "lane smart", "route smart", "source 192.0.2.1", "domain c.host", "sender s.test", "user app",
        "tag spring", "provider big",
    ])
    func everyPauseNamesItself(_ name: String) async throws {
        let store = MemoryStore()
        let queue = try make(store)
        let provider = LimitRules.Provider(name: "big", hosts: ["mx.big.test"])
        queue.apply(rules([], [provider]))
        try accept(1, to: ["x@c.host"], queue, store)
        queue.know(hosts: ["mx.big.test"], of: smart)
        let scope = try #require(LimitScope(name))
        // Filed before: it is caught when its turn comes.
        #expect(queue.pause(Pause(scope, since: wall, reason: "ticket", by: "anna")))
        #expect(carry(queue, smart) == nil)
        try accept(2, to: ["x@c.host"], queue, store)
        #expect(queue.turn(at: .now()).connects.isEmpty && carry(queue, smart) == nil)
        for number in UInt64(1)...2 {
            let (reasons, estimate) = try because(queue, number)
            let reason = try #require(reasons.first)
            #expect(reason.code == .paused && reason.rule == "pause \(name)" && reason.since == wall)
            #expect(reason.text == "\(name) is paused by anna: ticket" && estimate == nil)
        }
        _ = queue.flush(nil, at: .now())
        #expect(queue.retry(QueueID(rawValue: 1)) == .unchanged)
        #expect(carry(queue, smart) == nil)
        #expect(queue.resume(scope, by: "anna") == true)
        #expect(queue.resume(scope, by: "anna") == nil)
        queue.keepLimits()
        #expect(await read(queue, smart)?.parcel.id.message == QueueID(rawValue: 1))
    }

    /// The waits that are no limit keep their words.
    @Test func otherWaitsAreToldBesideThem() throws {
        let store = MemoryStore()
        var options = MailQueue.Options()
        options.concurrencyMax = 1
        let queue = try make(store, options: options)
        queue.apply(rules([("lane *", { $0.connections = 1 })]))
        let lane = Lane.domain(Domain(unchecked: "a.test"))
        for number in UInt64(1)...3 { try accept(number, to: ["x@a.test"], queue, store) }
        #expect(queue.lanesWantingSessions(at: .now()) == [lane])
        _ = carry(queue, lane)
        var codes = try because(queue, 2).reasons.map(\.code)
        #expect(codes.contains(.limit) && codes.contains(.totalLimit))
        _ = try queue.hold([QueueID(rawValue: 2)], reason: "look")
        #expect(try because(queue, 2).reasons.map(\.code).contains(.held))
        #expect(try because(queue, 2).estimate == nil)
        queue.rest(lane, because: "421 no", at: .now())
        codes = try because(queue, 3).reasons.map(\.code)
        #expect(codes.contains(.laneRests))
        options.isDisabled = true
        queue.apply(options)
        #expect(try because(queue, 3).reasons.map(\.code).contains(.disabled))
    }

    /// Through a smart host one message may be for a domain that is paused and for one that is not.
    @Test func aMessageIsSplitWhereARuleAsks() throws {
        let store = MemoryStore()
        let queue = try make(store)
        let scope = LimitScope.domain("c.host")
        #expect(queue.pause(Pause(scope, since: wall, reason: "", by: "")))
        try accept(1, to: ["x@c.host", "y@d.host", "z@c.host"], queue, store)
        let first = try #require(carry(queue, smart))
        #expect(first.parcel.recipients == [1])
        queue.settle(first.parcel, done: [1], deferred: nil, at: .now(), wall: wall)
        #expect(carry(queue, smart) == nil)
        #expect(queue.resume(scope, by: nil) == true)
        let rest = try #require(carry(queue, smart))
        #expect(rest.parcel.recipients == [0, 2])
        queue.settle(rest.parcel, done: [0, 2], deferred: nil, at: .now(), wall: wall)
        #expect(queue.counts == QueueCounts())
    }

    @Test func recipientsOfATransactionAreBounded() throws {
        let store = MemoryStore()
        let queue = try make(store)
        queue.apply(rules([("lane *", { $0.recipients = 7 }), ("user app", { $0.recipients = 3 })]))
        try accept(1, to: (0..<5).map { "x\($0)@d.host" }, queue, store)
        #expect(carry(queue, smart)?.mostRecipients == 3)
    }

    /// What other rules would mean is what they mean when they are in force.
    @Test(arguments: [
        "lane smart", "route smart", "source 192.0.2.1", "domain c.host", "sender s.test", "sender s.test to smart",
        "user app", "tag spring", "provider big",
    ])
    func otherRulesAreLookedAt(_ scope: String) throws {
        let store = MemoryStore()
        let queue = try make(store)
        let provider = LimitRules.Provider(name: "big", hosts: ["mx.big.test"])
        let other = rules([(scope, { $0.rate = Rate(1, per: 3_600_000) })], [provider])
        try accept(1, to: ["x@c.host"], queue, store)
        queue.apply(rules([], [provider]))
        queue.know(hosts: ["mx.big.test"], of: smart)
        let row = try #require(try queue.show(QueueID(rawValue: 1))).row
        let outlooks = queue.outlooks(of: row, under: [LimitRules(), other])
        #expect(outlooks.map(\.words) == ["no limit", "rate 1/h of \(scope)"])
        #expect(outlooks.map(\.interval) == [nil, 3_600_000_000])
        queue.apply(other)
        try accept(2, to: ["x@c.host"], queue, store)
        #expect(carry(queue, smart) != nil && carry(queue, smart) == nil)
        #expect(try because(queue, 2).reasons.contains { $0.rule == outlooks[1].words })
    }
}
