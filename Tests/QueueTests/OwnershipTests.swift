// OwnershipTests.swift — mail of other nodes: filed once, taken out with nothing in flight, and nothing begun past the lease.

import Mail
import NIOCore
import NIOPosix
import Storage
import TestSupport
import Testing

@testable import Queue

@Suite struct OwnershipTests {
    private let lane = Lane.domain(Domain(unchecked: "a.test"))
    private let wall = Timestamp(milliseconds: 1_700_000_000_000)

    private func make() throws -> MailQueue {
        let queue = MailQueue(
            store: MemoryStore(),
            disk: NIOThreadPool(numberOfThreads: 1),
            memory: MemoryBudget(limit: 1 << 20),
            options: MailQueue.Options()
        ) { address, _ in .domain(address.domain) }
        _ = try queue.recover(at: .now(), wall: wall)
        return queue
    }

    private func found(_ number: UInt64) throws -> RecoveredMessage {
        RecoveredMessage(
            id: QueueID(rawValue: number),
            acceptedAt: wall,
            location: Location(number: 1),
            envelope: Envelope(sender: .null, recipients: [Recipient(try #require(EmailAddress("x@a.test")))]),
            size: 100,
            state: DeliveryState()
        )
    }

    @Test func whatIsAdoptedIsFiledOnce() throws {
        let queue = try make()
        queue.adopt([(try found(1), nil), (try found(2), nil)])
        queue.adopt([(try found(2), nil)])
        #expect(queue.counts.messages == 2 && queue.counts.waiting == 2)
    }

    @Test func aHoldComesWithItsMessage() throws {
        let queue = try make()
        queue.adopt([(try found(1), Hold(since: wall, reason: "look at it"))])
        #expect(queue.counts.held == 1 && queue.counts.waiting == 0)
    }

    @Test func whatIsYieldedIsOutAndWhatFliesStays() throws {
        let queue = try make()
        queue.adopt([(try found(1), nil), (try found(2), nil), (try found(3), nil)])
        let taken = queue.takeDue(in: lane, atMost: 1, at: .now())
        #expect(taken.count == 1)
        let ids = queue.yield()
        #expect(Set(ids).union(taken.map(\.id.message)).count == 3 && ids.count == 2)
        #expect(queue.counts.messages == 1 && queue.counts.inProgress == 1)
        queue.settle(taken[0], done: [0], deferred: nil, at: .now(), wall: wall)
        #expect(queue.counts == QueueCounts())
    }

    @Test func whatIsLostInFlightIsSettledByNobody() throws {
        let queue = try make()
        queue.adopt([(try found(1), nil)])
        let taken = queue.takeDue(in: lane, atMost: 1, at: .now())
        queue.lose([QueueID(rawValue: 1)])
        #expect(!queue.settle(taken[0], done: [0], deferred: nil, at: .now(), wall: wall))
        #expect(queue.counts == QueueCounts())
        queue.lose([QueueID(rawValue: 1), QueueID(rawValue: 9)])
    }

    @Test func nothingBeginsPastTheLease() throws {
        let queue = try make()
        queue.adopt([(try found(1), nil)])
        let now = Uptime.now()
        queue.mayBegin(until: now.adding(milliseconds: -1))
        guard case .none = queue.next(for: lane, carried: 0, held: 0, at: now) else {
            Issue.record("begun")
            return
        }
        queue.mayBegin(until: now.adding(milliseconds: 60_000))
        guard case .loading = queue.next(for: lane, carried: 0, held: 0, at: now) else {
            Issue.record("not begun")
            return
        }
    }
}
