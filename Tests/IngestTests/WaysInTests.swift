// WaysInTests.swift — the same message, handed in by every way there is: the same lines in front, plugins, signature, log
// line, and answers.

import Config
import Glibc
import Hooks
import Ingest
import Intake
import Log
import Mail
import MessageFormat
import NIOCore
import NIOPosix
import OpenSSL
import Queue
import SMTP
import Storage
import TestSupport
import Testing

@Suite struct WaysInTests {
    /// Every way into the relay.
    enum Way: String, CaseIterable, Sendable {
        case data, bdat, api, sendEmail, report
    }

    /// What is common to all answers.
    private struct Answer: Equatable {
        /// As SMTP says it; nil for a message that was taken.
        let refusal: String?
    }

    private static let text = "From: A <a@signed.example>\r\nSubject: one\r\n\r\n.a line\r\nanother\r\n"

    private static let clients: NIOThreadPool = {
        let pool = NIOThreadPool(numberOfThreads: 2)
        pool.start()
        return pool
    }()

    /// Hands the message in.
    private static func handIn(_ way: Way, _ relay: TestRelay, text: String = text) async throws -> Answer {
        let sender = try #require(EmailAddress("a@x.example"))
        let recipients = [try #require(EmailAddress("b@x.example"))]
        let envelope = Envelope(sender: .address(sender), recipients: recipients.map { Recipient($0) })
        let loop = TestRelay.loops.next()
        switch way {
        // On a thread of its own: plugins need those of Swift's tasks.
        case .data, .bdat: return try await clients.runIfActive { try smtp(relay, text, isChunk: way == .bdat) }
        case .sendEmail:
            let submission = Submission(from: .address(sender), to: recipients, contents: Array(text.utf8))
            return answer(await relay.intake.submit(submission, on: loop))
        case .api, .report:
            let about = QueueID(rawValue: 1)
            let provenance = way == .api ? Provenance(.api) : Provenance(.inside, about: about)
            let submission = Submission(envelope, ByteBuffer(string: text), from: provenance)
            return answer(await relay.intake.submit(submission, on: loop))
        }
    }

    private static func answer(_ admission: Admission) -> Answer {
        guard case .refused(let refusal) = admission else { return Answer(refusal: nil) }
        return Answer(refusal: refusal.reply.description)
    }

    private static func smtp(_ relay: TestRelay, _ text: String, isChunk: Bool) throws -> Answer {
        let socket = try Socket(port: relay.port)
        _ = socket.line()
        try socket.send("EHLO client.example\r\n")
        _ = socket.reply()
        try socket.send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n")
        for _ in 0..<2 { _ = socket.line() }
        if isChunk {
            try socket.send("BDAT \(text.utf8.count) LAST\r\n\(text)")
        } else {
            try socket.send("DATA\r\n")
            let reply = try #require(socket.line())
            guard reply.hasPrefix("354") else { return Answer(refusal: reply) }
            let lines = text.split(separator: "\r\n", omittingEmptySubsequences: false)
            try socket.send(lines.map { $0.hasPrefix(".") ? ".\($0)" : "\($0)" }.joined(separator: "\r\n") + ".\r\n")
        }
        let reply = try #require(socket.line())
        return Answer(refusal: reply.hasPrefix("250") ? nil : reply)
    }

    /// The names of the fields that we have put in front.
    private static func added(_ message: NewMessage) -> [String] {
        String(buffer: message.content.prologue).split(separator: "\r\n")
            .filter { !$0.hasPrefix("\t") }
            .map { String($0.prefix { $0 != ":" }) }
    }

    private static func signing(_ settings: inout Settings) throws {
        let key = try SigningKey.generate(.ed25519)
        let domain = Domain(unchecked: "signed.example")
        settings.dkim.add(key, as: "s", of: domain)
    }

    @Test func theSameMessageIsStored() async throws {
        let recorder = Recorder(answer: .next)
        let log = try LogFile()
        let relay = try await TestRelay(plugins: [recorder], log: log.sink) { try? Self.signing(&$0) }
        for way in Way.allCases {
            #expect(try await Self.handIn(way, relay) == Answer(refusal: nil), "\(way)")
        }
        let messages = relay.store.messages
        #expect(messages.count == Way.allCases.count)
        let first = try #require(messages.first)
        for (way, message) in zip(Way.allCases, messages) {
            #expect(Self.added(message) == ["DKIM-Signature", "Received", "Message-ID", "Date"], "\(way)")
            #expect(message.content.hasLeadingDots && !message.content.isEightBit, "\(way)")
            #expect(message.envelope.recipients == first.envelope.recipients, "\(way)")
            guard case .memory(let body) = message.content.body else { throw NotInMemory() }
            #expect(String(buffer: body) == Self.text, "\(way)")
        }
        #expect(recorder.asked == Array(repeating: Self.text, count: Way.allCases.count), "every one passes the plugin")
        let lines = log.lines(LogEvent.accepted)
        #expect(lines.count == Way.allCases.count)
        for (line, message) in zip(lines, messages) {
            for field in ["id=\(message.id)", "from=a@x.example", "recipients=1", "size=\(message.content.size)"] {
                #expect(line.split(separator: " ").contains(Substring(field)), "\(field): \(line)")
            }
        }
        await relay.listener.stop(patience: 0)
    }

    @Test(arguments: [
        (QueueError.full("no space"), "452 4.3.1 Insufficient system storage"),
        (QueueError.broken("EIO"), "451 4.3.0 Cannot store the message now"),
        (QueueError.damaged("a record"), "451 4.3.0 Cannot store the message now"),
        (QueueError.closing, "421 4.3.2 Shutting down"),
    ])
    func troubleWithTheDiskIsTheSame(_ error: QueueError, _ reply: String) async throws {
        let relay = try await TestRelay()
        relay.store.set(.failing(error))
        for way in Way.allCases { #expect(try await Self.handIn(way, relay) == Answer(refusal: reply), "\(way)") }
        #expect(relay.queue.memory.used == 0)
        await relay.listener.stop(patience: 0)
    }

    @Test func aFullDiskIsTheSameBeforeTheMessage() async throws {
        let relay = try await TestRelay()
        relay.store.setRoom(false)
        let full = Answer(refusal: "452 4.3.1 Insufficient system storage")
        for way in Way.allCases where way != .report {
            #expect(try await Self.handIn(way, relay) == full, "\(way)")
        }
        // A report takes the room of what it reports.
        #expect(try await Self.handIn(.report, relay) == Answer(refusal: nil))
        await relay.listener.stop(patience: 0)
    }

    @Test func aPluginRefusesTheSame() async throws {
        let reply = Reply(554, EnhancedStatus(5, 7, 1), "not this one")
        let relay = try await TestRelay(plugins: [Recorder(answer: .reject(reply))])
        for way in Way.allCases {
            #expect(try await Self.handIn(way, relay) == Answer(refusal: "554 5.7.1 not this one"), "\(way)")
        }
        #expect(relay.store.messages.isEmpty && relay.queue.memory.used == 0)
        await relay.listener.stop(patience: 0)
    }

    @Test(arguments: [
        ("Subject: x\r\n\r\nbare\nlf\r\n", "550 5.5.2 Bare CR, bare LF or NUL in message"),
        ("Subject: x\r\n\r\nbare\rcr\r\n", "550 5.5.2 Bare CR, bare LF or NUL in message"),
        ("Subject: x\r\n\r\ntwo\r\r\nx\r\n", "550 5.5.2 Bare CR, bare LF or NUL in message"),
        ("Subject: x\r\n\r\nnul\0\r\n", "550 5.5.2 Bare CR, bare LF or NUL in message"),
        ("Received: 1\r\nReceived: 2\r\nReceived: 3\r\n\r\nx\r\n", "554 5.4.6 Too many hops"),
        ("X: \(String(repeating: "a", count: 2000))\r\n\r\nx\r\n", "552 5.3.4 Message header too big"),
    ])
    func contentIsRefusedTheSame(_ text: String, _ reply: String) async throws {
        let relay = try await TestRelay {
            $0.listener.receivedHeaders = 2
            $0.listener.headerBytes = 1000
        }
        // LF ends a line of what programs hand in; the rest is as by SMTP.
        for way in Way.allCases where way != .sendEmail || !text.utf8.contains(UInt8(ascii: "f")) {
            #expect(try await Self.handIn(way, relay, text: text) == Answer(refusal: reply), "\(way)")
        }
        #expect(relay.store.messages.isEmpty && relay.queue.memory.used == 0)
        await relay.listener.stop(patience: 0)
    }

    /// The document's `send_email(from, to, contents)`: its answer means "on disk", not "on its way".
    @Test func sendEmailAnswersWhenTheMailIsOnDisk() async throws {
        let relay = try await TestRelay()
        let from = try #require(EmailAddress("a@x.example"))
        let to = ["b@x.example", "c@y.example"].compactMap { EmailAddress($0) }
        relay.store.set(.held)
        let hasAnswered = Box(false)
        let contents = Array("Subject: x\n\n.one\ntwo\r\nthree".utf8)
        let sending = Task {
            let submission = Submission(from: .address(from), to: to, contents: contents)
            let admission = await relay.intake.submit(submission, on: TestRelay.loops.next())
            hasAnswered.set(true)
            return admission
        }
        #expect(await eventually { relay.store.messages.count == 1 })
        #expect(!hasAnswered.get(), "nothing is synced yet")
        relay.store.commit()
        let message = try #require(relay.store.messages.first)
        #expect(await sending.value == .queued(message.id))
        #expect(message.envelope.sender == .address(from))
        #expect(message.envelope.recipients.map(\.address) == to)
        guard case .memory(let body) = message.content.body else { throw NotInMemory() }
        #expect(String(buffer: body) == "Subject: x\r\n\r\n.one\r\ntwo\r\nthree\r\n")
        let nobody = Submission(from: .null, to: [], contents: contents)
        let answer = await relay.intake.submit(nobody, on: TestRelay.loops.next())
        #expect(answer == .refused(Refusal(.noRecipients)))
        await relay.listener.stop(patience: 0)
    }

    /// Beyond `in_memory_bytes`, and when the memory for mail is used up, a message goes by way of a file.
    @Test(arguments: [64 << 20, 100])
    func largeMessagesGoToAFile(memory: Int) async throws {
        let relay = try await TestRelay(memory: memory) { $0.listener.inMemoryBytes = memory == 100 ? 1 << 20 : 1000 }
        let text = Self.text + String(repeating: "a line of a large message\r\n", count: 100)
        for way in Way.allCases { #expect(try await Self.handIn(way, relay, text: text) == Answer(refusal: nil)) }
        for message in relay.store.messages {
            guard case .file(let file) = message.content.body else { throw NotInMemory() }
            #expect(file.size == text.utf8.count)
        }
        await relay.listener.stop(patience: 0)
    }

    /// A plugin that hands mail in while it is asked is not asked about that.
    @Test func aPluginsOwnMailDoesNotPassItAgain() async throws {
        let copier = Copier()
        let relay = try await TestRelay(plugins: [copier])
        copier.intake.set(relay.intake)
        #expect(try await Self.handIn(.data, relay) == Answer(refusal: nil))
        #expect(relay.store.messages.count == 2)
        #expect(copier.count.get() == 1)
        await relay.listener.stop(patience: 0)
    }
}

private struct NotInMemory: Error {}

/// Notes what it is asked about.
private final class Recorder: Plugin {
    let name = "recorder"
    let hooks: HookSet = .queueOutbound
    private let answer: QueueOutboundAnswer
    private let seen = Box<[String]>([])

    init(answer: QueueOutboundAnswer) { self.answer = answer }

    var asked: [String] { seen.get() }

    func queueOutbound(_ envelope: inout Envelope, _ contents: MessageContents) async -> QueueOutboundAnswer {
        let bytes = (try? await contents.read(from: 0, atMost: 1 << 20)) ?? []
        seen.change { $0.append(String(decoding: bytes, as: UTF8.self)) }
        return answer
    }
}

/// Sends a copy of every message to somebody else.
private final class Copier: Plugin {
    let name = "copier"
    let hooks: HookSet = .queueOutbound
    let intake = Box<Intake?>(nil)
    let count = Box(0)

    func queueOutbound(_ envelope: inout Envelope, _ contents: MessageContents) async -> QueueOutboundAnswer {
        count.change { $0 += 1 }
        guard let intake = intake.get(), let to = EmailAddress("archive@x.example") else { return .next }
        let copy = Submission(from: .null, to: [to], contents: Array("Subject: copy\n\nx\n".utf8))
        _ = await intake.submit(copy, on: TestRelay.loops.next())
        return .next
    }
}
