// ForgedFilesTests.swift — files of our own whose checksums are right and whose content is not: nothing traps, and all
// mail is in the queue or under corrupt/.

import Files
import Mail
import NIOCore
import NIOPosix
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Queue

@Suite struct ForgedFilesTests {
    private static let lane = Lane.domain(Domain(unchecked: "a.test"))
    private static let wall = Timestamp(milliseconds: 1_800_000_000_000)

    private static func message(
        _ number: UInt64,
        recipients: Int = 4,
        body: String = "x: y\r\n\r\nhi\r\n"
    ) -> NewMessage {
        NewMessage(
            id: QueueID(rawValue: number),
            acceptedAt: wall,
            envelope: Envelope(
                sender: .address(EmailAddress(local: "s", domain: Domain(unchecked: "b.test"))),
                recipients: (0..<recipients).map {
                    Recipient(EmailAddress(local: "u\($0)", domain: Domain(unchecked: "a.test")), notify: .delay)
                }
            ),
            content: Content(
                prologue: ByteBuffer(string: "Received: x\r\n"),
                body: .memory(ByteBuffer(string: body)),
                hasLeadingDots: false,
                isEightBit: false
            )
        )
    }

    private static func group(_ recipients: [UInt32], due: Int64 = 1_800_000_000_500) -> DeliveryState.Group {
        DeliveryState.Group(
            recipients: recipients,
            failures: 1,
            due: Timestamp(milliseconds: due),
            reply: LastReply("450 later"),
            attemptedAt: wall
        )
    }

    /// What came of a start, and of everything a relay does with the queue.
    private struct Outcome {
        var messages = 0
        var aside: [String] = []
        var problems: [SpoolProblem] = []
    }

    private static func run(_ files: [(name: String, bytes: [UInt8])]) throws -> Outcome {
        let disk = MemoryDisk()
        disk.plant("/data/queue", .directory)
        disk.plant("/data/queue/corrupt", .directory)
        for file in files { disk.plant("/data/queue/\(file.name)", .file, file.bytes) }
        var outcome = Outcome()
        for start in 0..<2 {
            let problems = Mutex<[SpoolProblem]>([])
            var options = Spool.Options()
            options.segmentSize = 16 << 10
            options.worksInBackground = false
            options.retryDelay = 0
            options.readPause = 0
            let spool = Spool(directory: "/data/queue", disk: disk, options: options) { problem in
                problems.withLock { $0.append(problem) }
            }
            let queue = MailQueue(
                store: spool,
                disk: NIOThreadPool(numberOfThreads: 1),
                memory: MemoryBudget(limit: 1 << 20),
                options: MailQueue.Options()
            ) { address, _ in .domain(address.domain) }
            _ = try queue.recover(at: .now(), wall: wall)
            if start == 0 { outcome.messages = queue.counts.messages }
            try use(queue)
            queue.close()
            if start == 0 { outcome.problems = problems.withLock { $0 } }
        }
        outcome.aside = disk.paths.filter { $0.hasPrefix("/data/queue/corrupt/") }.map {
            String($0.dropFirst("/data/queue/corrupt/".count))
        }
        return outcome
    }

    /// Looks at everything, and gives every parcel that is due an outcome.
    private static func use(_ queue: MailQueue) throws {
        _ = queue.statistics(at: .now(), wall: wall)
        var filter = QueueFilter()
        filter.domain = Domain(unchecked: "a.test")
        for row in try queue.list(filter, sort: QueueSort(.nextAttempt), limit: 100).rows {
            _ = row.acceptedAt.rfc3339 + (row.nextAttempt?.rfc3339 ?? "") + (row.hold?.until?.rfc3339 ?? "")
            _ = try? queue.show(row.id)
            _ = try? queue.content(of: row.id)?.read(at: 0, count: 1000)
        }
        queue.reroute()
        queue.releaseDue(at: .now(), wall: wall)
        queue.flush(nil, at: .now())
        for parcel in queue.takeDue(in: lane, atMost: 100, at: .now()) {
            guard let assignment = try? queue.load(parcel) else { continue }
            for recipient in parcel.recipients { _ = assignment.envelope.recipients[Int(recipient)] }
            let deferral = Deferral(recipients: parcel.recipients, delay: 1000, reply: LastReply("450"))
            queue.settle(parcel, done: [], deferred: deferral, at: .now(), wall: wall)
        }
        _ = queue.statistics(at: Uptime.now().adding(milliseconds: 60_000), wall: wall)
    }

    private static func patched(_ record: [UInt8], at place: Int, _ bytes: [UInt8]) -> [UInt8] {
        var record = record
        record.replaceSubrange(place..<place + bytes.count, with: bytes)
        return record
    }

    private static func segment(_ records: [[UInt8]]) -> ForgedSegment {
        var segment = ForgedSegment()
        for record in records { segment.add(record) }
        return segment
    }

    /// Notes that cannot be about a message of four: it is as if they were damaged, and the message is tried again.
    @Test(arguments: [
        DeliveryState(waiting: [group([3, 0])]), DeliveryState(waiting: [group([0, 0])]),
        DeliveryState(waiting: [group([4])]), DeliveryState(waiting: [group([.max])]),
        DeliveryState(waiting: [group([0]), group([0])]), DeliveryState(waiting: [group([1])], done: [1]),
        DeliveryState(done: [2, 1]), DeliveryState(done: [7]), DeliveryState(done: [0], bounced: [1]),
        DeliveryState(bounced: [0]),
    ])
    func aNoteThatMakesNoSenseIsSetAside(state: DeliveryState) throws {
        let message = Self.message(5)
        for isSealed in [false, true] {
            let forged = Self.segment([ForgedSegment.record(message), ForgedSegment.record(state, of: message.id)])
            let file = forged.bytes(changingIndex: isSealed ? { _ in } : nil)
            let outcome = try Self.run([(forged.name, file)])
            #expect(outcome.messages == 1 && outcome.aside.count == 1)
            #expect(outcome.problems.contains { $0.kind == .damaged && $0.text.contains("\(message.id)") })
        }
        // Of a message that was copied forward it is a part.
        let copied = Self.segment([ForgedSegment.record(message, state)])
        let outcome = try Self.run([(copied.name, copied.bytes())])
        #expect(outcome.messages == 0 && outcome.aside.count == 1)
    }

    @Test func anOlderNoteCountsInsteadOfADamagedOne() throws {
        let message = Self.message(5)
        let forged = Self.segment([
            ForgedSegment.record(message),
            ForgedSegment.record(DeliveryState(waiting: [Self.group([0, 1])], done: [2, 3]), of: message.id),
            ForgedSegment.record(DeliveryState(waiting: [Self.group([3, 0])]), of: message.id),
        ])
        let disk = MemoryDisk()
        disk.plant("/data/queue", .directory)
        disk.plant("/data/queue/corrupt", .directory)
        disk.plant("/data/queue/\(forged.name)", .file, forged.bytes())
        let spool = Spool(directory: "/data/queue", disk: disk) { _ in }
        var states: [DeliveryState] = []
        try spool.recover { states.append($0.state) }
        spool.close()
        #expect(states.map(\.done) == [[2, 3]])
    }

    @Test func aMessageWhoseRecipientsAreAllDoneIsOver() throws {
        let message = Self.message(5)
        let note = ForgedSegment.record(DeliveryState(done: [0, 1, 2, 3], bounced: [2]), of: message.id)
        let forged = Self.segment([ForgedSegment.record(message), note])
        let outcome = try Self.run([(forged.name, forged.bytes())])
        #expect(outcome.messages == 0 && outcome.aside.isEmpty && outcome.problems.isEmpty)
    }

    /// Places in the record: 16 id, 24 time of acceptance, 32 length of the body, 40 of the envelope, 56 flags.
    @Test(
        arguments: [
            (24, [0, 0, 0, 0, 0, 0, 0, 0x80]), (24, [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
            (16, [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), (56, [4]), (64, [2]), (32, [0xFF, 0xFF]),
            (40, [1, 0, 0, 0]), (71, [0x0D]), (71, [0xFF]),
        ] as [(Int, [UInt8])]
    )
    func aMessageThatMakesNoSenseIsSetAside(place: Int, bytes: [UInt8]) throws {
        let record = Self.patched(ForgedSegment.record(Self.message(5)), at: place, bytes)
        // A record whose fixed part makes no sense gets no line in an index.
        for isSealed in [false, true] where !isSealed || place != 24 && place != 32 {
            let forged = Self.segment([ForgedSegment.record(Self.message(4)), record])
            let outcome = try Self.run([(forged.name, forged.bytes(changingIndex: isSealed ? { _ in } : nil))])
            #expect(outcome.messages == 1 && !outcome.aside.isEmpty, "\(place) \(isSealed) \(outcome.problems)")
            #expect(outcome.problems.contains { $0.kind == .damaged })
        }
    }

    @Test func mailForNobodyIsSetAside() throws {
        let forged = Self.segment([ForgedSegment.record(Self.message(5, recipients: 0))])
        let outcome = try Self.run([(forged.name, forged.bytes())])
        #expect(outcome.messages == 0 && outcome.aside.count == 1)
    }

    @Test func ofTwoRecordsOfOneIDTheNewerCountsAndTheOtherIsKept() throws {
        for (first, second) in [(1, 3), (3, 1), (2, 2)] {
            let older = ForgedSegment.record(Self.message(5, recipients: first))
            let newer = ForgedSegment.record(Self.message(5, recipients: second))
            var later = ForgedSegment(sequence: 2)
            later.add(newer)
            let one = Self.segment([older, newer])
            let two = Self.segment([older])
            for files in [[(one.name, one.bytes())], [(two.name, two.bytes()), (later.name, later.bytes())]] {
                let outcome = try Self.run(files)
                #expect(outcome.messages == 1 && outcome.aside.count == 1)
                #expect(outcome.problems.contains { $0.text.contains("second record") })
            }
        }
    }

    /// The index says four recipients, the record one.
    @Test func anIndexThatSaysSomethingElseThanTheRecordTrapsNowhere() throws {
        let forged = Self.segment([ForgedSegment.record(Self.message(5, recipients: 1))])
        let other = Self.segment([ForgedSegment.record(Self.message(5, recipients: 4))])
        var table: [UInt8] = []
        _ = other.bytes(changingIndex: { table = $0 })
        // Offset and length are those of the record that is there.
        var right: [UInt8] = []
        _ = forged.bytes(changingIndex: { right = $0 })
        table.replaceSubrange(4..<12, with: right[4..<12])
        let outcome = try Self.run([(forged.name, forged.bytes(changingIndex: { $0 = table }))])
        #expect(outcome.messages == 1 && outcome.aside.count == 1)
    }

    @Test func aSegmentOfTheLastNumberLeavesRoomForOthers() throws {
        var forged = ForgedSegment(sequence: .max)
        forged.add(ForgedSegment.record(Self.message(5)))
        let outcome = try Self.run([(forged.name, forged.bytes())])
        #expect(outcome.aside == [forged.name])
    }

    @Test func holdsThatMakeNoSenseHoldAndAreKept() throws {
        let (a, b) = (Self.message(5), Self.message(6))
        let forged = Self.segment([
            ForgedSegment.record(a), ForgedSegment.record(b), ForgedSegment.record(Self.message(7)),
        ])
        let text = "\(a.id) 1800000000000 fine\n\(b.id) -9223372036854775808..9223372036854775807 x\nnonsense\n"
        let disk = MemoryDisk()
        disk.plant("/data/queue", .directory)
        disk.plant("/data/queue/corrupt", .directory)
        disk.plant("/data/queue/\(forged.name)", .file, forged.bytes())
        disk.plant("/data/queue/holds", .file, Array(text.utf8))
        let problems = Mutex<[SpoolProblem]>([])
        let spool = Spool(directory: "/data/queue", disk: disk) { problem in problems.withLock { $0.append(problem) } }
        #expect(Set(spool.savedHolds().keys) == [a.id, b.id])
        let kept = disk.paths.filter { $0.hasPrefix("/data/queue/corrupt/holds-") }.compactMap { disk.bytes($0) }
        #expect(kept.map { $0.count { $0 == 0x0A } } == [2])
        #expect(problems.withLock { $0.map(\.kind) } == [.damaged])
    }

    /// Right checksums over anything: what is intact is there, and nothing traps.
    @Test func mutatedRecordsAreUsedOrSetAside() throws {
        var random = SeededRandom(seed: 1010)
        for round in 0..<Effort.count(400) {
            var forged = ForgedSegment()
            let untouched = Self.message(100)
            forged.add(ForgedSegment.record(untouched))
            for number in 1...4 as ClosedRange<UInt64> {
                let message = Self.message(number, recipients: Int.random(in: 1...5, using: &random))
                let state = DeliveryState(waiting: [Self.group([0])], done: [])
                let copied = Bool.random(using: &random) ? state : nil
                forged.add(Self.mutated(ForgedSegment.record(message, copied), &random))
                forged.add(Self.mutated(ForgedSegment.record(state, of: message.id), &random))
                if random.next() % 4 == 0 {
                    forged.add(Self.mutated(ForgedSegment.record(settled: message.id), &random))
                }
            }
            let isSealed = Bool.random(using: &random)
            var seed = random
            let file = forged.bytes(
                changingIndex: isSealed
                    ? { table in if Bool.random(using: &seed) { Self.change(&table, from: 0, &seed) } } : nil
            )
            let outcome = try Self.run([(forged.name, file)])
            random = seed
            #expect(outcome.messages + outcome.aside.count >= 1, "round \(round)")
        }
    }

    private static func mutated(_ record: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
        var record = record
        if Bool.random(using: &random) { change(&record, from: 16, &random) }
        return record
    }

    private static func change(_ bytes: inout [UInt8], from start: Int, _ random: inout SeededRandom) {
        guard bytes.count > start + 8 else { return }
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            let place = Int.random(in: start..<bytes.count - 4, using: &random)
            switch Int.random(in: 0...3, using: &random) {
            case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes[place] = 0xFF
            case 2: bytes[place] &+= 1
            default: for index in place..<min(place + 8, bytes.count) { bytes[index] = 0x80 }
            }
        }
    }
}
