// ArchivePowerLossTests.swift — archive.ini on a real spool whose power goes after every single system call: who heard 250 has a message
// and one copy of it; whose client was not answered sends again; and no message is ever there without its copy.

import Config
import Files
import Hooks
import Log
import Loop
import Mail
import NIOCore
import NIOPosix
import Queue
import Storage
import TestSupport
import Testing

@testable import Intake

struct ArchivePowerLossTests {
    /// A relay on a disk, as it is between two cuts.
    private struct Life {
        let queue: MailQueue
        let intake: Intake

        init(_ disk: any Disk, splits: Bool, threads: NIOThreadPool) throws {
            var settings = Settings(me: Domain(unchecked: "relay.example"))
            settings.archive = try ArchiveSettings.read(
                INIDocument(
                    parsing: """
                        [law]
                        to = archive@vault.example
                        required = true
                        [shop]
                        to = archive@vault.example, second@vault.example
                        senders = @x.example
                        form = headers
                        """
                )
            )
            settings.outbound.alwaysSplit = splits
            settings.listener.inMemoryBytes = 400
            queue = MailQueue(
                store: Spool(directory: "/data/queue", disk: disk, options: ArchivePowerLossTests.options) { _ in },
                disk: threads,
                memory: MemoryBudget(limit: 64 << 20),
                options: MailQueue.Options()
            ) { recipient, _ in .domain(recipient.domain) }
            let log = LogSink(level: .critical)
            intake = Intake(
                queue: queue,
                plugins: PluginChain([], log: log, deadline: { .seconds(600) }),
                log: log,
                settings: InForce(settings)
            )
            _ = try queue.recover(at: Uptime.now(), wall: Timestamp.now())
        }
    }

    private static let mail = 6

    private static var options: Spool.Options {
        var options = Spool.Options()
        options.segmentSize = 16 << 10
        options.worksInBackground = false
        options.retryDelay = 0
        options.readPause = 0
        return options
    }

    /// Small ones, one that outgrows memory, one recipient and several.
    private static func submission(_ number: Int) -> Submission {
        let people = (0...number % 3).map { "\($0)@y\($0).example" }
        let envelope = Envelope(
            sender: EmailAddress(number % 2 == 0 ? "a@x.example" : "a@other.example").map { .address($0) } ?? .null,
            recipients: people.compactMap { EmailAddress($0) }.map { Recipient($0) }
        )
        let lines = String(repeating: "a line of mail \(number)\r\n", count: number % 4 == 3 ? 60 : 3)
        let text = "From: a@x.example\r\nSubject: number \(number).\r\n\r\n\(lines)"
        return Submission(envelope, ByteBuffer(string: text), from: Provenance(.api))
    }

    /// Hands everything in, one after the other, once each.
    ///
    /// - Returns: the ids of those that heard 250.
    private static func handIn(_ numbers: [Int], to life: Life) async -> [Int: [QueueID]] {
        var answers: [Int: [QueueID]] = [:]
        for number in numbers {
            let admission = await life.intake.submit(submission(number), on: TestIntake.loops.next())
            if case .queued(let id, let others) = admission { answers[number] = [id] + others }
        }
        return answers
    }

    private struct Found {
        var messages: [QueueID: String] = [:]
        /// Texts of copies, by what they are of.
        var copies: [String: [String]] = [:]
    }

    /// Everything that a start finds.
    private static func look(_ disk: MemoryDisk) throws -> Found {
        var found = Found()
        let spool = Spool(directory: "/data/queue", disk: disk, options: options) { _ in }
        var recovered: [RecoveredMessage] = []
        try spool.recover { recovered.append($0) }
        try spool.start { _ in }
        spool.recoverRest { messages, _ in recovered += messages }
        for message in recovered {
            let content = try spool.read(message.id, at: message.location).content
            let text = String(decoding: try content.read(at: 0, count: content.size), as: UTF8.self)
            if let original = message.envelope.archivedMessage {
                found.copies[original, default: []].append(text)
            } else {
                found.messages[message.id] = text
            }
        }
        spool.close()
        return found
    }

    private static func check(_ found: Found, _ answers: [Int: [QueueID]], _ place: Comment) {
        for (number, ids) in answers {
            for id in ids { #expect(found.messages[id] != nil, "\(number) is lost, \(place)") }
            let copies = found.copies["\(ids[0])"] ?? []
            #expect(copies.count == 1, "\(number) has \(copies.count) copies, \(place)")
            #expect(copies.first?.contains(subject(number)) == true, place)
            for id in ids.dropFirst() { #expect(found.copies["\(id)"] == nil, "a part has none of its own, \(place)") }
        }
        // Of those whose client was not answered: never the mail alone, and never two copies.
        for (original, copies) in found.copies { #expect(copies.count == 1, "\(original), \(place)") }
        for number in 0..<mail where found.messages.values.contains(where: { $0.contains(subject(number)) }) {
            let isKept = found.copies.values.joined().contains { $0.contains(subject(number)) }
            #expect(isKept, "\(number) goes out and is in no archive, \(place)")
        }
    }

    private static func subject(_ number: Int) -> String { "Subject: number \(number).\r\n" }

    @Test(arguments: [false, true])
    func oneCopyWhereverThePowerGoes(splits: Bool) async throws {
        let threads = NIOThreadPool(numberOfThreads: 2)
        threads.start()
        defer { threads.shutdownGracefully { _ in } }
        let numbers = Array(0..<Self.mail)
        let whole = CrashDisk(limit: .max)
        let life = try Life(whole.disk, splits: splits, threads: threads)
        let all = await Self.handIn(numbers, to: life)
        #expect(all.count == numbers.count)
        let calls = whole.calls
        life.queue.close()
        Self.check(try Self.look(whole.disk.afterPowerCut(.keepsNothing)), all, "nothing happened")
        for limit in 0...calls {
            let crash = CrashDisk(limit: limit)
            var answers: [Int: [QueueID]] = [:]
            if let life = try? Life(crash.disk, splits: splits, threads: threads) {
                answers = await Self.handIn(numbers, to: life)
                life.queue.close()
            }
            for cut in [PowerCut.keepsEverything, .keepsNothing, .keepsSome(seed: UInt64(limit))] {
                let place: Comment = "call \(limit) of \(calls), \(cut)"
                Self.check(try Self.look(crash.disk.afterPowerCut(cut)), answers, place)
                // Whose client was not answered comes again.
                guard limit % 5 == 0, case .keepsSome = cut else { continue }
                let left = crash.disk.afterPowerCut(cut)
                let again = try Life(left, splits: splits, threads: threads)
                let rest = numbers.filter { answers[$0] == nil }
                let later = await Self.handIn(rest, to: again)
                #expect(later.count == rest.count, place)
                again.queue.close()
                Self.check(try Self.look(left.afterPowerCut(.keepsNothing)), answers.merging(later) { $1 }, place)
            }
        }
    }
}
