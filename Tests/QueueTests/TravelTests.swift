// TravelTests.swift — a message that goes to another relay and one that comes from there: held by marks, ended and begun once.

import Mail
import NIOCore
import NIOPosix
import Storage
import TestSupport
import Testing

@testable import Queue

@Suite struct TravelTests {
    private let now = Uptime(milliseconds: 1_000_000)
    private let wall = Timestamp(milliseconds: 1_800_000_000_000)
    private let lane = Lane.domain(Domain(unchecked: "a.test"))
    private let store = MemoryStore()

    private func make() throws -> MailQueue {
        let queue = MailQueue(
            store: store,
            disk: NIOThreadPool(numberOfThreads: 1),
            memory: MemoryBudget(limit: 1 << 20),
            options: MailQueue.Options()
        ) { address, _ in .domain(address.domain) }
        _ = try queue.recover(at: now, wall: wall)
        return queue
    }

    private func message(_ number: UInt64, recipients count: Int = 1) throws -> NewMessage {
        let recipients = try (0..<count).map { Recipient(try #require(EmailAddress("r\($0)@a.test"))) }
        return NewMessage(
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
    }

    private func accept(_ message: NewMessage, _ queue: MailQueue) {
        queue.memory.force(message.residentBytes)
        queue.accept(message, by: .smtp, on: MultiThreadedEventLoopGroup.singleton.any()) { _ in }
        store.commit()
    }

    private func packed(_ answer: LeaveAnswer) -> PackedMessage? {
        if case .packed(let packed) = answer { packed } else { nil }
    }

    private func isElsewhere(_ answer: LeaveAnswer, _ peer: String) -> Bool {
        if case .elsewhere(let other) = answer { other == peer } else { false }
    }

    private func isInFlight(_ answer: LeaveAnswer) -> Bool { if case .inFlight = answer { true } else { false } }

    @Test func aMarkIsWrittenAndHoldsUntilItsEndIsSaid() throws {
        let queue = try make()
        let id = QueueID(rawValue: 1)
        accept(try message(1), queue)
        _ = try queue.hold([id], reason: "look", until: wall.adding(milliseconds: 9))
        let found = try #require(packed(try queue.depart(id, to: "there:1", wall: wall)))
        #expect(found.hold?.reason == "look" && found.hold?.until == wall.adding(milliseconds: 9))
        #expect(store.savedHolds()[id]?.destination == "there:1")
        // Its time does not let it go.
        queue.releaseDue(at: now, wall: wall.adding(milliseconds: 60_000))
        #expect(queue.counts.held == 1)
        #expect(packed(try queue.depart(id, to: "there:1"))?.hold == found.hold)
        #expect(isElsewhere(try queue.depart(id, to: "other:1"), "there:1"))
        #expect(try queue.departed(id, to: "other:1") == .held)
        #expect(try queue.stay(id, insteadOf: "other:1") == .unchanged)
        #expect(try queue.stay(id, insteadOf: "there:1") == .done)
        #expect(store.savedHolds()[id]?.reason == "look")
        #expect(try queue.release([id]) == [.done])
        #expect(try queue.departed(id, to: "there:1") == .held)
        _ = try queue.depart(id, to: "there:1")
        #expect(try queue.departed(id, to: "there:1") == .done)
        #expect(store.records.last == .settled(id))
        #expect(queue.counts == QueueCounts())
        #expect(try queue.departed(id, to: "there:1") == .notFound)
    }

    @Test func whatASessionHasIsMarkedAndNotGiven() throws {
        let queue = try make()
        let id = QueueID(rawValue: 1)
        accept(try message(1, recipients: 2), queue)
        let parcel = try #require(queue.takeDue(in: lane, atMost: 1, at: now).first)
        #expect(isInFlight(try queue.depart(id, to: "there:1")))
        #expect(try queue.departed(id, to: "there:1") == .inFlight)
        let later = Deferral(recipients: [1], delay: 60_000, reply: LastReply("451 later"))
        queue.settle(parcel, done: [0], deferred: later, at: now, wall: wall)
        #expect(queue.counts.held == 1)
        let found = try #require(packed(try queue.depart(id, to: "there:1", wall: wall)))
        #expect(found.state.done == [0])
        #expect(found.state.waiting.map(\.recipients) == [[1]])
        #expect(found.state.waiting.first?.reply?.text == "451 later")
    }

    @Test func aMarkThatCannotBeWrittenIsNone() throws {
        let queue = try make()
        accept(try message(1), queue)
        store.failHolds()
        #expect(throws: QueueError.self) { try queue.depart(QueueID(rawValue: 1), to: "there:1") }
        #expect(queue.counts.held == 0 && queue.counts.waiting == 1)
    }

    @Test func whatArrivesIsHeldUntilItIsWrittenDown() async throws {
        let queue = try make()
        let id = QueueID(rawValue: 1 << 20)
        let known = DeliveryState(
            waiting: [
                DeliveryState.Group(
                    recipients: [1],
                    failures: 3,
                    due: wall,
                    reply: LastReply("451 later"),
                    attemptedAt: wall
                )
            ],
            done: [0],
            notedAt: wall
        )
        #expect(try queue.name(for: id, "f1") == .free(id))
        try queue.hold(arriving: [id], Hold.arriving("f1", at: wall), isTold: false)
        let message = try message(id.rawValue, recipients: 2)
        queue.memory.force(message.residentBytes)
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        async let error = queue.bring(message, known, on: loop)
        while queue.counts.messages == 0 {
            store.commit()
            await Task.yield()
        }
        #expect(await error == nil)
        #expect(queue.memory.used == 0)
        try queue.settleArrival(id, known, from: "here")
        #expect(store.records.last == .state(id, known))
        #expect(queue.counts.held == 1)
        #expect(queue.isArriving(id, "f1") && !queue.isArriving(id, "f2"))
        // Of its name there is one; the same again was here already, another one is called otherwise.
        #expect(try queue.name(for: id, "f1") == .halfway(id))
        guard case .free(let other) = try queue.name(for: id, "f2") else {
            Issue.record("no name for another message")
            return
        }
        #expect(other != id && other.rawValue >> 20 == id.rawValue >> 20)
        try queue.release(arrived: id, nil)
        #expect(queue.counts.held == 0 && queue.counts.messages == 1)
        #expect(store.savedHolds().isEmpty)
        #expect(packed(try queue.depart(id, to: "there:1", wall: wall))?.state.done == [0])
    }

    @Test func aNameThatIsNotUsedIsGivenBack() throws {
        let queue = try make()
        let id = QueueID(rawValue: 1 << 20)
        try queue.hold(arriving: [id], Hold.arriving("f1", at: wall), isTold: false)
        #expect(try queue.name(for: id, "f1") != .free(id))
        queue.giveBack(arriving: id)
        #expect(try queue.name(for: id, "f1") == .free(id))
        #expect(store.savedHolds().isEmpty)
        accept(try message(2), queue)
        queue.giveBack(arriving: QueueID(rawValue: 2))
        #expect(queue.counts.messages == 1)
    }

    @Test func aClosedQueueHasNoRoom() throws {
        let queue = try make()
        #expect(queue.hasRoom(for: 1))
        queue.isClosed = true
        #expect(!queue.hasRoom(for: 1))
        queue.isClosed = false
        #expect(queue.hasRoom(for: 1))
    }
}
