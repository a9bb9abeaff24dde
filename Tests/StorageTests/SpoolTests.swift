// SpoolTests.swift — the store in everyday use: what goes in comes out, also after a restart.

import Files
import Mail
import NIOCore
import TestSupport
import Testing

@testable import Storage

@Suite struct SpoolTests {
    @Test func givesBackWhatItWasGiven() throws {
        let disk = MemoryDisk()
        let harness = try SpoolHarness(disk)
        let message = testMessage(7, body: 900, recipients: 3)
        let location = try harness.accept(message)
        let read = try harness.spool.read(message.id, at: location)
        #expect(read.envelope == message.envelope)
        #expect(read.acceptedAt == message.acceptedAt)
        #expect(try bytes(of: read.content) == bytes(of: message.content))
        #expect(read.content.hasLeadingDots == message.content.hasLeadingDots)
        #expect(read.content.isEightBit == message.content.isEightBit)
        #expect(try harness.spool.readEnvelope(message.id, at: location) == message.envelope)
        harness.spool.close()
    }

    @Test func findsEveryMessageAfterAKillAndAfterACleanStop() throws {
        var disk = MemoryDisk()
        var harness = try SpoolHarness(disk)
        for number in 1...100 as ClosedRange<UInt64> { try harness.accept(testMessage(number)) }
        for isClean in [false, true, true] {
            if isClean { harness.spool.close() }
            disk = disk.afterKill()
            harness = try SpoolHarness(disk)
            #expect(harness.order.map(\.rawValue) == Array((1...100).reversed()), "the newest first")
            for number in 1...100 as ClosedRange<UInt64> {
                #expect(try harness.content(QueueID(rawValue: number)) == bytes(of: testMessage(number).content))
            }
            #expect(harness.problems == [])
        }
        harness.spool.close()
    }

    @Test func forgetsWhatIsSettledAndKeepsTheLatestState() throws {
        let disk = MemoryDisk()
        var harness = try SpoolHarness(disk)
        let locations = try harness.accept((1...20).map { testMessage($0, recipients: 4) })
        let early = DeliveryState(waiting: [], done: [0])
        let late = DeliveryState(
            waiting: [
                .init(
                    recipients: [2, 3],
                    failures: 2,
                    due: Timestamp(milliseconds: 5),
                    reply: LastReply("451 later", reason: .policy, host: "mx"),
                    attemptedAt: Timestamp(milliseconds: 4)
                )
            ],
            done: [0, 1],
            delayReported: true
        )
        for (index, location) in locations.enumerated() {
            let id = QueueID(rawValue: UInt64(index + 1))
            harness.spool.append(early, of: id)
            if index % 2 == 0 { harness.spool.append(late, of: id) }
            if index % 5 == 0 { harness.spool.appendSettled(id, at: location) }
        }
        harness.spool.close()
        harness = try SpoolHarness(disk.afterKill())
        #expect(harness.recovered.count == 16)
        for (id, message) in harness.recovered {
            let index = id.rawValue - 1
            #expect(index % 5 != 0)
            #expect(message.state == (index % 2 == 0 ? late : early))
        }
        harness.spool.close()
    }

    @Test func recyclesSegmentsThatHoldNothingLive() throws {
        let disk = MemoryDisk()
        let harness = try SpoolHarness(disk)
        for number in 1...500 as ClosedRange<UInt64> {
            let location = try harness.accept(testMessage(number))
            harness.spool.appendSettled(QueueID(rawValue: number), at: location)
            harness.spool.sync()
        }
        let segments = disk.paths.filter { $0.hasSuffix(".seg") }
        #expect(segments.count <= 6)
        harness.spool.close()
        let again = try SpoolHarness(disk.afterKill())
        #expect(again.recovered.isEmpty)
        #expect(again.problems == [])
        again.spool.close()
    }

    @Test func carriesAMessageThatStaysForwardWithItsState() throws {
        let disk = MemoryDisk()
        var harness = try SpoolHarness(disk)
        var kept = try harness.accept(testMessage(1, recipients: 3))
        let state = DeliveryState(waiting: [], done: [1])
        harness.spool.append(state, of: QueueID(rawValue: 1))
        var moves = 0
        for number in 2...400 as ClosedRange<UInt64> {
            let location = try harness.accept(testMessage(number))
            harness.spool.appendSettled(QueueID(rawValue: number), at: location)
            harness.spool.sync()
            if harness.spool.isBeingEmptied(kept) {
                kept = try harness.spool.move(QueueID(rawValue: 1), from: kept, state)
                moves += 1
            }
        }
        #expect(moves > 3)
        #expect(disk.paths.filter { $0.hasSuffix(".seg") }.count <= 7)
        for _ in 0..<2 {
            harness = try SpoolHarness(disk.afterKill())
            #expect(harness.order == [QueueID(rawValue: 1)])
            #expect(harness.recovered.values.first?.state == state)
            #expect(try harness.content(QueueID(rawValue: 1)) == bytes(of: testMessage(1).content))
            harness.spool.close()
        }
    }

    @Test func doesNotMoveWhatWasSettledMeanwhile() throws {
        let harness = try SpoolHarness(MemoryDisk())
        let location = try harness.accept(testMessage(1))
        harness.spool.appendSettled(QueueID(rawValue: 1), at: location)
        #expect(try harness.spool.move(QueueID(rawValue: 1), from: location, DeliveryState()) == location)
        harness.spool.close()
    }

    @Test func keepsLargeBodiesBesideTheLog() throws {
        var disk = MemoryDisk()
        var harness = try SpoolHarness(disk)
        let location = try harness.acceptLarge(9, size: 100_000)
        let id = QueueID(rawValue: 9)
        disk = disk.afterKill()
        harness = try SpoolHarness(disk)
        #expect(try harness.content(id) == bytes(of: testMessage(9, body: 100_000).content))
        #expect(disk.paths.contains("/data/queue/large/\(id).eml"))
        harness.spool.appendSettled(id, at: location)
        harness.spool.sync()
        #expect(!disk.paths.contains("/data/queue/large/\(id).eml"))
        harness.spool.close()
        #expect(try SpoolHarness(disk.afterKill()).recovered.isEmpty)
    }

    @Test func removesLargeBodiesThatWereNeverAccepted() throws {
        let disk = MemoryDisk()
        let harness = try SpoolHarness(disk)
        let body = try harness.spool.makeLargeBody(QueueID(rawValue: 5))
        try body.write(ByteBuffer(string: "half"))
        try body.finish()
        let other = try harness.spool.makeLargeBody(QueueID(rawValue: 6))
        other.discard()
        #expect(disk.paths.filter { $0.hasPrefix("/data/queue/large/") }.count == 1)
        harness.spool.close()
        let after = disk.afterKill()
        let again = try SpoolHarness(after)
        #expect(after.paths.filter { $0.hasPrefix("/data/queue/large/") } == [])
        #expect(again.problems == [])
        again.spool.close()
    }

    @Test func takesTenThousandRecipients() throws {
        let disk = MemoryDisk()
        var harness = try SpoolHarness(disk, options: SpoolHarness.options(segment: 1 << 20))
        let message = testMessage(3, recipients: 10_000)
        try harness.accept(message)
        let state = DeliveryState(waiting: [], done: Array(0..<9_999))
        harness.spool.append(state, of: message.id)
        harness.spool.close()
        harness = try SpoolHarness(disk.afterKill(), options: SpoolHarness.options(segment: 1 << 20))
        #expect(harness.recovered[message.id]?.envelope == message.envelope)
        #expect(harness.recovered[message.id]?.state == state)
        harness.spool.close()
    }

    @Test func refusesAMessageThatFitsNoSegment() throws {
        let harness = try SpoolHarness(MemoryDisk())
        #expect(throws: QueueError.self) { try harness.accept(testMessage(1, body: 20_000)) }
        try harness.accept(testMessage(2))
        harness.spool.close()
    }

    @Test func opensOnlySoManyFilesAtOnce() throws {
        var disk = MemoryDisk()
        var options = SpoolHarness.options()
        options.openSegments = 3
        var harness = try SpoolHarness(disk, options: options)
        for number in 1...600 as ClosedRange<UInt64> { try harness.accept(testMessage(number)) }
        harness.spool.close()
        #expect(disk.paths.filter { $0.hasSuffix(".seg") }.count > 10)
        disk = disk.afterKill()
        harness = try SpoolHarness(disk, options: options)
        for id in harness.order { _ = try harness.content(id) }
        #expect(harness.order.count == 600)
        #expect(disk.mostOpenFiles <= 8)
        harness.spool.close()
    }

    @Test func letsOnlyOneProcessIn() throws {
        let disk = MemoryDisk()
        let first = try SpoolHarness(disk)
        do {
            _ = try SpoolHarness(disk)
            Issue.record("a second spool was opened")
        } catch let error as QueueError {
            guard case .locked(let text) = error else { throw error }
            #expect(text.contains("process "))
        }
        first.spool.close()
        try SpoolHarness(disk).spool.close()
    }

    @Test func usesTheSameSpareAgainWhenNothingWasWritten() throws {
        var disk = MemoryDisk()
        for _ in 0..<5 {
            try SpoolHarness(disk).spool.close()
            disk = disk.afterKill()
        }
        #expect(disk.paths.filter { $0.hasSuffix(".seg") }.count <= 2)
    }

    @Test func hasNoRoomOnAFullDisk() throws {
        let disk = MemoryDisk()
        var options = SpoolHarness.options()
        options.now = { Uptime(milliseconds: 0) }
        disk.space = DiskSpace(freeBytes: 10 << 20, totalBytes: 100 << 20, freeFiles: 100)
        var harness = try SpoolHarness(disk, options: options)
        #expect(harness.spool.hasRoom(for: 1 << 20))
        #expect(!harness.spool.hasRoom(for: 20 << 20))
        harness.spool.close()
        disk.space = DiskSpace(freeBytes: 10 << 20, totalBytes: 100 << 20, freeFiles: 3)
        harness = try SpoolHarness(disk, options: options)
        #expect(!harness.spool.hasRoom(for: 1000))
        harness.spool.close()
    }
}
