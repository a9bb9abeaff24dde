// SpoolFaultTests.swift — a disk that refuses (reliability.md, C3 and C4; design §7, G5).

import Files
import Glibc
import Mail
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import Storage

@Suite struct SpoolFaultTests {
    private static func error(_ body: () throws -> Void) -> QueueError? {
        do { try body() } catch { return error as? QueueError }
        return nil
    }

    @Test(arguments: [("fdatasync", EIO), ("pwritev", EIO), ("pwritev", ENOSPC), ("fdatasync", EDQUOT)])
    func refusesWhatWasNotSyncedAndGoesOnElsewhere(call: String, code: Int32) throws {
        let faulty = FaultyDisk()
        let harness = try SpoolHarness(faulty.disk)
        let first = try harness.accept(testMessage(1))
        faulty.fail(call, ".seg", code: code)
        let failure = Self.error { try harness.accept((2...4).map { testMessage($0) }) }
        switch failure {
        case .full: #expect(code != EIO)
        case .broken: #expect(code == EIO)
        default: Issue.record("accepted, or another error: \(String(describing: failure))")
        }
        // The next one goes to another segment.
        let next = try harness.accept(testMessage(5))
        #expect(next.segment > first.segment)
        #expect(try harness.spool.read(QueueID(rawValue: 1), at: first).id == QueueID(rawValue: 1))
        harness.spool.close()
        // What was refused does not come back, not even when the kernel still has it.
        let again = try SpoolHarness(faulty.disk.afterKill())
        #expect(Set(again.order.map(\.rawValue)).isSubset(of: [1, 3, 4, 5]))
        #expect(again.recovered[QueueID(rawValue: 2)] == nil)
        #expect(again.recovered[QueueID(rawValue: 1)] != nil && again.recovered[QueueID(rawValue: 5)] != nil)
        again.spool.close()
    }

    /// Whoever waits for the disk hears that it failed, and of the next word that it did not.
    @Test(arguments: [("fdatasync", EIO), ("pwritev", EIO), ("pwritev", ENOSPC)])
    func confirmsNothingThatWasNotSynced(call: String, code: Int32) throws {
        let faulty = FaultyDisk()
        var options = SpoolHarness.options()
        options.isFollowed = true
        let harness = try SpoolHarness(faulty.disk, options: options)
        try harness.accept(testMessage(1))
        let facts = Facts([7])
        harness.spool.append(facts, of: QueueID(rawValue: 1))
        #expect(harness.spool.confirm())
        faulty.fail(call, ".seg", code: code)
        harness.spool.append(facts, of: QueueID(rawValue: 1))
        #expect(!harness.spool.confirm(), "a failed \(call) is no confirmation")
        harness.spool.append(facts, of: QueueID(rawValue: 1))
        #expect(harness.spool.confirm(), "the next one goes elsewhere")
        harness.spool.close()
        #expect(!harness.spool.confirm(), "nobody writes any more")
    }

    @Test func neverSyncsASegmentAgainAfterAFailure() throws {
        let box = Recorder(calls: [])
        let disk = MemoryDisk { call in
            box.calls.withLock { $0.append(call) }
            guard call.name == "fdatasync", box.fails.withLock({ $0 }) else { return nil }
            return DiskError(call.name, call.path, EIO)
        }
        let harness = try SpoolHarness(disk)
        let place = try harness.accept(testMessage(1))
        box.fails.withLock { $0 = true }
        #expect(throws: QueueError.self) { try harness.accept(testMessage(2)) }
        box.fails.withLock { $0 = false }
        box.calls.withLock { $0 = [] }
        for number in 3...80 as ClosedRange<UInt64> { try harness.accept(testMessage(number)) }
        harness.spool.close()
        let broken = SegmentFile.name(place.segment)
        #expect(!box.calls.withLock { $0.contains { $0.path.hasSuffix(broken) && $0.name.hasSuffix("sync") } })
        #expect(!box.calls.withLock { $0.contains { $0.path.hasSuffix(broken) && $0.name == "pwritev" } })
    }

    private final class Recorder: Sendable {
        let calls: Mutex<[DiskCall]>
        let fails = Mutex(false)
        init(calls: [DiskCall]) { self.calls = Mutex(calls) }
    }

    @Test func refusesAtOnceWhileNothingCanBeWrittenAndRecovers() throws {
        let faulty = FaultyDisk()
        let clock = Clock()
        var options = SpoolHarness.options()
        options.retryDelay = 3000
        options.now = { Uptime(milliseconds: clock.now.withLock { $0 }) }
        let harness = try SpoolHarness(faulty.disk, options: options)
        let place = try harness.accept(testMessage(1, recipients: 2))
        let other = try harness.accept(testMessage(2))
        for call in ["pwritev", "fallocate", "open"] { faulty.fail(call, ".seg", code: ENOSPC, times: .max) }
        faulty.fail("open", "spare.tmp", code: ENOSPC, times: .max)
        // The spare that is open already takes the first failure, then there is nowhere to go.
        for number in 3...8 as ClosedRange<UInt64> {
            guard case .full? = Self.error({ try harness.accept(testMessage(number)) }) else {
                Issue.record("\(number) was not refused as full")
                return
            }
        }
        #expect(!harness.spool.hasRoom(for: 10))
        // Reading and settling go on.
        #expect(try harness.spool.read(QueueID(rawValue: 1), at: place).envelope.recipients.count == 2)
        harness.spool.append(DeliveryState(waiting: [], done: [0]), of: QueueID(rawValue: 1))
        harness.spool.appendSettled(QueueID(rawValue: 2), at: other)
        harness.spool.sync()
        faulty.heal()
        #expect(throws: QueueError.self) { try harness.accept(testMessage(9)) }
        clock.now.withLock { $0 += 3001 }
        #expect(harness.spool.hasRoom(for: 10))
        try harness.accept(testMessage(10))
        harness.spool.close()
        let again = try SpoolHarness(faulty.disk.afterKill())
        #expect(again.order.map(\.rawValue) == [10, 1])
        #expect(again.recovered[QueueID(rawValue: 1)]?.state.done == [0])
        again.spool.close()
    }

    private final class Clock: Sendable {
        let now = Mutex<Int64>(0)
    }

    @Test(arguments: ["pwritev", "fsync", "open"])
    func aLargeBodyThatCannotBeStoredIsRefused(call: String) throws {
        let faulty = FaultyDisk()
        let harness = try SpoolHarness(faulty.disk)
        faulty.fail(call, "large", code: EIO, skip: call == "fsync" ? 1 : 0)
        #expect(throws: QueueError.self) { try harness.acceptLarge(1, size: 600_000) }
        _ = try harness.acceptLarge(2, size: 600_000)
        harness.spool.close()
        let again = try SpoolHarness(faulty.disk.afterKill())
        #expect(again.order.map(\.rawValue) == [2])
        again.spool.close()
    }

    /// Clients that hear 451 come back: what they left behind must not fill the disk meanwhile.
    @Test(arguments: ["fdatasync", "pwritev"])
    func theBodyOfARefusedMessageIsRemoved(call: String) throws {
        let faulty = FaultyDisk()
        let harness = try SpoolHarness(faulty.disk)
        faulty.fail(call, ".seg", code: EIO)
        #expect(throws: QueueError.self) { try harness.acceptLarge(1, size: 600_000) }
        faulty.fail("pwritev", ".seg", code: ENOSPC, times: .max)
        for name in ["open", "fallocate"] { faulty.fail(name, ".seg", code: ENOSPC, times: .max) }
        faulty.fail("open", "spare.tmp", code: ENOSPC, times: .max)
        for number in 2...4 as ClosedRange<UInt64> {
            #expect(throws: QueueError.self) { try harness.acceptLarge(number, size: 600_000) }
        }
        faulty.heal()
        harness.spool.close()
        #expect(faulty.disk.paths.filter { $0.hasPrefix("/data/queue/large/") } == [])
        let again = try SpoolHarness(faulty.disk.afterKill())
        #expect(again.recovered.isEmpty && again.problems.isEmpty)
        again.spool.close()
    }

    @Test func aReadErrorIsNoDamage() throws {
        let faulty = FaultyDisk()
        let harness = try SpoolHarness(faulty.disk)
        let place = try harness.accept(testMessage(1))
        faulty.fail("pread", ".seg", code: EIO)
        guard case .broken? = Self.error({ _ = try harness.spool.read(QueueID(rawValue: 1), at: place) }) else {
            Issue.record("a failing read must be told as such")
            return
        }
        #expect(try harness.spool.read(QueueID(rawValue: 1), at: place).id == QueueID(rawValue: 1))
        harness.spool.close()
        #expect(!faulty.disk.paths.contains { $0.hasPrefix("/data/queue/corrupt/") })
    }

    @Test func aMoveThatCannotBeSyncedLeavesTheOriginal() throws {
        let faulty = FaultyDisk()
        let harness = try SpoolHarness(faulty.disk)
        let place = try harness.accept(testMessage(1))
        faulty.fail("fdatasync", ".seg", code: EIO)
        #expect(throws: QueueError.self) {
            try harness.spool.move(QueueID(rawValue: 1), from: place, DeliveryState(delayReported: true))
        }
        #expect(try harness.spool.read(QueueID(rawValue: 1), at: place).id == QueueID(rawValue: 1))
        harness.spool.close()
        let again = try SpoolHarness(faulty.disk.afterKill())
        #expect(again.order.map(\.rawValue) == [1])
        #expect(try again.content(QueueID(rawValue: 1)) == bytes(of: testMessage(1).content))
        again.spool.close()
    }

    /// One read, open or listing fails while the spool gets up, at every place: nothing is gone for that.
    @Test func aFailureDuringRecoveryLosesNothing() throws {
        let base = MemoryDisk()
        let first = try SpoolHarness(base)
        for number in 1...50 as ClosedRange<UInt64> { try first.accept(testMessage(number, body: 500)) }
        for number in 60...61 as ClosedRange<UInt64> { _ = try first.acceptLarge(number, size: 2_000) }
        let left = base.afterKill()
        first.spool.close()
        var isOver = false
        for position in 0..<300 where !isOver {
            for times in [1, 3] {
                let count = Counter()
                let disk = left.afterPowerCut(.keepsEverything) { call in
                    let number = count.next()
                    return (position..<position + times).contains(number) ? DiskError(call.name, call.path, EIO) : nil
                }
                if let harness = try? SpoolHarness(disk) { harness.spool.close() }
                isOver = count.next() < position
                let again = try SpoolHarness(disk.afterKill())
                #expect(again.order.count == 52, "call \(position), \(times) failures")
                for id in again.order {
                    let size = id.rawValue >= 60 ? 2_000 : 500
                    #expect(try again.content(id) == bytes(of: testMessage(id.rawValue, body: size).content))
                }
                again.spool.close()
            }
        }
        #expect(isOver)
    }

    /// One call fails somewhere, once, at every place: whatever was told as accepted is there afterwards.
    @Test(arguments: [EIO, ENOSPC])
    func everySingleFailureIsSurvived(code: Int32) throws {
        for position in 0..<150 {
            let count = Counter()
            let disk = MemoryDisk { call in
                let number = count.next()
                return number == position ? DiskError(call.name, call.path, code) : nil
            }
            var accepted: Set<UInt64> = []
            var settled: Set<UInt64> = []
            guard let harness = try? SpoolHarness(disk) else { continue }
            for number in 1...40 as ClosedRange<UInt64> {
                guard let place = try? harness.accept(testMessage(number, body: 800)) else { continue }
                accepted.insert(number)
                if number % 3 == 0 {
                    harness.spool.appendSettled(QueueID(rawValue: number), at: place)
                    settled.insert(number)
                }
            }
            harness.spool.close()
            let again = try SpoolHarness(disk.afterPowerCut(.keepsNothing))
            let found = Set(again.order.map(\.rawValue))
            #expect(found == accepted.subtracting(settled), "call \(position)")
            for id in again.order {
                #expect(try again.content(id) == bytes(of: testMessage(id.rawValue, body: 800).content))
            }
            again.spool.close()
        }
    }

    private final class Counter: Sendable {
        private let value = Mutex(0)
        func next() -> Int {
            value.withLock { value in
                defer { value += 1 }
                return value
            }
        }
    }
}
