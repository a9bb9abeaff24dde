// DyingTests.swift — a bounce that waits: nothing of it is sent, somebody may take it back, and at its end there is one report.

import Mail
import NIOCore
import NIOPosix
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Queue

@Suite struct DyingTests {
    private let wall = Timestamp.now()
    private let loop = MultiThreadedEventLoopGroup.singleton.any()
    private let lane = Lane.domain(Domain(unchecked: "a.test"))

    /// A queue, and what its reporter was told.
    private final class House: Sendable {
        let queue: MailQueue
        let store: MemoryStore
        let reports = Mutex<[String]>([])

        init(_ store: MemoryStore, grace: Int = 600) throws {
            let disk = NIOThreadPool(numberOfThreads: 1)
            disk.start()
            var options = MailQueue.Options()
            options.bounceGrace = grace
            self.store = store
            queue = MailQueue(store: store, disk: disk, memory: MemoryBudget(limit: 1 << 20), options: options) {
                address,
                _ in .domain(address.domain)
            }
            _ = try queue.recover(at: .now(), wall: .now())
            // Ids of tests are older than this one, so walks find them.
            _ = queue.makeID(at: .now())
            queue.setReporter { [weak self] message, reason, _ in
                self?.reports.withLock { $0.append("\(message.parcel.id.message.rawValue) \(reason)") }
                return true
            }
        }

        func state(_ number: UInt64) throws -> QueuedState? { try queue.show(QueueID(rawValue: number))?.row.state }
    }

    private func accept(_ house: House, _ number: UInt64, to recipients: [String] = ["x@a.test"]) throws {
        let sender = ReversePath.address(try #require(EmailAddress("x@s.test")))
        let message = NewMessage(
            id: QueueID(rawValue: number),
            acceptedAt: wall,
            envelope: Envelope(
                sender: sender,
                recipients: try recipients.map { Recipient(try #require(EmailAddress($0))) }
            ),
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

    private func id(_ number: UInt64) -> QueueID { QueueID(rawValue: number) }

    private func carry(_ house: House) -> Assignment? {
        if case .carry(let assignment) = house.queue.next(for: lane, at: .now()) { return assignment }
        return nil
    }

    private var afterwards: Timestamp { wall.adding(milliseconds: 86_400_000) }

    @Test func nothingOfItIsSentAndThenThereIsOneReport() async throws {
        let house = try House(MemoryStore())
        try accept(house, 1)
        let (result, end) = await house.queue.bounce(id(1), reason: "wrong list")
        #expect(result == .done && end.map { $0 > wall } == true)
        #expect(try house.state(1) == .dying && house.queue.counts.dying == 1 && house.queue.counts.held == 1)
        #expect(house.store.holds[id(1)]?.isDying == true, "it is written down")
        _ = house.queue.flush(nil, at: .now())
        #expect(house.queue.retry(id(1)) == .dying)
        #expect(try house.queue.release([id(1)]) == [.dying], "what releases held mail does not send this")
        #expect(try house.queue.hold([id(1)], reason: "look") == [.unchanged])
        #expect(carry(house) == nil && house.reports.withLock { $0.isEmpty })
        // A second word about it begins no second grace.
        #expect(await house.queue.bounce(id(1), reason: "again").result == .unchanged)
        house.queue.releaseDue(wall: wall.adding(milliseconds: 590_000))
        #expect(try house.state(1) == .dying)
        for _ in 1...3 { house.queue.releaseDue(wall: afterwards) }
        #expect(await eventually { !house.queue.has(self.id(1)) })
        for _ in 1...3 { house.queue.releaseDue(wall: afterwards) }
        #expect(house.reports.withLock { $0 } == ["1 wrong list"])
        #expect(house.queue.counts == QueueCounts())
    }

    @Test func itIsRevivedByIdAndByFilter() async throws {
        let house = try House(MemoryStore())
        for number in UInt64(1)...3 { try accept(house, number) }
        _ = try house.queue.hold([id(2)], reason: "quarantine")
        for number in UInt64(1)...2 { #expect(await house.queue.bounce(id(number), reason: "").result == .done) }
        #expect(try house.queue.revive([id(1), id(2), id(3), id(4)]) == [.done, .done, .unchanged, .notFound])
        #expect(try house.state(1) == .waiting)
        #expect(try house.state(2) == .held, "what was held before is held again")
        house.queue.releaseDue(wall: afterwards)
        #expect(house.queue.has(id(1)) && house.reports.withLock { $0.isEmpty } && house.queue.counts.dying == 0)

        let bulk = BulkActions(house.queue)
        var filter = QueueFilter()
        filter.states = [.waiting]
        let plan = bulk.plan(.remove(withReport: true, reason: "oops"), filter)
        let job = try #require(bulk.start(plan.token))
        #expect(await eventually { bulk.job(job.id)?.state == .done })
        #expect(bulk.job(job.id)?.done == 2 && house.queue.counts.dying == 2)
        filter.states = [.dying]
        let revival = try #require(bulk.start(bulk.plan(.revive, filter).token))
        #expect(await eventually { bulk.job(revival.id)?.state == .done })
        #expect(bulk.job(revival.id)?.done == 2 && house.queue.counts.dying == 0)
    }

    @Test func aBulkBounceIsUndone() async throws {
        let house = try House(MemoryStore())
        for number in UInt64(1)...2 { try accept(house, number) }
        let bulk = BulkActions(house.queue)
        let plan = bulk.plan(.remove(withReport: true, reason: "oops"), QueueFilter())
        let job = try #require(bulk.start(plan.token))
        #expect(await eventually { bulk.job(job.id)?.isUndoable == true })
        let undone = try #require(bulk.undo(job.id))
        #expect(await eventually { bulk.job(undone.id)?.state == .done })
        #expect(house.queue.counts.dying == 0 && carry(house) != nil)
    }

    @Test func whatIsUnderWayIsNotGivenUp() async throws {
        let house = try House(MemoryStore())
        try accept(house, 1)
        let assignment = try #require(carry(house))
        #expect(await house.queue.bounce(id(1), reason: "").result == .inFlight)
        house.queue.settle(assignment.parcel, done: [0], deferred: nil, at: .now(), wall: wall)
        #expect(house.queue.counts == QueueCounts())
    }

    @Test func withoutAGraceItIsDoneAtOnce() async throws {
        let house = try House(MemoryStore(), grace: 0)
        try accept(house, 1)
        let (result, end) = await house.queue.bounce(id(1), reason: "now")
        #expect(result == .done && end == nil && !house.queue.has(id(1)))
        #expect(house.reports.withLock { $0 } == ["1 now"])
        try accept(house, 2)
        #expect(!house.queue.condemn(id(2), [0], because: "reaction"))
    }

    @Test func aRemovalWithoutAReportDoesNotWait() async throws {
        let house = try House(MemoryStore())
        try accept(house, 1)
        _ = await house.queue.bounce(id(1), reason: "")
        #expect(await house.queue.remove(id(1), withReport: false, reason: "") == .done)
        house.queue.releaseDue(wall: afterwards)
        #expect(house.reports.withLock { $0.isEmpty } && house.queue.counts == QueueCounts())
    }

    /// A message dies as a whole: the grace begins when nothing else is left of it.
    @Test func aReactionGivesRecipientsUp() async throws {
        let house = try House(MemoryStore())
        try accept(house, 1, to: ["x@a.test", "y@b.test"])
        let first = try #require(carry(house))
        #expect(house.queue.condemn(id(1), first.parcel.recipients, because: "reaction full, limits.ini:1: 450 full"))
        let reply = LastReply("550 full", reason: .mailboxFull, host: "mx")
        let later = Deferral(recipients: first.parcel.recipients, delay: 60_000, reply: reply)
        house.queue.settle(first.parcel, done: [], deferred: later, at: .now(), wall: wall)
        #expect(house.queue.counts.dying == 0, "another recipient is still tried")
        var found: Assignment?
        // It is read back from the store.
        _ = await eventually {
            let next = house.queue.next(for: .domain(Domain(unchecked: "b.test")), at: .now())
            if case .carry(let assignment) = next { found = assignment }
            return found != nil
        }
        let other = try #require(found)
        house.queue.settle(other.parcel, done: other.parcel.recipients, deferred: nil, at: .now(), wall: wall)
        #expect(await eventually { house.queue.counts.dying == 1 })
        house.queue.releaseDue(wall: afterwards)
        #expect(await eventually { !house.queue.has(self.id(1)) })
        #expect(house.reports.withLock { $0 } == ["1 reaction full, limits.ini:1: 450 full"])
    }
}
