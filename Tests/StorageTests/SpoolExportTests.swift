// SpoolExportTests.swift — check and export of a stopped spool.

import Files
import JSON
import Mail
import TestSupport
import Testing

@testable import Storage

@Suite struct SpoolExportTests {
    private static func filled() throws -> (MemoryDisk, [Location]) {
        let disk = MemoryDisk()
        let harness = try SpoolHarness(disk)
        var places: [Location] = []
        for number in 1...60 as ClosedRange<UInt64> {
            places.append(try harness.accept(testMessage(number, recipients: 2)))
        }
        places.append(try harness.acceptLarge(61, size: 40_000))
        harness.spool.append(DeliveryState(waiting: [], done: [1]), of: QueueID(rawValue: 7))
        harness.spool.appendSettled(QueueID(rawValue: 3), at: places[2])
        harness.spool.close()
        return (disk, places)
    }

    @Test func aSoundSpoolChecksOutAndIsNotChanged() throws {
        let (disk, _) = try Self.filled()
        let before = disk.paths.map { disk.bytes($0) }
        let report = try SpoolExport(directory: "/data/queue", disk: disk).check()
        #expect(report.damage == [])
        #expect(report.live.count == 60)
        #expect(report.largeBodies == 1)
        #expect(report.segments >= 2)
        #expect(disk.paths.map { disk.bytes($0) } == before)
    }

    @Test func writesEveryReadableMessage() throws {
        let (disk, places) = try Self.filled()
        disk.damage("/data/queue/\(SegmentFile.name(places[9].segment))") { $0[Int(places[9].offset) + 150] ^= 1 }
        let report = try SpoolExport(directory: "/data/queue", disk: disk).export(to: "/data/out")
        #expect(report.live.count == 59)
        #expect(report.damage.count == 1)
        for id in report.live {
            let size = id.rawValue == 61 ? 40_000 : 300
            let original = try bytes(of: testMessage(id.rawValue, body: size).content)
            #expect(disk.bytes("/data/out/\(id).eml").map { String(decoding: $0, as: UTF8.self) } == original)
        }
        let json = try JSON(parsing: try #require(disk.bytes("/data/out/\(QueueID(rawValue: 7)).json")))
        let recipients = json["recipients"]?.elements ?? []
        #expect(recipients.map { $0["address"]?.string } == ["user0@to7.example", "user1@to7.example"])
        #expect(recipients.map { $0["state"]?.string } == ["waiting", "done"])
        #expect(disk.bytes("/data/out/\(QueueID(rawValue: 3)).eml") == nil)
    }

    @Test func refusesASpoolInUse() throws {
        let disk = MemoryDisk()
        let harness = try SpoolHarness(disk)
        #expect(throws: QueueError.self) { try SpoolExport(directory: "/data/queue", disk: disk).check() }
        harness.spool.close()
        _ = try SpoolExport(directory: "/data/queue", disk: disk).check()
    }
}
