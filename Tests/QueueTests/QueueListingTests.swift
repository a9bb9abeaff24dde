// QueueListingTests.swift — looking into the queue and giving commands about single messages and many.

import Glibc
import Mail
import NIOCore
import NIOPosix
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Queue

/// What happens in the middle of a move.
private struct Wait: Sendable {
    var body: @Sendable () -> Void = {}
}

@Suite struct QueueListingTests {
    private let loop = NIOSingletons.posixEventLoopGroup.next()
    private let wall = Timestamp(milliseconds: 1_700_000_000_000)
    private let a = Lane.domain(Domain(unchecked: "a.test"))

    private func make(_ store: some QueueStore, _ options: MailQueue.Options = .init()) throws -> MailQueue {
        let disk = NIOThreadPool(numberOfThreads: 2)
        disk.start()
        let queue = MailQueue(store: store, disk: disk, memory: MemoryBudget(limit: 1 << 20), options: options) {
            recipient,
            _ in .domain(recipient.domain)
        }
        _ = try queue.recover(at: .now(), wall: wall)
        return queue
    }

    private func put(
        _ number: UInt64,
        from sender: String = "s@x.test",
        to recipients: [String],
        size: Int = 10,
        _ queue: MailQueue,
        _ store: MemoryStore
    ) throws {
        let message = NewMessage(
            id: QueueID(rawValue: number),
            acceptedAt: wall.adding(milliseconds: Int64(number) * 1000),
            envelope: Envelope(
                sender: EmailAddress(sender).map { .address($0) } ?? .null,
                recipients: try recipients.map { Recipient(try #require(EmailAddress($0))) }
            ),
            content: Content(
                prologue: ByteBuffer(string: "P"),
                body: .memory(ByteBuffer(repeating: 65, count: size - 1)),
                hasLeadingDots: false,
                isEightBit: false
            )
        )
        queue.lastID.withLock { $0 = max($0, message.id) }
        #expect(queue.memory.reserve(message.residentBytes))
        queue.accept(message, by: .smtp, on: loop) { _ in }
        store.commit()
    }

    private func carry(_ queue: MailQueue, _ lane: Lane? = nil) -> Assignment? {
        guard case .carry(let assignment) = queue.next(for: lane ?? a, at: .now()) else { return nil }
        return assignment
    }

    /// What was deferred is read back on another thread.
    private func untilCarried(_ queue: MailQueue) -> Assignment? {
        let end = Uptime.now().adding(milliseconds: 20_000)
        while Uptime.now() < end {
            if let assignment = carry(queue) { return assignment }
            sched_yield()
        }
        return nil
    }

    private func fail(
        _ queue: MailQueue,
        _ text: String,
        _ reason: FailureReason = .other,
        delay: Int64 = 60_000
    ) throws {
        let parcel = try #require(carry(queue)).parcel
        let reply = LastReply(text, reason: reason, host: "mx.a.test[192.0.2.1]:25")
        queue.settle(
            parcel,
            done: [],
            deferred: Deferral(recipients: parcel.recipients, delay: delay, reply: reply),
            at: .now(),
            wall: wall.adding(milliseconds: 5000)
        )
    }

    private func ids(_ queue: MailQueue, _ change: (inout QueueFilter) -> Void) -> [UInt64] {
        var filter = QueueFilter()
        change(&filter)
        var found: [UInt64] = []
        queue.forEach(filter, wall: wall.adding(milliseconds: 10_000)) { row in
            found.append(row.id.rawValue)
            return true
        }
        return found.sorted()
    }

    @Test func everyConditionOfAFilterSelects() throws {
        let store = MemoryStore()
        let queue = try make(store)
        try put(1, from: "news@x.test", to: ["u@a.test"], queue, store)
        try fail(queue, "450 4.7.1 Greylisted, come back", .greylisted)
        try put(2, from: "", to: ["V@b.test", "w@a.test"], queue, store)
        try put(3, to: ["u@c.test"], queue, store)
        _ = try queue.hold([QueueID(rawValue: 3)], reason: "look")
        #expect(ids(queue) { _ in } == [1, 2, 3])
        #expect(ids(queue) { $0.states = [.tempFailed] } == [1])
        #expect(ids(queue) { $0.states = [.held, .waiting] } == [2, 3])
        #expect(ids(queue) { $0.domain = Domain(unchecked: "a.test") } == [1, 2])
        #expect(ids(queue) { $0.sender = EmailAddress("NEWS@x.test").map { .address($0) } } == [1])
        #expect(ids(queue) { $0.sender = .null } == [2])
        #expect(
            ids(queue) { $0.sender = .domain(Domain(unchecked: "x.test")) }
                == ids(queue) { $0.domain = nil }.filter { $0 != 2 }
        )
        #expect(ids(queue) { $0.sender = .domain(Domain(unchecked: "no.test")) } == [])
        #expect(ids(queue) { $0.recipient = EmailAddress("v@b.test").map { .address($0) } } == [2])
        #expect(ids(queue) { $0.recipient = .domain(Domain(unchecked: "c.test")) } == [3])
        #expect(ids(queue) { $0.route = "b.test" } == [2])
        #expect(ids(queue) { $0.minAge = 9 } == [1])
        #expect(ids(queue) { $0.maxAge = 7 } == [3])
        #expect(ids(queue) { $0.minAttempts = 1 } == [1])
        #expect(ids(queue) { $0.reason = .greylisted } == [1])
        #expect(ids(queue) { $0.errorContains = "GREYLISTED" } == [1])
        #expect(ids(queue) { $0.errorContains = "nothing like it" } == [])
        #expect(ids(queue) { $0.dueBefore = wall.adding(milliseconds: 30_000) } == [2, 3])
        #expect(ids(queue) { ($0.states, $0.domain) = ([.waiting], Domain(unchecked: "a.test")) } == [2])
    }

    @Test func pagesNeitherRepeatNorMissWhileMailMoves() throws {
        let store = MemoryStore()
        let queue = try make(store)
        for number in 1...50 { try put(UInt64(number), to: ["u@a.test"], queue, store) }
        var seen: [UInt64] = []
        var cursor: String?
        repeat {
            let page = try queue.list(QueueFilter(), after: cursor, limit: 7)
            #expect(page.total == 50 && page.isTotalExact)
            seen += page.rows.map(\.id.rawValue)
            cursor = page.next
            // One leaves that was seen, and one comes.
            if let parcel = carry(queue)?.parcel {
                queue.settle(parcel, done: parcel.recipients, deferred: nil, at: .now(), wall: wall)
            }
            try put(UInt64(100 + seen.count), to: ["u@a.test"], queue, store)
        } while cursor != nil
        #expect(seen == Array(1...50).map(UInt64.init))
    }

    @Test func sortsBySizeAndByNextAttemptBothWays() throws {
        let store = MemoryStore()
        let queue = try make(store)
        for (number, size) in [(1, 30), (2, 10), (3, 20)] {
            try put(UInt64(number), to: ["u@a.test"], size: size, queue, store)
        }
        func order(_ sort: QueueSort) throws -> [UInt64] {
            try queue.list(QueueFilter(), sort: sort, limit: 10).rows.map(\.id.rawValue)
        }
        #expect(try order(QueueSort(.size)) == [2, 3, 1])
        #expect(try order(QueueSort(.size, descending: true)) == [1, 3, 2])
        #expect(try order(QueueSort(.queuedAt, descending: true)) == [3, 2, 1])
        for delay in [300_000, 100_000, 200_000] { try fail(queue, "450", delay: Int64(delay)) }
        #expect(try order(QueueSort(.nextAttempt)) == [2, 3, 1])
    }

    /// All messages by age: nothing is collected before the first page, and the pages are those of a fixed list nevertheless.
    @Test(arguments: [false, true])
    func aListingOfEverythingGoesOnBehindWhatItShowed(descending: Bool) throws {
        let store = MemoryStore()
        let queue = try make(store)
        for number in 1...8 { try put(UInt64(number), to: ["u@a.test"], queue, store) }
        let sort = QueueSort(.queuedAt, descending: descending)
        let first = try queue.list(QueueFilter(), sort: sort, limit: 3)
        #expect(queue.snapshots.withLock { $0.use(ListCursor(first.next ?? "")?.snapshot ?? 0, at: .now())?.ids } == [])
        try put(9, to: ["u@a.test"], queue, store)
        let gone = try #require(carry(queue)).parcel
        queue.settle(gone, done: gone.recipients, deferred: nil, at: .now(), wall: wall)
        let second = try queue.list(QueueFilter(), after: first.next, limit: 3)
        // The same page again, for whoever lost the answer.
        #expect(try queue.list(QueueFilter(), after: first.next, limit: 3).rows.map(\.id) == second.rows.map(\.id))
        let third = try queue.list(QueueFilter(), after: second.next, limit: 3)
        let all = [first, second, third].map { $0.rows.map(\.id.rawValue) }
        #expect(all == (descending ? [[8, 7, 6], [5, 4, 3], [2]] : [[1, 2, 3], [4, 5, 6], [7, 8]]))
        #expect([first, second, third].allSatisfy { $0.total == 8 && $0.isTotalExact })
        #expect(third.next == nil)
        // A page that ends where the list does says so.
        #expect(try queue.list(QueueFilter(), sort: sort, limit: 8).next == nil)
    }

    @Test func aListingIsForgottenWhenNobodyAsksOrTooManyDo() throws {
        let store = MemoryStore()
        let queue = try make(store)
        for number in 1...3 { try put(UInt64(number), to: ["u@a.test"], queue, store) }
        let now = Uptime.now()
        let first = try #require(try queue.list(QueueFilter(), limit: 1, at: now).next)
        let later = now.adding(milliseconds: 299_000)
        #expect(try queue.list(QueueFilter(), after: first, limit: 1, at: later).rows.count == 1)
        #expect(throws: ListingError.unknownCursor) {
            try queue.list(QueueFilter(), after: first + "ffffff", limit: 1, at: later)
        }
        #expect(throws: ListingError.expired) {
            try queue.list(QueueFilter(), after: first, limit: 1, at: later.adding(milliseconds: 300_000))
        }
        #expect(throws: ListingError.unknownCursor) { try queue.list(QueueFilter(), after: "what", limit: 1) }
        var snapshots = ListSnapshots(most: 2, mostIDs: 5)
        let ids = [QueueID(rawValue: 1), QueueID(rawValue: 2)]
        let numbers = (0..<3).map {
            snapshots.add(ids, QueueFilter(), isExact: true, at: Uptime(milliseconds: Int64($0)))
        }
        #expect(snapshots.use(numbers[0], at: Uptime(milliseconds: 3)) == nil)
        #expect(snapshots.use(numbers[1], at: Uptime(milliseconds: 3)) != nil)
        _ = snapshots.add(ids + ids, QueueFilter(), isExact: true, at: Uptime(milliseconds: 4))
        #expect(snapshots.count == 1)
    }

    @Test func showsWhatEachRecipientWasToldAndWhyTheMessageWaits() throws {
        let store = MemoryStore()
        var options = MailQueue.Options()
        options.isDisabled = false
        let queue = try make(store, options)
        try put(1, to: ["x@a.test", "y@a.test", "z@a.test", "w@b.test"], queue, store)
        let parcel = try #require(carry(queue)).parcel
        queue.settle(
            parcel,
            done: [0],
            bounced: [],
            deferred: Deferral(
                recipients: [1, 2],
                delay: 60_000,
                reply: LastReply("450 4.2.2 full", reason: .mailboxFull, host: "mx"),
                otherReplies: [2: LastReply("451 4.7.1 slow down", reason: .rateLimited, host: "mx")]
            ),
            at: .now(),
            wall: wall
        )
        let report = try #require(try queue.show(QueueID(rawValue: 1)))
        #expect(report.recipients.map(\.state.name) == ["delivered", "temp_failed", "temp_failed", "waiting"])
        #expect(report.recipients.map { $0.reply?.text } == [nil, "450 4.2.2 full", "451 4.7.1 slow down", nil])
        #expect(report.recipients[1].attempts == 1 && report.recipients[1].lastAttempt == wall)
        #expect(report.row.state == .waiting && report.row.lanes.count == 2)
        #expect(Set(report.waitingBecause.map(\.code)) == [.retryTimer, .sessionSlot])
        // What is written down says the same after a restart.
        guard case .state(_, let state) = try #require(store.records.last) else { return }
        #expect(state.waiting.count == 2 && state.done == [0])
        let restarted = try make(
            MemoryStore(
                recovered: [
                    RecoveredMessage(
                        id: QueueID(rawValue: 1),
                        acceptedAt: wall,
                        location: Location(number: 1),
                        envelope: report.envelope,
                        size: 10,
                        state: state
                    )
                ]
            )
        )
        #expect(restarted.counts.tempFailed == 1 && restarted.counts.waiting == 1)
        let facts = restarted.state.withLock { state in
            state.slot(of: QueueID(rawValue: 1)).flatMap { state[$0] }.map { state.recipientFacts(of: $0) } ?? []
        }
        #expect(facts.map { $0.reply?.text } == [nil, "450 4.2.2 full", "451 4.7.1 slow down", nil])
    }

    @Test func aMessageForLaterIsHeldFromTheStartUntilItsTime() throws {
        let store = MemoryStore()
        let queue = try make(store)
        let end = wall.adding(milliseconds: 1000)
        try queue.hold(arriving: [QueueID(rawValue: 1)], Hold(since: wall, until: end, reason: "send_at"))
        queue.releaseDue(wall: end)
        #expect(store.holds[QueueID(rawValue: 1)]?.until == end, "it has not come yet")
        try put(1, to: ["x@a.test"], queue, store)
        #expect(queue.counts.held == 1 && carry(queue) == nil)
        queue.releaseDue(wall: wall.adding(milliseconds: 999))
        #expect(queue.counts.held == 1)
        queue.releaseDue(wall: end)
        #expect(queue.counts.held == 0 && carry(queue) != nil && store.holds.isEmpty)
    }

    @Test func aHeldMessageStaysUntilItIsReleasedAndARestartKeepsIt() throws {
        let store = MemoryStore()
        let queue = try make(store)
        try put(1, to: ["x@a.test"], queue, store)
        try put(2, to: ["x@a.test"], queue, store)
        let first = try #require(carry(queue)).parcel
        #expect(
            try queue.hold([QueueID(rawValue: 1), QueueID(rawValue: 2), QueueID(rawValue: 9)], reason: "a\nb")
                == [.done, .done, .notFound]
        )
        #expect(carry(queue) == nil)
        #expect(queue.counts.held == 1 && queue.counts.inProgress == 1)
        // What was in flight is held when it comes back.
        queue.settle(
            first,
            done: [],
            deferred: Deferral(recipients: [0], delay: 0, reply: LastReply("451")),
            at: .now(),
            wall: wall
        )
        #expect(queue.counts.held == 2 && carry(queue) == nil)
        #expect(queue.flush(nil, at: .now()) == 0 && carry(queue) == nil)
        #expect(queue.retry(QueueID(rawValue: 1)) == .held)
        let report = try #require(try queue.show(QueueID(rawValue: 2)))
        #expect(report.row.state == .held && report.row.hold?.reason == "a b")
        #expect(report.waitingBecause.map(\.code) == [.held])
        #expect(Set(store.holds.keys) == [QueueID(rawValue: 1), QueueID(rawValue: 2)])
        #expect(try queue.release([QueueID(rawValue: 2)]) == [.done])
        #expect(untilCarried(queue)?.parcel.id.message == QueueID(rawValue: 2))
        #expect(Set(store.holds.keys) == [QueueID(rawValue: 1)])
    }

    @Test func aHoldThatCannotBeWrittenDownChangesNothing() throws {
        let store = MemoryStore()
        let queue = try make(store)
        try put(1, to: ["x@a.test"], queue, store)
        store.failHolds()
        #expect(throws: QueueError.broken("holds")) { try queue.hold([QueueID(rawValue: 1)], reason: "") }
        #expect(queue.counts.held == 0 && carry(queue) != nil)
    }

    @Test func retryMakesOneMessageDueAndTellsWhyNot() throws {
        let store = MemoryStore()
        let queue = try make(store)
        try put(1, to: ["x@a.test"], queue, store)
        try fail(queue, "451")
        #expect(queue.retry(QueueID(rawValue: 1)) == .done)
        #expect(queue.retry(QueueID(rawValue: 1)) == .unchanged)
        #expect(queue.retry(QueueID(rawValue: 7)) == .notFound)
        #expect(queue.counts.waiting == 1)
        #expect(untilCarried(queue) != nil)
        #expect(queue.retry(QueueID(rawValue: 1)) == .inFlight)
    }

    @Test func removesAMessageThatIsNotInFlightWithAReportWhenAsked() async throws {
        let store = MemoryStore()
        let queue = try make(store)
        let told = Mutex<[String]>([])
        queue.setReporter { message, reason, _ in
            told.withLock { $0.append("\(message.parcel.recipients) \(reason)") }
            return reason != "no room"
        }
        try put(1, to: ["x@a.test", "y@b.test"], queue, store)
        let id = QueueID(rawValue: 1)
        let parcel = try #require(carry(queue)).parcel
        #expect(await queue.remove(id, withReport: false, reason: "") == .inFlight)
        queue.settle(parcel, done: [], deferred: nil, at: .now(), wall: wall)
        guard case .failed = await queue.remove(id, withReport: true, reason: "no room") else {
            Issue.record("removed without its report")
            return
        }
        #expect(queue.counts.waiting == 2)
        #expect(await queue.remove(id, withReport: true, reason: "spam") == .done)
        #expect(told.withLock { $0 } == ["[0, 1] no room", "[0, 1] spam"])
        #expect(queue.counts == QueueCounts() && queue.memory.used == 0)
        #expect(store.records.last == .settled(id))
        #expect(await queue.remove(id, withReport: false, reason: "") == .notFound)
    }

    @Test func aBulkActionDoesWhatItsPlanSaidAndNothingElse() async throws {
        let store = MemoryStore()
        let queue = try make(store)
        let actions = BulkActions(queue)
        for number in 1...1200 { try put(UInt64(number), to: ["u@\(number % 2 == 0 ? "a" : "b").test"], queue, store) }
        var filter = QueueFilter()
        filter.domain = Domain(unchecked: "a.test")
        let plan = actions.plan(.hold(reason: "test"), filter)
        #expect(plan.matched == 600 && plan.bytes == 6000 && plan.sample.count == 10)
        try put(2000, to: ["u@a.test"], queue, store)
        let job = try #require(actions.start(plan.token))
        #expect(actions.start(plan.token) == nil)
        while actions.job(job.id)?.state == .running { await Task.yield() }
        let end = try #require(actions.job(job.id))
        #expect(end.done == 600 && end.skipped == 0 && end.failed == 0 && end.state == .done)
        #expect(queue.counts.held == 600)
        let again = try #require(
            actions.start(actions.plan(.remove(withReport: false, reason: ""), QueueFilter()).token)
        )
        while actions.job(again.id)?.state == .running { await Task.yield() }
        #expect(actions.job(again.id)?.done == 1201)
        #expect(queue.counts.messages == 0 && queue.counts.held == 0)
        #expect(!actions.cancel(again.id))
    }

    /// What was held before, released meanwhile, or held by another word since, is none of its business.
    @Test func aBulkHoldIsTakenBackExactly() async throws {
        let store = MemoryStore()
        let queue = try make(store)
        let actions = BulkActions(queue)
        for number in UInt64(1)...1000 { try put(number, to: ["u@a.test"], queue, store) }
        let id = { QueueID(rawValue: $0) }
        _ = try queue.hold([id(1)], reason: "mine")
        let job = try #require(actions.start(actions.plan(.hold(reason: "test"), QueueFilter()).token))
        #expect(actions.undo(job.id) == nil || actions.job(job.id)?.state == .done, "not while it goes on")
        while actions.job(job.id)?.state == .running { await Task.yield() }
        #expect(queue.counts.held == 1000 && actions.job(job.id)?.isUndoable == true)
        _ = try queue.release([id(2)])
        _ = try queue.hold([id(3)], reason: "look at this one")
        _ = try queue.release([id(4)])
        _ = try queue.hold([id(4)], reason: "test")
        _ = await queue.remove(id(5), withReport: false, reason: "")
        let back = try #require(actions.undo(job.id))
        #expect(actions.undo(job.id) == nil && actions.undo(back.id) == nil, "once")
        while actions.job(back.id)?.state == .running { await Task.yield() }
        let end = try #require(actions.job(back.id))
        #expect(end.action == .release && end.matched == 1000 && end.done == 996 && end.skipped == 4)
        let held = queue.state.withLock { $0.holds.all }.mapValues(\.reason)
        #expect(held == [id(1): "mine", id(3): "look at this one", id(4): "test"])
        #expect(queue.counts.held == 3)
    }

    @Test func readsTheWholeContentInPieces() throws {
        let store = MemoryStore()
        let queue = try make(store)
        try put(1, to: ["u@a.test"], size: 10, queue, store)
        let content = try #require(try queue.content(of: QueueID(rawValue: 1)))
        var bytes: [UInt8] = []
        while true {
            let piece = try content.read(at: bytes.count, count: 3)
            if piece.isEmpty { break }
            bytes += piece
        }
        #expect(String(decoding: bytes, as: UTF8.self) == "PAAAAAAAAA")
        #expect(try queue.content(of: QueueID(rawValue: 9)) == nil)
    }

    @Test func aMessageThatIsMovedWhileItIsReadIsReadFromItsNewPlace() throws {
        let duringMove = Mutex(Wait())
        let store = MemoryStore(duringMove: { _ in duringMove.withLock { $0 }.body() })
        let queue = try make(store)
        try put(1, to: ["u@a.test"], size: 10, queue, store)
        try fail(queue, "451")
        let size = Mutex<Int?>(nil)
        // The copy is written, the old segment given back, and the index does not know it yet.
        duringMove.withLock {
            $0.body = {
                store.recycle(1)
                queue.disk.submit { _ in
                    let content = try? queue.content(of: QueueID(rawValue: 1))
                    size.withLock { $0 = content?.size ?? -1 }
                }
                let end = Uptime.now().adding(milliseconds: 20_000)
                while store.readsOfRecycled == 0, Uptime.now() < end { sched_yield() }
            }
        }
        store.setSegmentToCompact(1)
        queue.compactInBackground()
        let end = Uptime.now().adding(milliseconds: 20_000)
        while size.withLock({ $0 == nil }), Uptime.now() < end { sched_yield() }
        #expect(size.withLock { $0 } == 10)
        #expect(store.readsOfRecycled > 0 && store.moves.count == 1)
    }

    @Test func statisticsCountWhatCameAndWent() throws {
        let store = MemoryStore()
        let queue = try make(store)
        for number in 1...3 { try put(UInt64(number), to: ["u@a.test"], queue, store) }
        try fail(queue, "451")
        let parcel = try #require(carry(queue)).parcel
        queue.settle(parcel, done: [0], bounced: [0], deferred: nil, at: .now(), wall: wall)
        let statistics = queue.statistics(wall: wall.adding(milliseconds: 600_000))
        #expect(statistics.counts.messages == 2 && statistics.bytes == 20)
        #expect(statistics.traffic.accepted.total == 3 && statistics.traffic.bounced.total == 1)
        #expect(statistics.traffic.deferred.total == 1 && statistics.traffic.delivered.total == 0)
        #expect(statistics.oldest == [.tempFailed: 599, .waiting: 597])
        #expect(statistics.ages[1] == 2 && statistics.ages.reduce(0, +) == 2)
        #expect(statistics.destinations.map(\.parcels) == [2] && statistics.destinationCount == 1)
    }

    @Test func ratesForgetWhatIsLongAgo() {
        var counter = RateCounter()
        counter.add(60, at: Uptime(milliseconds: 1_000_000))
        #expect(counter.rate(minutes: 1, at: Uptime(milliseconds: 1_030_000)) == 1)
        #expect(counter.rate(minutes: 1, at: Uptime(milliseconds: 1_070_000)) == 0)
        #expect(counter.rate(minutes: 5, at: Uptime(milliseconds: 1_070_000)) == 0.2)
        counter.add(1, at: Uptime(milliseconds: 9_000_000))
        #expect(counter.rate(minutes: 15, at: Uptime(milliseconds: 9_000_000)) == 1.0 / 900)
        #expect(counter.total == 61)
    }

    @Test func manyDifferentRepliesDoNotFillMemory() {
        var pool = ReplyPool(limit: 100)
        let numbers = (0..<10_000).map { pool.take(LastReply("450 4.2.\($0 % 10) unique \($0)")) }
        #expect(pool.count <= 200)
        #expect(pool[numbers[99]]?.text == "450 4.2.9 unique 99")
        #expect(pool[numbers[5001]]?.text == "450 4.2.1 (words not kept)")
        for number in numbers { pool.release(number) }
        #expect(pool.count == 0)
        #expect(LastReply(String(repeating: "é", count: 300)).text.utf8.count == 200)
    }
}
