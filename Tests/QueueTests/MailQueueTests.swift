// MailQueueTests.swift — the index on a store in memory: acceptance, delivery, deferral, restart.

import Mail
import NIOCore
import NIOPosix
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Queue

@Suite struct MailQueueTests {
    private let now = Uptime(milliseconds: 1_000_000)
    private let wall = Timestamp(milliseconds: 1_800_000_000_000)
    private let a = Lane.domain(Domain(unchecked: "a.test"))
    private let b = Lane.domain(Domain(unchecked: "b.test"))

    private func make(
        _ store: MemoryStore,
        options: MailQueue.Options = MailQueue.Options(),
        threads: Int = 0
    ) throws -> MailQueue {
        let disk = NIOThreadPool(numberOfThreads: max(1, threads))
        if threads > 0 { disk.start() }
        let queue = MailQueue(store: store, disk: disk, memory: MemoryBudget(limit: 1 << 20), options: options) {
            address,
            _ in .domain(address.domain)
        }
        _ = try queue.recover(at: now, wall: wall)
        return queue
    }

    private func message(_ number: UInt64, to: [String]) throws -> NewMessage {
        let recipients = try to.map { Recipient(try #require(EmailAddress($0))) }
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

    private func accept(_ message: NewMessage, _ queue: MailQueue, _ store: MemoryStore) {
        queue.memory.force(message.residentBytes)
        queue.accept(message, by: .smtp, on: MultiThreadedEventLoopGroup.singleton.any()) { _ in }
        store.commit()
    }

    private func carry(_ queue: MailQueue, _ lane: Lane, at time: Uptime? = nil) -> Assignment? {
        if case .carry(let assignment) = queue.next(for: lane, at: time ?? .now()) { return assignment }
        return nil
    }

    @Test func answersOnlyAfterTheCommitAndOnTheLoop() async throws {
        let store = MemoryStore()
        let queue = try make(store)
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let message = try message(1, to: ["x@a.test"])
        queue.memory.force(message.residentBytes)
        let answered = loop.makePromise(of: QueueError?.self)
        queue.accept(message, by: .smtp, on: loop) { error in
            loop.preconditionInEventLoop()
            answered.succeed(error)
        }
        #expect(queue.counts.messages == 0)
        #expect(carry(queue, a) == nil)
        store.commit()
        #expect(try await answered.futureResult.get() == nil)
        #expect(queue.counts.messages == 1)
    }

    @Test func failedCommitReachesTheCallerAndFreesItsMemory() async throws {
        let store = MemoryStore()
        let queue = try make(store)
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let message = try message(1, to: ["x@a.test"])
        queue.memory.force(message.residentBytes)
        let answered = loop.makePromise(of: QueueError?.self)
        queue.accept(message, by: .smtp, on: loop) { answered.succeed($0) }
        store.commit(.full("no space"))
        #expect(try await answered.futureResult.get() == .full("no space"))
        #expect(queue.memory.used == 0)
        #expect(queue.counts.messages == 0)
    }

    @Test func deliveredMessageIsSettledAndLeavesNoMemory() throws {
        let store = MemoryStore()
        let queue = try make(store)
        accept(try message(1, to: ["x@a.test", "y@a.test"]), queue, store)
        let assignment = try #require(carry(queue, a))
        #expect(assignment.parcel.recipients == [0, 1])
        queue.settle(assignment.parcel, done: [0, 1], deferred: nil, at: .now(), wall: wall)
        #expect(store.records.last == .settled(QueueID(rawValue: 1)))
        #expect(queue.counts == QueueCounts())
        #expect(queue.memory.used == 0)
    }

    @Test func mailBehindAHalfUsedBudgetWaitsWithoutItsBytes() async throws {
        let store = MemoryStore()
        let queue = try make(store, threads: 1)
        accept(try message(1, to: ["x@a.test"]), queue, store)
        let held = queue.memory.used
        #expect(held > 0)
        queue.memory.force(1 << 19)
        accept(try message(2, to: ["x@a.test"]), queue, store)
        #expect(queue.memory.used == held + 1 << 19)
        #expect(carry(queue, a)?.parcel.id.message == QueueID(rawValue: 1))
        #expect(try await untilLoaded(queue, a).parcel.id.message == QueueID(rawValue: 2))
        try await queue.disk.shutdownGracefully()
    }

    @Test func mailThatCannotGoNowWaitsWithoutItsBytes() throws {
        let store = MemoryStore()
        var options = MailQueue.Options()
        let queue = try make(store, options: options)
        accept(try message(1, to: ["x@a.test"]), queue, store)
        let held = queue.memory.used
        queue.rest(a, at: .now())
        accept(try message(2, to: ["x@a.test"]), queue, store)
        #expect(queue.memory.used == held)
        let third = try message(3, to: ["x@a.test", "x@b.test"])
        accept(third, queue, store)
        #expect(queue.memory.used == held + third.residentBytes)
        options.isDisabled = true
        queue.apply(options)
        accept(try message(4, to: ["x@b.test"]), queue, store)
        #expect(queue.memory.used == held + third.residentBytes)
    }

    @Test func recipientsOfTwoDomainsTravelApartAndTheMessageEndsWithTheLast() throws {
        let store = MemoryStore()
        let queue = try make(store)
        accept(try message(1, to: ["x@a.test", "y@b.test"]), queue, store)
        let (first, second) = (try #require(carry(queue, a)), try #require(carry(queue, b)))
        queue.settle(first.parcel, done: [0], deferred: nil, at: .now(), wall: wall)
        #expect(store.records.last == .state(QueueID(rawValue: 1), DeliveryState(done: [0], notedAt: wall)))
        queue.settle(second.parcel, done: [1], deferred: nil, at: .now(), wall: wall)
        #expect(store.records.last == .settled(QueueID(rawValue: 1)))
    }

    @Test func deferredRecipientsWaitAndTheRestIsDone() throws {
        let store = MemoryStore()
        let queue = try make(store)
        accept(try message(1, to: ["x@a.test", "y@a.test", "z@a.test"]), queue, store)
        let parcel = try #require(carry(queue, a)).parcel
        let time = Uptime.now()
        queue.settle(
            parcel,
            done: [1],
            deferred: Deferral(recipients: [0, 2], delay: 64_000, reply: LastReply("451 later")),
            at: time,
            wall: wall
        )
        let state = DeliveryState(
            waiting: [
                DeliveryState.Group(
                    recipients: [0, 2],
                    failures: 1,
                    due: wall.adding(milliseconds: 64_000),
                    reply: LastReply("451 later"),
                    attemptedAt: Timestamp(milliseconds: wall.milliseconds / 1000 * 1000)
                )
            ],
            done: [1],
            notedAt: wall
        )
        #expect(store.records.last == .state(QueueID(rawValue: 1), state))
        #expect(carry(queue, a, at: time.adding(milliseconds: 63_999)) == nil)
        #expect(queue.counts.tempFailed == 1)
        #expect(queue.memory.used == 0)
    }

    @Test func unreachedRecipientsAreDueAgainWithoutAFailure() throws {
        let store = MemoryStore()
        let queue = try make(store)
        accept(try message(1, to: ["x@a.test", "y@a.test"]), queue, store)
        let parcel = try #require(carry(queue, a)).parcel
        queue.settle(parcel, done: [0], deferred: nil, at: .now(), wall: wall)
        let again = try #require(carry(queue, a)).parcel
        #expect(again.recipients == [1] && again.failures == 0)
    }

    @Test func whatChangesTheNextLookWakesTheDispatcher() throws {
        let store = MemoryStore()
        let queue = try make(store)
        let wakes = Mutex(0)
        queue.setWake { wakes.withLock { $0 += 1 } }
        func woken(by action: () throws -> Void) rethrows -> Bool {
            let before = wakes.withLock { $0 }
            try action()
            return wakes.withLock { $0 } > before
        }
        for number in UInt64(1)...3 { accept(try message(number, to: ["x@a.test"]), queue, store) }
        let parcels = try (1...3).map { _ in try #require(carry(queue, a)).parcel }
        func deferred(_ parcel: Parcel, _ delay: Int64) {
            let deferral = Deferral(recipients: [0], delay: delay, reply: LastReply("busy"))
            queue.settle(parcel, done: [], deferred: deferral, at: .now(), wall: wall)
        }
        #expect(woken { deferred(parcels[0], 60_000) }, "the first to wait")
        #expect(woken { deferred(parcels[1], 30_000) }, "due before what waits already")
        #expect(!woken { deferred(parcels[2], 90_000) }, "due later: the timer stands")
        #expect(woken { queue.rest(a, at: .now()) })
        accept(try message(4, to: ["x@a.test"]), queue, store)
        for delay: Int64 in [0, 2000] {
            let later = Uptime.now().adding(milliseconds: delay)
            for lane in queue.turn(at: later).lookUps.map(\.lane) { #expect(woken { queue.lookedUp(lane) }) }
            for connect in queue.turn(at: later).connects {
                #expect(woken { queue.reached(connect.opening, at: later) })
                #expect(woken { _ = queue.sessionEnded(a, carried: 1, wasLeaving: false, looksOn: false) })
            }
        }
    }

    @Test func aDeferredMessageIsReadBackFromTheStore() async throws {
        let store = MemoryStore()
        let queue = try make(store, threads: 1)
        accept(try message(1, to: ["x@a.test"]), queue, store)
        let parcel = try #require(carry(queue, a)).parcel
        let deferral = Deferral(recipients: [0], delay: 0, reply: LastReply("busy"))
        queue.settle(parcel, done: [], deferred: deferral, at: .now(), wall: wall)
        let assignment = try await untilLoaded(queue, a)
        #expect(assignment.parcel.failures == 1)
        #expect(assignment.content.size > 0)
        queue.settle(assignment.parcel, done: [0], deferred: nil, at: .now(), wall: wall)
        #expect(queue.memory.used == 0)
        try await queue.disk.shutdownGracefully()
    }

    @Test func damagedMessageLeavesTheQueueAndTheNextIsDelivered() async throws {
        let store = MemoryStore(recovered: try [1, 2].map { try recovered($0, state: DeliveryState()) })
        store.put(try message(2, to: ["x@a.test"]))
        let queue = try make(store, threads: 1)
        #expect(queue.counts.messages == 2)
        let assignment = try await untilLoaded(queue, a)
        #expect(assignment.parcel.id.message == QueueID(rawValue: 2))
        #expect(queue.counts.messages == 1)
        try await queue.disk.shutdownGracefully()
    }

    @Test func restartKeepsWaitsFailuresAndDoneRecipients() throws {
        let group = DeliveryState.Group(
            recipients: [2],
            failures: 3,
            due: wall.adding(milliseconds: 100_000),
            reply: LastReply("451"),
            attemptedAt: Timestamp(milliseconds: wall.milliseconds / 1000 * 1000)
        )
        let state = DeliveryState(waiting: [group], done: [0])
        let store = MemoryStore(recovered: [try recovered(7, state: state, to: ["x@a.test", "y@a.test", "z@a.test"])])
        let queue = try make(store)
        #expect(queue.counts.waiting == 1 && queue.counts.tempFailed == 1)
        #expect(queue.nextWakeup == now.adding(milliseconds: 100_000))
        #expect(queue.makeID(at: Timestamp(milliseconds: 0)) > QueueID(rawValue: 7))
    }

    @Test func clockSetBackDoesNotStretchAWaitBeyondWhatItWasWhenItWasNoted() throws {
        let group = DeliveryState.Group(
            recipients: [0],
            failures: 1,
            due: wall.adding(milliseconds: 86_400_000),
            reply: LastReply("451"),
            attemptedAt: Timestamp(milliseconds: wall.milliseconds / 1000 * 1000)
        )
        let state = DeliveryState(waiting: [group], notedAt: wall.adding(milliseconds: 86_400_000 - 64_000))
        let store = MemoryStore(recovered: [try recovered(7, state: state)])
        let queue = try make(store)
        #expect(queue.nextWakeup == now.adding(milliseconds: 64_000))
    }

    @Test func takesAllDueParcelsOfADeadLane() throws {
        let store = MemoryStore()
        let queue = try make(store)
        for number in UInt64(1)...5 { accept(try message(number, to: ["x@a.test"]), queue, store) }
        let taken = queue.takeDue(in: a, atMost: 100, at: .now())
        #expect(taken.count == 5)
        #expect(queue.memory.used == 0)
        #expect(queue.takeDue(in: a, atMost: 100, at: .now()).isEmpty)
    }

    @Test func whatHappensDuringAMoveIsRecordedBehindTheCopy() async throws {
        let box = Mutex<(@Sendable () -> Void)?>(nil)
        let store = MemoryStore(duringMove: { _ in box.withLock { $0 }?() })
        let queue = try make(store, threads: 1)
        accept(try message(1, to: ["x@a.test"]), queue, store)
        accept(try message(2, to: ["x@b.test"]), queue, store)
        let parcel = try #require(carry(queue, a)).parcel
        let wall = wall
        box.withLock { $0 = { queue.settle(parcel, done: [0], deferred: nil, at: .now(), wall: wall) } }
        store.setSegmentToCompact(1)
        let other = try #require(carry(queue, b)).parcel
        queue.settle(
            other,
            done: [],
            deferred: Deferral(recipients: [0], delay: 9000, reply: LastReply("")),
            at: .now(),
            wall: wall
        )
        try await queue.disk.shutdownGracefully()
        #expect(store.moves.contains(QueueID(rawValue: 1)))
        let copy = try #require(store.records.lastIndex(of: .message(QueueID(rawValue: 1))))
        let settled = try #require(store.records.lastIndex(of: .settled(QueueID(rawValue: 1))))
        #expect(settled > copy)
        #expect(queue.counts.messages == 1)
    }

    @Test func reroutingMovesWaitingParcelsOnly() async throws {
        let route = Mutex("one")
        let store = MemoryStore()
        let queue = MailQueue(
            store: store,
            disk: NIOThreadPool(numberOfThreads: 1),
            memory: MemoryBudget(limit: 1 << 20),
            options: MailQueue.Options()
        ) { _, _ in .route(route.withLock { $0 }) }
        _ = try queue.recover(at: now, wall: wall)
        for number in UInt64(1)...2 { accept(try message(number, to: ["x@a.test"]), queue, store) }
        let flying = try #require(carry(queue, .route("one")))
        route.withLock { $0 = "two" }
        queue.reroute()
        #expect(carry(queue, .route("one")) == nil)
        #expect(try #require(carry(queue, .route("two"))).parcel.id.message == QueueID(rawValue: 2))
        queue.settle(flying.parcel, done: [0], deferred: nil, at: .now(), wall: wall)
        #expect(queue.counts.messages == 1)
    }

    private func recovered(
        _ number: UInt64,
        state: DeliveryState,
        to: [String] = ["x@a.test"]
    ) throws -> RecoveredMessage {
        RecoveredMessage(
            id: QueueID(rawValue: number),
            acceptedAt: wall,
            location: Location(number: number),
            envelope: try message(number, to: to).envelope,
            size: 10,
            state: state
        )
    }

    /// Asks until the disk pool has read the message; the wake-up is what a dispatcher would wait for.
    private func untilLoaded(_ queue: MailQueue, _ lane: Lane) async throws -> Assignment {
        let (wakes, signal) = AsyncStream.makeStream(of: Void.self)
        queue.setWake { signal.yield() }
        var iterator = wakes.makeAsyncIterator()
        while true {
            if let assignment = carry(queue, lane) { return assignment }
            _ = await iterator.next()
        }
    }
}
