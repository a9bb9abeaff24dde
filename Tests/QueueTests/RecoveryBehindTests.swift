// RecoveryBehindTests.swift — a queue that is used before everything of an earlier life is known.

import Files
import Mail
import NIOCore
import NIOPosix
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Queue

@Suite struct RecoveryBehindTests {
    private static let lane = Lane.domain(Domain(unchecked: "a.test"))
    private static let wall = Timestamp(milliseconds: 1_800_000_000_000)
    private static let count: UInt64 = 60

    private static func message(_ id: QueueID, domain: String = "a.test") -> NewMessage {
        NewMessage(
            id: id,
            acceptedAt: wall,
            envelope: Envelope(
                sender: .null,
                recipients: [Recipient(EmailAddress(local: "u", domain: Domain(unchecked: domain)))]
            ),
            content: Content(
                prologue: ByteBuffer(),
                body: .memory(ByteBuffer(string: String(repeating: "x: y\r\n", count: 80))),
                hasLeadingDots: false,
                isEightBit: false
            )
        )
    }

    private static func queue(_ disk: MemoryDisk, pool: NIOThreadPool) -> MailQueue {
        var options = Spool.Options()
        options.segmentSize = 16 << 10
        options.worksInBackground = false
        options.retryDelay = 0
        options.readPause = 0
        options.recoversBehind = true
        let spool = Spool(directory: "/data/queue", disk: disk, options: options) { _ in }
        return MailQueue(
            store: spool,
            disk: pool,
            memory: MemoryBudget(limit: 1 << 20),
            options: MailQueue.Options()
        ) { address, _ in .domain(address.domain) }
    }

    private static func accept(_ message: NewMessage, _ queue: MailQueue) async -> QueueError? {
        let done = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: QueueError?.self)
        queue.memory.force(message.residentBytes)
        queue.accept(message, by: .smtp, on: done.futureResult.eventLoop) { done.succeed($0) }
        return try? await done.futureResult.get()
    }

    /// Sixty messages, all of which were deferred for an hour, and a queue that has just been opened on them.
    private static func opened(_ body: (MailQueue, [QueueID], MemoryDisk) async throws -> Void) async throws {
        let disk = MemoryDisk()
        let pool = NIOThreadPool(numberOfThreads: 2)
        pool.start()
        var ids: [QueueID] = []
        do {
            let first = queue(disk, pool: pool)
            _ = try first.recover(at: .now(), wall: wall)
            for _ in 0..<count {
                let id = first.makeID(at: wall)
                ids.append(id)
                #expect(await accept(message(id), first) == nil)
            }
            for parcel in first.takeDue(in: lane, atMost: .max, at: .now()) {
                let deferral = Deferral(recipients: [0], delay: 3_600_000, reply: LastReply("451 later"))
                first.settle(parcel, done: [], deferred: deferral, at: .now(), wall: wall)
            }
            first.close()
        }
        let left = disk.afterKill()
        let second = queue(left, pool: pool)
        _ = try second.open(at: .now(), wall: wall)
        #expect(second.counts.messages == 0)
        #expect(second.recovery != nil)
        try await body(second, ids, left)
        second.close()
        try await pool.shutdownGracefully()
    }

    @Test func takesAndDeliversMailBeforeTheOthersAreKnown() async throws {
        try await Self.opened { queue, ids, _ in
            // The clock was set back: the id comes behind all others nevertheless.
            let id = queue.makeID(at: Timestamp(milliseconds: 1))
            #expect(ids.allSatisfy { $0 < id })
            #expect(await Self.accept(Self.message(id), queue) == nil)
            let parcel = try #require(queue.takeDue(in: Self.lane, atMost: 1, at: .now()).first)
            #expect(parcel.id.message == id)
            queue.settle(parcel, done: [0], deferred: nil, at: .now(), wall: Self.wall)
            #expect(queue.recoverRest(at: .now(), wall: Self.wall) == ids.count)
            #expect(queue.recovery == nil)
            #expect(queue.counts.tempFailed == ids.count)
            #expect(queue.counts.messages == ids.count)
        }
    }

    /// The oldest goes first in the end, although the newest was found first.
    @Test func whatIsDueStandsInTheOrderOfItsAge() async throws {
        try await Self.opened { queue, ids, _ in
            queue.flush(nil, at: .now())
            _ = queue.recoverRest(at: .now(), wall: Self.wall)
            #expect(queue.counts.waiting == ids.count, "the flush was for them, too")
            #expect(queue.takeDue(in: Self.lane, atMost: .max, at: .now()).map(\.id.message) == ids)
        }
    }

    @Test func aFlushOfOneLaneIsForItsMailAlone() async throws {
        try await Self.opened { queue, ids, _ in
            queue.flush(.domain(Domain(unchecked: "other.test")), at: .now())
            _ = queue.recoverRest(at: .now(), wall: Self.wall)
            #expect(queue.counts.tempFailed == ids.count)
        }
    }

    /// Whoever asks waits, and hears what would have been said without the wait.
    @Test func commandsAndListingsSeeTheWholeQueue() async throws {
        try await Self.opened { queue, ids, left in
            async let held = queue.onDisk { try? queue.hold([ids[3]], reason: "look", wall: Self.wall) }
            async let listed = queue.onDisk { try? queue.list(QueueFilter(), limit: 1000, wall: Self.wall).total }
            async let removed = queue.remove(ids[5], withReport: false, reason: "gone")
            async let shown = queue.onDisk { (try? queue.show(ids[7]))?.row.id }
            _ = queue.recoverRest(at: .now(), wall: Self.wall)
            #expect(await held == [.done])
            #expect(await removed == .done)
            #expect(await shown == ids[7])
            let total = try #require(await listed ?? nil)
            #expect((ids.count - 1...ids.count).contains(total))
            #expect(queue.counts.held == 1)
            #expect(queue.retry(QueueID(rawValue: 1)) == .notFound)
            queue.close()
            let pool = NIOThreadPool(numberOfThreads: 1)
            let third = Self.queue(left.afterKill(), pool: pool)
            _ = try third.recover(at: .now(), wall: Self.wall)
            #expect(third.counts.messages == ids.count - 1)
            #expect(third.counts.held == 1)
            third.close()
        }
    }

    @Test func aBulkActionIsPlannedOverEverything() async throws {
        try await Self.opened { queue, ids, _ in
            let bulk = BulkActions(queue)
            async let plan = queue.onDisk { bulk.plan(.retry, QueueFilter(), wall: Self.wall).matched }
            _ = queue.recoverRest(at: .now(), wall: Self.wall)
            #expect(await plan == ids.count)
        }
    }

    /// A hold of a message that is found later, one of a message that is gone, and one of a message that is to come.
    @Test func holdsAreKeptUntilItIsKnownWhoseTheyAre() async throws {
        try await Self.opened { queue, ids, left in
            _ = queue.recoverRest(at: .now(), wall: Self.wall)
            _ = try queue.hold([ids[0]], reason: "kept", wall: Self.wall)
            queue.close()
            let pool = NIOThreadPool(numberOfThreads: 1)
            pool.start()
            let again = left.afterKill()
            let gone = Hold(since: Self.wall, reason: "gone")
            let spool = Spool(directory: "/data/queue", disk: again) { _ in }
            var list = spool.savedHolds()
            list[QueueID(rawValue: 77)] = gone
            try spool.save(list)
            let third = Self.queue(again, pool: pool)
            _ = try third.open(at: .now(), wall: Self.wall)
            let coming = third.makeID(at: Self.wall)
            try third.hold(arriving: [coming], Hold(since: Self.wall, reason: "later"))
            _ = third.recoverRest(at: .now(), wall: Self.wall)
            #expect(third.counts.held == 1)
            #expect(await Self.accept(Self.message(coming), third) == nil)
            #expect(third.counts.held == 2)
            #expect(third.state.withLock { $0.holds.all.keys.contains(QueueID(rawValue: 77)) } == false)
            third.close()
            try await pool.shutdownGracefully()
        }
    }

    /// A relay that is stopped before it knows everything leaves all of it for the next start.
    @Test func isStoppedInTheMiddle() async throws {
        try await Self.opened { queue, ids, left in
            let id = queue.makeID(at: Self.wall)
            #expect(await Self.accept(Self.message(id), queue) == nil)
            async let rest = queue.onDisk { queue.recoverRest(at: .now(), wall: Self.wall) }
            queue.close()
            _ = await rest
            let pool = NIOThreadPool(numberOfThreads: 1)
            let third = Self.queue(left.afterKill(), pool: pool)
            _ = try third.recover(at: .now(), wall: Self.wall)
            #expect(third.counts.messages == ids.count + 1)
            third.close()
        }
    }
}
