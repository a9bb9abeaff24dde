// PreparationTests.swift — parcels that plugins are asked about first: once, fairly, never lost.

import Mail
import NIOCore
import NIOPosix
import Storage
import TestSupport
import Testing

@testable import Queue

@Suite struct PreparationTests {
    private let now = Uptime(milliseconds: 1_000_000)
    private let wall = Timestamp(milliseconds: 1_800_000_000_000)
    private let a = Lane.domain(Domain(unchecked: "a.test"))

    private func make(_ store: MemoryStore = MemoryStore(), prepares: Bool = true) throws -> MailQueue {
        let queue = MailQueue(
            store: store,
            disk: NIOThreadPool(numberOfThreads: 1),
            memory: MemoryBudget(limit: 1 << 20),
            options: MailQueue.Options()
        ) { address, _ in .domain(address.domain) }
        if prepares { #expect(queue.setPreparing(true)) }
        _ = try queue.recover(at: now, wall: wall)
        return queue
    }

    private func accept(_ number: UInt64, to: [String], _ queue: MailQueue, _ store: MemoryStore) throws {
        let recipients = try to.map { Recipient(try #require(EmailAddress($0))) }
        let message = NewMessage(
            id: QueueID(rawValue: number),
            acceptedAt: wall,
            envelope: Envelope(sender: .null, recipients: recipients),
            content: Content(
                prologue: ByteBuffer(),
                body: .memory(ByteBuffer(string: "x: y\r\n\r\nhello\r\n")),
                hasLeadingDots: false,
                isEightBit: false
            )
        )
        queue.memory.force(message.residentBytes)
        queue.accept(message, by: .smtp, on: MultiThreadedEventLoopGroup.singleton.any()) { _ in }
        store.commit()
    }

    @Test func aParcelIsHandedOutOnceAndEntersTheLaneItIsGiven() throws {
        let store = MemoryStore()
        let queue = try make(store)
        try accept(1, to: ["x@a.test", "y@a.test"], queue, store)
        #expect(queue.lanesWantingSessions(at: .now()).isEmpty)
        let parcels = queue.takeToPrepare(at: .now())
        #expect(parcels.map(\.recipients) == [[0, 1]])
        #expect(queue.takeToPrepare(at: .now()).isEmpty)
        #expect(queue.counts.inProgress == 1)
        queue.prepared(parcels[0], at: .now()) { _ in .route("elsewhere") }
        #expect(queue.counts.inProgress == 0)
        #expect(queue.lanesWantingSessions(at: .now()) == [.route("elsewhere")])
        // A second word about the same parcel is ignored.
        queue.prepared(parcels[0], at: .now()) { _ in .route("twice") }
        #expect(queue.counts.waiting == 1)
    }

    @Test func recipientsThatGoDifferentWaysBecomeParcelsOfTheirOwn() throws {
        let store = MemoryStore()
        let queue = try make(store)
        try accept(1, to: ["x@a.test", "y@a.test", "z@a.test"], queue, store)
        let parcel = try #require(queue.takeToPrepare(at: .now()).first)
        queue.prepared(parcel, at: .now()) { $0 == 1 ? .route("b") : .route("a") }
        #expect(queue.counts.waiting == 2)
        #expect(Set(queue.lanesWantingSessions(at: .now())) == [.route("a"), .route("b")])
    }

    @Test func domainsTakeTurns() throws {
        let store = MemoryStore()
        let queue = try make(store)
        for number in UInt64(0)..<200 { try accept(number, to: ["x@busy.test"], queue, store) }
        try accept(500, to: ["x@quiet.test"], queue, store)
        let parcels = queue.takeToPrepare(at: .now())
        #expect(parcels.count == 64)
        #expect(parcels[1].id.message == QueueID(rawValue: 500))
    }

    @Test func noMoreAreInPreparationThanMayBe() throws {
        let store = MemoryStore()
        let queue = try make(store)
        for number in UInt64(0)..<100 { try accept(number, to: ["x@a.test"], queue, store) }
        let parcels = queue.takeToPrepare(at: .now())
        #expect(parcels.count == 64)
        #expect(queue.takeToPrepare(at: .now()).isEmpty)
        queue.prepared(parcels[0], at: .now()) { _ in a }
        queue.settle(parcels[1], done: [0], deferred: nil, at: .now(), wall: wall)
        #expect(queue.takeToPrepare(at: .now()).count == 2)
    }

    @Test func aDelayIsNoFailureAndSurvivesARestart() throws {
        let store = MemoryStore()
        let queue = try make(store)
        try accept(1, to: ["x@a.test"], queue, store)
        let parcel = try #require(queue.takeToPrepare(at: .now()).first)
        let delay = Deferral(
            recipients: [0],
            delay: 7_200_000,
            reply: LastReply("a plugin asked"),
            kind: .asked
        )
        queue.settle(parcel, done: [], deferred: delay, at: .now(), wall: wall)
        #expect(queue.counts.tempFailed == 1)
        guard case .state(_, let state)? = store.records.last else {
            Issue.record("nothing was noted")
            return
        }
        #expect(state.waiting.map(\.failures) == [0])
        let recovered = RecoveredMessage(
            id: QueueID(rawValue: 1),
            acceptedAt: wall,
            location: Location(number: 1),
            envelope: Envelope(sender: .null, recipients: [Recipient(try #require(EmailAddress("x@a.test")))]),
            size: 1,
            state: state
        )
        let next = try make(MemoryStore(recovered: [recovered]))
        #expect(next.counts.tempFailed == 1)
        #expect(next.nextWakeup == now.adding(milliseconds: 7_200_000))
        #expect(next.takeToPrepare(at: now.adding(milliseconds: 7_199_999)).isEmpty)
        #expect(next.takeToPrepare(at: now.adding(milliseconds: 7_200_000)).map(\.failures) == [0])
    }

    @Test func afterAFailureAParcelIsPreparedAgain() throws {
        let store = MemoryStore()
        let queue = try make(store)
        try accept(1, to: ["x@a.test"], queue, store)
        let parcel = try #require(queue.takeToPrepare(at: now).first)
        queue.prepared(parcel, at: now) { _ in a }
        _ = queue.lanesWantingSessions(at: now)
        guard case .carry(let assignment) = queue.next(for: a, at: now) else {
            Issue.record("nothing to carry")
            return
        }
        let deferral = Deferral(recipients: [0], delay: 64_000, reply: LastReply("450 later"))
        queue.settle(assignment.parcel, done: [], deferred: deferral, at: now, wall: wall)
        let later = now.adding(milliseconds: 64_000)
        #expect(queue.lanesWantingSessions(at: later).isEmpty)
        #expect(queue.takeToPrepare(at: later).map(\.failures) == [1])
    }

    @Test func withoutPluginsThatAreAskedParcelsGoStraightToTheirLane() throws {
        let store = MemoryStore()
        let queue = try make(store, prepares: false)
        try accept(1, to: ["x@a.test"], queue, store)
        #expect(queue.takeToPrepare(at: .now()).isEmpty)
        #expect(queue.lanesWantingSessions(at: .now()) == [a])
    }

    @Test func nothingIsPreparedWhileDeliveryIsDisabled() throws {
        let store = MemoryStore()
        let queue = try make(store)
        try accept(1, to: ["x@a.test"], queue, store)
        var options = MailQueue.Options()
        options.isDisabled = true
        queue.apply(options)
        #expect(queue.takeToPrepare(at: .now()).isEmpty)
        queue.apply(MailQueue.Options())
        #expect(queue.takeToPrepare(at: .now()).count == 1)
    }
}
