// SpoolCodingTests.swift — what is written reads back the same, and whatever is read never traps.

import Files
import Mail
import NIOCore
import TestSupport
import Testing

@testable import Storage

@Suite struct SpoolCodingTests {
    private static func text(_ random: inout SeededRandom, _ limit: Int, of letters: String = "aZ9.é€-\"\r\n") -> String
    {
        String(
            (0..<Int.random(in: 0...limit, using: &random)).map { _ in letters.randomElement(using: &random) ?? "x" }
        )
    }

    /// Of letters that may stand in a command.
    private static func plain(_ random: inout SeededRandom, _ limit: Int) -> String {
        text(&random, limit, of: "aZ9.é€-\"e\u{301}")
    }

    private static func envelope(_ random: inout SeededRandom) -> Envelope {
        var recipients: [Recipient] = []
        let domains = (0..<3).map { _ in Domain(stored: plain(&random, 20)) }
        for _ in 0..<Int.random(in: 1...12, using: &random) {
            let address = EmailAddress(
                local: plain(&random, 200),
                domain: domains.randomElement(using: &random) ?? domains[0]
            )
            recipients.append(
                Recipient(
                    address,
                    notify: Bool.random(using: &random)
                        ? Notify(rawValue: UInt8.random(in: 0...7, using: &random)) : nil,
                    original: Bool.random(using: &random) ? plain(&random, 60) : nil
                )
            )
        }
        return Envelope(
            sender: Bool.random(using: &random)
                ? .null : .address(EmailAddress(local: plain(&random, 40), domain: domains[0])),
            recipients: recipients,
            isEightBit: Bool.random(using: &random),
            needsUTF8: Bool.random(using: &random),
            returns: [nil, .full, .headers].randomElement(using: &random) ?? nil,
            envelopeID: Bool.random(using: &random) ? plain(&random, 100) : nil,
            notes: Bool.random(using: &random) ? notes(&random) : Notes(),
            user: Bool.random(using: &random) ? text(&random, 60) : nil,
            requiresTLS: Bool.random(using: &random)
        )
    }

    private static func notes(_ random: inout SeededRandom) -> Notes {
        let address = { (random: inout SeededRandom) -> IPAddress? in
            IPAddress(
                bytes: (0..<[4, 16, 0][Int.random(in: 0...2, using: &random)]).map {
                    UInt8(truncatingIfNeeded: $0 &* 37)
                }
            )
        }
        var notes = Notes(outboundIP: address(&random), client: address(&random))
        notes.forceTLS = Bool.random(using: &random)
        if Bool.random(using: &random) { notes.caller = text(&random, 20) }
        if Bool.random(using: &random) { notes.outboundHelo = Domain(stored: plain(&random, 20)) }
        for _ in 0..<Int.random(in: 0...3, using: &random) { notes.values[text(&random, 9)] = text(&random, 30) }
        return notes
    }

    private static func state(_ random: inout SeededRandom) -> DeliveryState {
        func time() -> Timestamp { Timestamp(milliseconds: Int64(random.next() >> 17)) }
        // Each number goes to one list, or to none.
        var lists = Array(repeating: [UInt32](), count: 6)
        var number: UInt32 = 0
        for _ in 0..<Int.random(in: 0...60, using: &random) {
            number += UInt32.random(in: 1...40_000, using: &random)
            lists[Int.random(in: 0..<lists.count, using: &random)].append(number)
        }
        let groups = lists[2...].map { recipients in
            DeliveryState.Group(
                recipients: recipients,
                failures: UInt16.random(in: 0...UInt16.max, using: &random),
                due: time(),
                reply: random.next() % 4 == 0
                    ? nil : LastReply(text(&random, 200), reason: .policy, host: "mx[::1]:25"),
                attemptedAt: time(),
                unreached: Bool.random(using: &random) ? 0 : UInt16.random(in: 0...UInt16.max, using: &random),
                isOutOfReach: random.next() % 4 == 0
            )
        }
        return DeliveryState(
            waiting: groups,
            done: lists[0],
            bounced: lists[0].filter { _ in Bool.random(using: &random) },
            delayReported: Bool.random(using: &random),
            notedAt: time()
        )
    }

    @Test func envelopesAndStatesReadBackTheSame() throws {
        var random = SeededRandom(seed: 11)
        for _ in 0..<Effort.count(1_000) {
            let envelope = Self.envelope(&random)
            let state = Self.state(&random)
            var bytes: [UInt8] = []
            envelope.encode(to: &bytes)
            state.encode(to: &bytes)
            bytes.withUnsafeBytes { raw in
                var reader = StoredReader(raw)
                let read = try? Envelope(decoding: &reader)
                #expect(read == envelope)
                // Names that Swift takes for the same may be written differently.
                #expect(
                    read?.recipients.map { Array($0.address.domain.name.utf8) }
                        == envelope.recipients.map { Array($0.address.domain.name.utf8) }
                )
                #expect((try? DeliveryState(decoding: &reader)) == state)
                #expect(reader.remaining == 0)
            }
        }
    }

    @Test func decodersSurviveEverything() {
        var random = SeededRandom(seed: 12)
        var refused = 0
        let rounds = Effort.count(4_000)
        for _ in 0..<rounds {
            var bytes: [UInt8] = []
            Self.envelope(&random).encode(to: &bytes)
            Self.state(&random).encode(to: &bytes)
            for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0...3, using: &random) {
                case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes[index] = 0xFF
                case 2: bytes.removeSubrange(index...)
                default: bytes.insert(contentsOf: [0xFF, 0xFF, 0xFF, 0xFF, 0x7F], at: index)
                }
            }
            // An exact copy, so that one byte read too far is seen by the sanitizers.
            let exact = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
            exact.copyBytes(from: bytes)
            var reader = StoredReader(UnsafeRawBufferPointer(exact))
            if (try? Envelope(decoding: &reader)) == nil || (try? DeliveryState(decoding: &reader)) == nil {
                refused += 1
            }
            _ = try? SpoolIndex(reading: bytes, recordsEndAt: 1 << 20)
            _ = SegmentHeader(decoding: Array(bytes.prefix(64)))
            if bytes.count >= 64 { _ = try? SpoolRecord.parts(UnsafeRawBufferPointer(exact), length: bytes.count) }
            exact.deallocate()
        }
        #expect(refused > rounds / 2)
    }

    @Test func recordsAreBoundToTheirPlace() {
        let stamp = SegmentStamp(sequence: 3, salt: 99)
        var record: [UInt8] = []
        let plan = record.appendRecord(DeliveryState(waiting: [], done: [1, 2]), of: QueueID(rawValue: 5), .none)
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        record.seal(plan, at: 640, in: stamp, prologue: none, body: none)
        func verdict(_ offset: Int, _ stamp: SegmentStamp) -> SpoolRecord.Verdict? {
            record.withUnsafeBytes { raw in
                SpoolRecord.frame(raw, at: offset, in: stamp).map { SpoolRecord.verify(raw, $0, in: stamp) }
            }
        }
        #expect(verdict(640, stamp) == .sound)
        #expect(verdict(648, stamp) == nil)
        #expect(verdict(640, SegmentStamp(sequence: 4, salt: 99)) == nil)
        #expect(verdict(640, SegmentStamp(sequence: 3, salt: 98)) == nil)
        // Every single flipped bit is seen.
        for bit in 0..<record.count * 8 {
            record[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(verdict(640, stamp) != .sound, "bit \(bit)")
            record[bit / 8] ^= 1 << UInt8(bit % 8)
        }
    }

    @Test func aScanFindsWhatIsIntactInRandomlyDamagedSegments() throws {
        var random = SeededRandom(seed: 13)
        for round in 0..<Effort.count(60) {
            let disk = MemoryDisk()
            let harness = try SpoolHarness(disk)
            var places: [QueueID: Location] = [:]
            for number in 1...20 as ClosedRange<UInt64> {
                places[QueueID(rawValue: number)] = try harness.accept(testMessage(number))
            }
            let left = disk.afterKill()
            harness.spool.close()
            let path = "/data/queue/\(SegmentFile.name(1))"
            let before = try #require(left.bytes(path))
            left.damage(path) { bytes in
                for _ in 0..<3 {
                    let start = Int.random(in: 64..<bytes.count - 400, using: &random)
                    for index in start..<start + Int.random(in: 1...200, using: &random) {
                        bytes[index] = UInt8.random(in: 0...255, using: &random)
                    }
                }
            }
            let after = try #require(left.bytes(path))
            let again = try SpoolHarness(left)
            for (id, place) in places where place.segment == 1 {
                let range = Int(place.offset)..<Int(place.offset + place.length)
                #expect(
                    (again.recovered[id] != nil) == (before[range] == after[range]),
                    "round \(round), \(id.rawValue)"
                )
            }
            again.spool.close()
        }
    }
}
