// WaitingReasonTests.swift — every wait that there is, brought about one by one: each says its rule, where that stands, since when
// and what ends it.

import Mail
import NIOCore
import NIOPosix
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Queue

@Suite struct WaitingReasonTests {
    private let wall = Timestamp.now()
    private let loop = MultiThreadedEventLoopGroup.singleton.any()
    private let lane = Lane.domain(Domain(unchecked: "a.test"))
    private let id = QueueID(rawValue: 2)

    /// What a wait has to say.
    private struct Expected {
        let rule: String
        let origin: String
        /// Seconds from now until it ends; nil: nobody knows.
        var ends: ClosedRange<Int64>?
    }

    private struct House {
        let queue: MailQueue
        let store: MemoryStore
    }

    /// Each key of `outbound.ini` in a line of its own.
    private func options() -> MailQueue.Options {
        var options = MailQueue.Options()
        options.origins = [
            "disabled": "outbound.ini:1", "concurrency_max": "outbound.ini:2", "concurrency_per_lane": "outbound.ini:3",
            "temp_fail_intervals": "outbound.ini:4", "lane_rest_max": "outbound.ini:5",
            "bounce_grace": "outbound.ini:6",
        ]
        return options
    }

    private func make(_ options: MailQueue.Options, prepares: Bool = false) throws -> House {
        let disk = NIOThreadPool(numberOfThreads: 1)
        disk.start()
        let store = MemoryStore()
        let memory = MemoryBudget(limit: 1 << 20)
        let queue = MailQueue(store: store, disk: disk, memory: memory, options: options) { address, _ in
            .domain(address.domain)
        }
        _ = try queue.recover(at: .now(), wall: wall)
        if prepares { _ = queue.setPreparing(true) }
        return House(queue: queue, store: store)
    }

    private func accept(_ house: House, _ number: UInt64 = 2) throws {
        let sender = ReversePath.address(try #require(EmailAddress("x@s.test")))
        let recipients = [Recipient(try #require(EmailAddress("x@a.test")))]
        let message = NewMessage(
            id: QueueID(rawValue: number),
            acceptedAt: wall,
            envelope: Envelope(sender: sender, recipients: recipients),
            content: Content(
                prologue: ByteBuffer(),
                body: .memory(ByteBuffer(string: "x: y\r\n\r\nhello\r\n")),
                hasLeadingDots: false,
                isEightBit: false
            )
        )
        house.queue.memory.force(message.residentBytes)
        house.queue.accept(message, by: .smtp, on: loop) { _ in }
        house.store.commit()
    }

    /// Makes the message wait for this.
    ///
    /// A new wait does not compile before it is brought about here.
    private func bring(_ code: WaitingReason.Code) throws -> (House, Expected) {
        var options = options()
        switch code {
        case .retryTimer:
            let house = try make(options)
            try accept(house)
            guard case .carry(let assignment) = house.queue.next(for: lane, at: .now()) else { break }
            let reply = LastReply("450 later", reason: .other, host: "mx")
            let deferral = Deferral(recipients: [0], delay: 60_000, reply: reply)
            house.queue.settle(assignment.parcel, done: [], deferred: deferral, at: .now(), wall: .now())
            return (house, Expected(rule: "temp_fail_intervals", origin: "outbound.ini:4", ends: 50...60))
        case .laneRests:
            options.laneRestMax = 60
            let house = try make(options)
            try accept(house)
            house.queue.rest(lane, because: "421 no", at: .now())
            return (house, Expected(rule: "lane_rest_max", origin: "outbound.ini:5", ends: -600...1))
        case .laneLimit, .totalLimit:
            if code == .laneLimit { options.concurrencyPerLane = 1 } else { options.concurrencyMax = 1 }
            let house = try make(options)
            for number in UInt64(1)...2 { try accept(house, number) }
            #expect(house.queue.lanesWantingSessions(at: .now()) == [lane])
            _ = house.queue.next(for: lane, at: .now())
            let isLane = code == .laneLimit
            let rule = isLane ? "concurrency_per_lane" : "concurrency_max"
            return (house, Expected(rule: rule, origin: isLane ? "outbound.ini:3" : "outbound.ini:2"))
        case .disabled:
            let house = try make(options)
            try accept(house)
            options.isDisabled = true
            house.queue.apply(options)
            return (house, Expected(rule: "disabled", origin: "outbound.ini:1"))
        case .held:
            let house = try make(options)
            try accept(house)
            _ = try house.queue.hold([id], reason: "look", until: wall.adding(milliseconds: 600_000))
            return (house, Expected(rule: "hold", origin: "queue/holds", ends: 0...600))
        case .dying:
            options.bounceGrace = 600
            let house = try make(options)
            try accept(house)
            let hold = try #require(house.queue.graceHold(because: "wrong list", at: .now()))
            #expect(try house.queue.hold([id], hold).map(\.result) == [.done])
            return (house, Expected(rule: "bounce_grace", origin: "outbound.ini:6", ends: 500...600))
        case .sessionSlot:
            let house = try make(options)
            try accept(house)
            return (house, Expected(rule: "concurrency_per_lane", origin: "outbound.ini:3"))
        case .plugins:
            let house = try make(options, prepares: true)
            try accept(house)
            return (house, Expected(rule: "queue_outbound", origin: "hooks.ini"))
        case .lease:
            let house = try make(options)
            try accept(house)
            house.queue.mayBegin(until: Uptime.now().adding(milliseconds: -1))
            return (house, Expected(rule: "lease", origin: "storage.ini"))
        case .limit:
            let house = try make(options)
            house.queue.apply(rules([("lane a.test", { $0.rate = Rate(1, per: 3_600_000) })]))
            for number in UInt64(1)...2 { try accept(house, number) }
            for _ in 1...2 { _ = house.queue.next(for: lane, at: .now()) }
            return (house, Expected(rule: "rate 1/h of lane a.test", origin: "limits.ini:1", ends: 3000...3600))
        case .paused:
            let house = try make(options)
            try accept(house)
            let end = wall.adding(milliseconds: 600_000)
            #expect(house.queue.pause(Pause(.all, since: wall, until: end, reason: "ticket", by: "anna")))
            return (house, Expected(rule: "pause all", origin: "pauses", ends: 0...600))
        }
        throw Missing()
    }

    private struct Missing: Error {}

    @Test(arguments: WaitingReason.Code.allCases)
    func everyWaitSaysWhatKeepsItAndSinceWhen(_ code: WaitingReason.Code) throws {
        let start = Timestamp.now().adding(milliseconds: -1)
        let (house, expected) = try bring(code)
        let now = Timestamp.now()
        let report = try #require(try house.queue.show(id, at: .now(), wall: now))
        let reason = try #require(report.waitingBecause.first { $0.code == code }, "\(report.waitingBecause)")
        #expect(reason.rule == expected.rule && reason.origin == expected.origin)
        #expect(!reason.text.isEmpty && !reason.ends.isEmpty)
        // Times of day are kept in seconds where attempts are concerned.
        #expect(reason.since >= start.adding(milliseconds: -2000) && reason.since <= now)
        guard let ends = expected.ends else {
            #expect(reason.until == nil)
            return
        }
        let until = try #require(reason.until)
        #expect(ends.contains(until.milliseconds(since: now) / 1000), "\(until)")
    }

    /// Who put a parcel off is told in the place of our own intervals, also of the part of it that takes another way.
    @Test func aDeferralOfAReactionNamesIt() throws {
        let house = try make(options())
        try accept(house)
        guard case .carry(let assignment) = house.queue.next(for: lane, at: .now()) else {
            Issue.record("nothing to carry")
            return
        }
        let reply = LastReply("450 later", reason: .other, host: "mx")
        var deferral = Deferral(recipients: [0], delay: 60_000, reply: reply)
        deferral.rule = WaitRule("reaction wait", in: "limits.ini:4")
        house.queue.settle(assignment.parcel, done: [], deferred: deferral, at: .now(), wall: .now())
        let reason = try #require(try house.queue.show(id)?.waitingBecause.first)
        #expect(reason.code == .retryTimer && reason.rule == "reaction wait" && reason.origin == "limits.ini:4")
        _ = house.queue.retry(id)
        #expect(try house.queue.show(id)?.waitingBecause.first?.code == .sessionSlot)
    }

    /// What nobody set is told by the file that would set it.
    @Test func aDefaultIsToldWithoutALine() throws {
        let house = try make(MailQueue.Options())
        try accept(house)
        let reasons = try #require(try house.queue.show(id)).waitingBecause
        #expect(reasons.map(\.origin) == ["outbound.ini"])
    }
}
