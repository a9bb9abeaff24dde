// RecoveryBehindTests.swift — what was accepted before is read while mail comes and goes: nothing is lost or doubled, wherever the
// power goes, and the port need not wait for it.

import Files
import Mail
import NIOCore
import Synchronization
import TestSupport
import Testing

@testable import Storage

@Suite struct RecoveryBehindTests {
    private static func options(behind: Bool = true) -> Spool.Options {
        SpoolHarness.options(segment: 8 << 10, behind: behind)
    }

    /// Some segments of mail: 1…40, of which every third is settled and every fifth was tried.
    private static func filled(_ disk: any Disk) throws {
        let harness = try SpoolHarness(disk, options: options(behind: false))
        for number in 1...40 as ClosedRange<UInt64> {
            let location = try harness.accept(testMessage(number, body: 900))
            if number % 3 == 0 { harness.spool.appendSettled(QueueID(rawValue: number), at: location) }
            if number % 5 == 0 { harness.spool.append(tried, of: QueueID(rawValue: number)) }
        }
        harness.spool.sync()
        harness.spool.close()
    }

    private static let tried = DeliveryState(waiting: [
        DeliveryState.Group(
            recipients: [0],
            failures: 2,
            due: Timestamp(milliseconds: 7),
            reply: LastReply("451 later"),
            attemptedAt: Timestamp(milliseconds: 5)
        )
    ])

    private static let expected = Set((1...40).filter { $0 % 3 != 0 }.map { QueueID(rawValue: $0) })

    @Test func findsTheSameAsARecoveryAtOnce() throws {
        let disk = MemoryDisk()
        try Self.filled(disk)
        let behind = try SpoolHarness(disk.afterKill(), options: Self.options())
        let atOnce = try SpoolHarness(disk.afterKill(), options: Self.options(behind: false))
        #expect(behind.order == atOnce.order)
        #expect(Set(behind.order) == Self.expected)
        #expect(behind.order == behind.order.sorted(by: >), "the newest first")
        for id in behind.order {
            let state = id.rawValue % 5 == 0 ? Self.tried : DeliveryState()
            #expect(behind.recovered[id]?.state == state)
            #expect(atOnce.recovered[id]?.state == state)
            #expect(behind.recovered[id]?.location == atOnce.recovered[id]?.location)
        }
        behind.spool.close()
        atOnce.spool.close()
    }

    /// Opening reads headers and the segments that have no index; how much mail waits does not matter.
    @Test func opensWithoutReadingWhatWaits() throws {
        func reads(_ count: UInt64) throws -> (calls: Int, segments: Int) {
            let disk = MemoryDisk()
            let harness = try SpoolHarness(disk, options: Self.options(behind: false))
            for number in 1...count { try harness.accept(testMessage(number, body: 900)) }
            harness.spool.close()
            let calls = Counter()
            let counted = disk.afterKill { call in
                if call.name == "pread" { calls.add() }
                return nil
            }
            let spool = Spool(directory: "/data/queue", disk: counted, options: Self.options()) { _ in }
            try spool.recover { _ in Issue.record("visited too soon") }
            #expect(spool.highestID == QueueID(rawValue: count))
            let read = calls.count
            try spool.start { _ in }
            spool.close()
            return (read, counted.paths.count { $0.hasSuffix(".seg") })
        }
        let (few, many) = (try reads(40), try reads(400))
        #expect(many.segments > few.segments + 30)
        // The headers, once more for the name, and a footer, of each segment more; a table for none.
        #expect(many.calls - few.calls <= 5 * (many.segments - few.segments) + 5)
        #expect(few.calls > few.segments, "reads are counted")
    }

    /// An id is given to no second message, although the clock was set back and the old one is not read as yet.
    @Test(arguments: [true, false])
    func knowsTheHighestIDBeforeAnythingIsRead(saysSo: Bool) throws {
        let disk = MemoryDisk()
        let harness = try SpoolHarness(disk, options: Self.options(behind: false))
        try harness.accept(testMessage(5_000, body: 900))
        // It stays the highest, far from the end of the log.
        for number in 1...40 as ClosedRange<UInt64> { try harness.accept(testMessage(number, body: 900)) }
        harness.spool.close()
        if !saysSo {
            // Segments of an earlier version: the tables tell.
            for path in disk.paths where path.hasSuffix(".seg") {
                guard let bytes = disk.bytes(path), var header = SegmentHeader(decoding: Array(bytes.prefix(64))) else {
                    continue
                }
                header.highestID = 0
                let file = try disk.open(path, .update, permissions: 0)
                try file.write(header.encoded(), at: 0)
                try file.write(header.encoded(), at: bytes.count - 64)
            }
        }
        let spool = Spool(directory: "/data/queue", disk: disk.afterKill(), options: Self.options()) { _ in }
        try spool.recover { _ in }
        #expect(spool.highestID == QueueID(rawValue: 5_000))
        spool.close()
    }

    /// Nothing is given back before it is known what else is in it, and everything that is empty afterwards is.
    @Test func givesNoSegmentBackBeforeAllIsKnown() throws {
        let disk = MemoryDisk()
        try Self.filled(disk)
        let after = disk.afterKill()
        let before = Set(after.paths.filter { $0.hasSuffix(".seg") })
        let harness = try SpoolHarness(after, options: Self.options()) { spool, messages, progress in
            for message in messages { spool.appendSettled(message.id, at: message.location) }
            spool.sync()
            #expect(spool.wantsRoom == false)
            if progress.done < progress.of { #expect(before.isSubset(of: Set(after.paths))) }
        }
        harness.spool.sync()
        harness.spool.sync()
        let kept = before.intersection(Set(after.paths))
        #expect(kept.count < before.count, "what is empty is given back")
        harness.spool.close()
        let again = try SpoolHarness(after.afterKill(), options: Self.options())
        #expect(again.order.isEmpty)
        again.spool.close()
    }

    /// Mail is accepted, settled and noted while the rest is read; the power goes after every call.
    @Test func losesNothingWhereverThePowerGoesMeanwhile() throws {
        let base = MemoryDisk()
        try Self.filled(base)
        for limit in 0..<400 {
            let crash = CrashDisk(limit: limit, on: base.afterKill())
            let (accepted, settling, settled) = (Box(), Box(), Box())
            var next: UInt64 = 1_000
            let harness = try? SpoolHarness(crash.disk, options: Self.options()) { spool, messages, _ in
                next += 1
                spool.append(testMessage(next, body: 400))
                if let first = messages.first {
                    settling.add(first.id)
                    spool.appendSettled(first.id, at: first.location)
                }
                spool.sync()
                guard !crash.isDown else { return }
                accepted.add(QueueID(rawValue: next))
                if let first = messages.first { settled.add(first.id) }
            }
            harness?.spool.close()
            for cut in [PowerCut.keepsEverything, .keepsNothing, .keepsSome(seed: UInt64(limit))] {
                let again = try SpoolHarness(crash.disk.afterPowerCut(cut), options: Self.options())
                let found = Set(again.order)
                #expect(found.count == again.order.count, "call \(limit), \(cut)")
                #expect(Self.expected.subtracting(settling.ids).isSubset(of: found), "lost, call \(limit), \(cut)")
                #expect(accepted.ids.isSubset(of: found), "accepted and lost, call \(limit), \(cut)")
                #expect(found.isDisjoint(with: settled.ids), "settled and back, call \(limit), \(cut)")
                again.spool.close()
            }
            if !crash.isDown { return }
        }
        Issue.record("recovery makes more calls than the loop covers")
    }

    /// A relay that is stopped while it reads leaves everything as it was.
    @Test func endsEarlyWhenItIsClosed() throws {
        let disk = MemoryDisk()
        try Self.filled(disk)
        let after = disk.afterKill()
        let first = try SpoolHarness(after, options: Self.options()) { spool, messages, _ in
            if !messages.isEmpty { spool.endRecovery() }
        }
        #expect(first.order.count < Self.expected.count)
        first.spool.close()
        let again = try SpoolHarness(after.afterKill(), options: Self.options())
        #expect(Set(again.order) == Self.expected)
        again.spool.close()
    }
}

private final class Counter: Sendable {
    private let number = Atomic<Int>(0)
    var count: Int { number.load(ordering: .relaxed) }
    func add() { number.add(1, ordering: .relaxed) }
}

/// Ids that a closure gathers.
private final class Box: Sendable {
    private let all = Mutex<Set<QueueID>>([])
    var ids: Set<QueueID> { all.withLock { $0 } }
    func add(_ id: QueueID) { all.withLock { _ = $0.insert(id) } }
}
