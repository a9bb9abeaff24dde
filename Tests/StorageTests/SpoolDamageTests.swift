// SpoolDamageTests.swift — broken and foreign files in the queue directory (reliability.md, C5): the spool starts, gives
// back every intact message and never a damaged one, and deletes nothing that is not its own.

import Files
import Mail
import NIOCore
import TestSupport
import Testing

@testable import Storage

@Suite struct SpoolDamageTests {
    enum Damage: String, CaseIterable, Sendable {
        case emptied, halved, shortened, zeroed, headZeroed, tailZeroed, middleZeroed, garbled
        case headerFlipped, recordHeaderFlipped, bodyFlipped, checksumFlipped, indexFlipped, footerFlipped, missing
        case bothHeadersZeroed, bothEndsZeroed

        /// - Parameter record: where some record in the middle lies.
        func apply(_ bytes: inout [UInt8], record: Location) {
            let offset = Int(record.offset)
            switch self {
            case .emptied, .missing: bytes = []
            case .halved: bytes.removeSubrange((bytes.count / 2 + 3)...)
            case .shortened: bytes.removeLast(100)
            case .zeroed: bytes = [UInt8](repeating: 0, count: bytes.count)
            case .headZeroed: for index in 0..<2048 { bytes[index] = 0 }
            case .tailZeroed: for index in bytes.count - 2048..<bytes.count { bytes[index] = 0 }
            case .middleZeroed: for index in offset..<offset + 1500 { bytes[index] = 0 }
            case .garbled:
                for index in offset - 700..<offset + 700 { bytes[index] ^= UInt8(truncatingIfNeeded: index) | 1 }
            case .headerFlipped: bytes[20] ^= 0x10
            case .recordHeaderFlipped: bytes[offset + 1] ^= 0x04
            case .bodyFlipped: bytes[offset + Int(record.length) - 40] ^= 0x01
            case .checksumFlipped: bytes[offset + 5] ^= 0x80
            case .indexFlipped:
                let footer = Array(bytes[bytes.count - 128..<bytes.count - 64])
                let start = Int(footer[8]) | Int(footer[9]) << 8 | Int(footer[10]) << 16
                bytes[min(start + 30, bytes.count - 1)] ^= 0x40
            case .bothHeadersZeroed:
                for index in 0..<64 { bytes[index] = 0 }
                for index in bytes.count - 64..<bytes.count { bytes[index] = 0 }
            case .bothEndsZeroed:
                for index in 0..<2048 { bytes[index] = 0 }
                for index in bytes.count - 2048..<bytes.count { bytes[index] = 0 }
            case .footerFlipped: bytes[bytes.count - 120] ^= 0x02
            }
        }

        var losesBothHeaders: Bool { self == .emptied || self == .zeroed || self == .missing }
    }

    /// A spool with sealed segments and an open one, killed; and where its messages lie.
    private static func filled() throws -> (MemoryDisk, [QueueID: Location]) {
        let disk = MemoryDisk()
        let harness = try SpoolHarness(disk)
        var places: [QueueID: Location] = [:]
        for number in 1...70 as ClosedRange<UInt64> {
            places[QueueID(rawValue: number)] = try harness.accept(testMessage(number, body: 500))
        }
        let left = disk.afterKill()
        harness.spool.close()
        return (left, places)
    }

    @Test(arguments: Damage.allCases, ["first", "middle", "last"])
    func givesBackWhatIsIntact(damage: Damage, which: String) throws {
        let (disk, places) = try Self.filled()
        let segments = Set(places.values.map(\.segment)).sorted()
        #expect(segments.count >= 4)
        let segment = which == "first" ? segments[0] : which == "last" ? segments[segments.count - 1] : segments[1]
        let path = "/data/queue/\(SegmentFile.name(segment))"
        let inside = places.filter { $0.value.segment == segment }.sorted { $0.value.offset < $1.value.offset }
        let before = try #require(disk.bytes(path))
        disk.damage(path) { damage.apply(&$0, record: inside[inside.count / 2].value) }
        let after = try #require(disk.bytes(path))
        if damage == .missing { disk.remove(path) }

        var lost = 0
        for start in 0..<2 {
            let harness = try SpoolHarness(disk.afterKill())
            lost = 0
            for (id, place) in places {
                let range = Int(place.offset)..<Int(place.offset + place.length)
                let isIntact =
                    place.segment != segment
                    || (!damage.losesBothHeaders && range.upperBound <= after.count && after[range] == before[range])
                let content = harness.recovered[id] == nil ? nil : try? harness.content(id)
                let original = try bytes(of: testMessage(id.rawValue, body: 500).content)
                if isIntact {
                    #expect(content == original, "\(id.rawValue) is intact and not there, start \(start)")
                } else {
                    lost += 1
                    #expect(content == nil, "\(id.rawValue) is damaged and was delivered")
                }
            }
            harness.spool.close()
        }
        // Whoever lost something says so. What nobody can know: an end that was never written, and a file that is gone.
        let harness = try SpoolHarness(disk)
        let isCutOff = [.tailZeroed, .middleZeroed, .bothEndsZeroed].contains(damage)
        let isUnknowable = damage == .missing || (which == "last" && isCutOff)
        if lost > 0, !isUnknowable {
            for id in harness.order { _ = try? harness.content(id) }
            #expect(harness.count(.damaged) > 0)
            #expect(disk.paths.contains { $0.hasPrefix("/data/queue/corrupt/") })
        }
        try harness.accept(testMessage(1000))
        harness.spool.close()
    }

    enum Foreign: String, CaseIterable, Sendable {
        case file, directory, link, pipe, segmentOfGarbage, directoryNamedLikeASegment, copyOfASegment, strayBody,
            strayLink

        func plant(_ disk: MemoryDisk) -> String {
            let queue = "/data/queue"
            switch self {
            case .file: disk.plant("\(queue)/README", .file, Array("hello".utf8))
            case .directory: disk.plant("\(queue)/old", .directory)
            case .link: disk.plant("\(queue)/00000000000000000777.seg", .link)
            case .pipe: disk.plant("\(queue)/pipe", .other)
            case .segmentOfGarbage:
                disk.plant("\(queue)/00000000000000000777.seg", .file, [UInt8](repeating: 0xA5, count: 16 << 10))
            case .directoryNamedLikeASegment: disk.plant("\(queue)/00000000000000000777.seg", .directory)
            case .copyOfASegment:
                disk.plant(
                    "\(queue)/00000000000000000777.seg",
                    .file,
                    disk.bytes("\(queue)/\(SegmentFile.name(1))") ?? []
                )
            case .strayBody: disk.plant("\(queue)/large/notes.txt", .file, Array("hello".utf8))
            case .strayLink: disk.plant("\(queue)/large/0000000000001.eml", .link)
            }
            switch self {
            case .file: return "README"
            case .directory: return "old"
            case .pipe: return "pipe"
            case .strayBody: return "notes.txt"
            case .strayLink: return "0000000000001.eml"
            default: return "00000000000000000777.seg"
            }
        }
    }

    @Test(arguments: Foreign.allCases)
    func setsForeignFilesAside(foreign: Foreign) throws {
        let (disk, places) = try Self.filled()
        let name = foreign.plant(disk)
        let harness = try SpoolHarness(disk)
        #expect(harness.recovered.count == places.count)
        for id in harness.order {
            #expect(try harness.content(id) == bytes(of: testMessage(id.rawValue, body: 500).content))
        }
        #expect(harness.problems.count == 1)
        #expect(disk.paths.contains("/data/queue/corrupt/\(name)"))
        try harness.accept(testMessage(1000))
        harness.spool.close()
    }

    @Test func readsAroundADamagedRecordAndSetsItAsideOnce() throws {
        let (disk, places) = try Self.filled()
        let id = QueueID(rawValue: 10)
        let place = try #require(places[id])
        disk.damage("/data/queue/\(SegmentFile.name(place.segment))") { $0[Int(place.offset) + 200] ^= 1 }
        // Its segment is sealed, so the start reads no body and does not see it; the first reading does.
        var harness = try SpoolHarness(disk)
        #expect(harness.recovered.count == places.count)
        #expect(throws: QueueError.self) { try harness.content(id) }
        let target = "/data/queue/corrupt/\(SegmentFile.name(place.segment).dropLast(4))-\(place.offset).bin"
        #expect(disk.bytes(target)?.count == Int(place.length))
        harness.spool.close()
        harness = try SpoolHarness(disk)
        #expect(harness.recovered.count == places.count - 1)
        harness.spool.close()
    }

    @Test(arguments: ["missing", "short", "flipped"])
    func neverCompletesADamagedLargeBody(kind: String) throws {
        let disk = MemoryDisk()
        var harness = try SpoolHarness(disk)
        let id = QueueID(rawValue: 4)
        _ = try harness.acceptLarge(4, size: 50_000)
        harness.spool.close()
        let path = "/data/queue/large/\(id).eml"
        switch kind {
        case "missing": disk.remove(path)
        case "short": disk.damage(path) { $0.removeLast() }
        default: disk.damage(path) { $0[20_000] ^= 1 }
        }
        harness = try SpoolHarness(disk)
        if kind == "flipped" {
            let location = try #require(harness.recovered[id]?.location)
            let content = try harness.spool.read(id, at: location).content
            guard case .file(let body) = content.body else {
                Issue.record("a large body came back in memory")
                return
            }
            // In order, out of order, and the end alone: never the last piece.
            #expect(throws: QueueError.self) {
                for offset in stride(from: 0, to: body.size, by: 7_000) { _ = try body.read(at: offset, count: 7_000) }
            }
            #expect(throws: QueueError.self) { try body.read(at: body.size - 10, count: 10) }
            #expect(try body.read(at: 0, count: 100).readableBytes == 100)
        } else {
            #expect(harness.recovered[id] == nil)
            // A body that is too short is kept beside its record.
            #expect(harness.count(.damaged) == (kind == "short" ? 2 : 1))
            #expect(disk.paths.contains("/data/queue/corrupt/\(id).eml") == (kind == "short"))
            #expect(disk.paths.contains { $0.hasPrefix("/data/queue/corrupt/") && $0.hasSuffix(".bin") })
        }
        harness.spool.close()
        if kind != "flipped" {
            harness = try SpoolHarness(disk)
            #expect(harness.count(.damaged) == 0)
            harness.spool.close()
        }
    }

    @Test func keepsTheBodyOfAMessageWhoseRecordIsDamaged() throws {
        let disk = MemoryDisk()
        var harness = try SpoolHarness(disk)
        let place = try harness.acceptLarge(4, size: 50_000)
        let left = disk.afterKill()
        harness.spool.close()
        left.damage("/data/queue/\(SegmentFile.name(place.segment))") { $0[Int(place.offset) + 100] ^= 1 }
        harness = try SpoolHarness(left)
        #expect(harness.recovered.isEmpty)
        #expect(left.paths.contains("/data/queue/corrupt/\(QueueID(rawValue: 4)).eml"))
        harness.spool.close()
    }

    /// Bytes inside a body that look like a record of this very place are not taken for one.
    @Test func aBodyCannotForgeARecord() throws {
        let disk = MemoryDisk()
        var harness = try SpoolHarness(disk)
        let forged = testMessage(666, body: 100)
        var record: [UInt8] = []
        let plan = record.appendRecord(forged, state: nil, bodyChecksum: 0)
        var body = ByteBuffer()
        // The forger knows the sequence and every offset, but not the salt.
        for offset in stride(from: 64, to: 4096, by: 512) {
            let bytes = record
            record.seal(
                plan,
                at: offset,
                in: SegmentStamp(sequence: 1, salt: 0),
                prologue: UnsafeRawBufferPointer(start: nil, count: 0),
                body: UnsafeRawBufferPointer(start: nil, count: 0)
            )
            body.writeBytes(record)
            record = bytes
        }
        let content = Content(prologue: ByteBuffer(), body: .memory(body), hasLeadingDots: false, isEightBit: true)
        let carrier = NewMessage(
            id: QueueID(rawValue: 1),
            acceptedAt: forged.acceptedAt,
            envelope: forged.envelope,
            content: content
        )
        let place = try harness.accept(carrier)
        let left = disk.afterKill()
        harness.spool.close()
        left.damage("/data/queue/\(SegmentFile.name(place.segment))") { $0[Int(place.offset)] ^= 0x08 }
        harness = try SpoolHarness(left)
        #expect(harness.recovered[forged.id] == nil)
        harness.spool.close()
    }
}
