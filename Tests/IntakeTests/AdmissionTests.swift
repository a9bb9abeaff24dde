// AdmissionTests.swift — what is said of a message that is not taken, what is logged of one that is, and what a plugin's
// word is worth.

import Config
import Hooks
import Intake
import Log
import Mail
import NIOCore
import NIOPosix
import OpenSSL
import Queue
import SMTP
import Storage
import TestSupport
import Testing

@Suite struct AdmissionTests {
    private static let text = "From: A <a@signed.example>\r\nSubject: one\r\n\r\na line\r\n"

    @Test(arguments: [
        (QueueError.full("x"), Rejection.noRoom, "452 4.3.1"), (.closing, .closing, "421 4.3.2"),
        (.broken("x"), .storageFailed, "451 4.3.0"), (.damaged("x"), .storageFailed, "451 4.3.0"),
        (.locked("x"), .storageFailed, "451 4.3.0"),
    ])
    func troubleWithStorageIsForNow(_ error: QueueError, _ reason: Rejection, _ code: String) {
        let refusal = Refusal(because: error)
        #expect(refusal.reason == reason)
        #expect(refusal.reply.description.hasPrefix(code))
        #expect(!refusal.reply.description.contains("x"), "what the disk says is not the client's business")
    }

    @Test func everyReasonHasAnAnswerThatFitsIt() {
        for reason in Rejection.allCases {
            let reply = Refusal(reason).reply
            #expect((400..<600).contains(reply.code), "\(reason)")
            #expect(reply.status.map { UInt16($0.class) == reply.code / 100 } ?? true, "\(reason): \(reply)")
        }
    }

    /// `send_email(from, to, contents)` answers "on disk", not "on its way".
    @Test func anAnswerMeansThatTheMailIsOnDisk() async throws {
        let intake = try TestIntake()
        intake.store.set(.held)
        let hasAnswered = Box(false)
        let sending = Task {
            let admission = await intake.submit(Self.text)
            hasAnswered.set(true)
            return admission
        }
        #expect(await eventually { intake.store.messages.count == 1 })
        #expect(!hasAnswered.get(), "nothing is synced yet")
        intake.store.commit()
        let message = try #require(intake.store.messages.first)
        #expect(await sending.value == .queued(message.id))
    }

    @Test func aNameThatTheMessageHasAlreadyIsKept() async throws {
        let intake = try TestIntake()
        let id = QueueID(rawValue: 4711)
        #expect(await intake.submit(Self.text, id: id) == .queued(id))
        #expect(intake.store.messages.map(\.id) == [id])
    }

    @Test func nobodyIsToGetIt() async throws {
        let intake = try TestIntake()
        let submission = Submission(from: .null, to: [], contents: Array(Self.text.utf8))
        let answer = await intake.intake.submit(submission, on: TestIntake.loops.next())
        #expect(answer == .refused(Refusal(.noRecipients)))
        #expect(intake.store.asked.isEmpty, "the disk was not asked for a message that is none")
    }

    @Test func theLogSaysOnceWhoseMailWasTaken() async throws {
        let log = try LogFile()
        let intake = try TestIntake(log: log.sink)
        guard case .queued(let id, _) = await intake.submit(Self.text) else { throw NotTaken() }
        intake.store.set(.failing(.broken("EIO")))
        guard case .refused = await intake.submit(Self.text) else { throw NotTaken() }
        let lines = log.lines(LogEvent.accepted)
        #expect(lines.count == 1, "what was refused is not accepted")
        for field in ["id=\(id)", "from=a@x.example", "recipients=1"] { #expect(lines.first?.contains(field) == true) }
    }

    /// A message that a hold came with is held before it is there: no session can be quicker.
    @Test func aHoldIsOnDiskBeforeTheMessage() async throws {
        let intake = try TestIntake()
        var submission = Submission(TestIntake.envelope, ByteBuffer(string: Self.text), from: Provenance(.api))
        submission.hold = Hold(since: .now(), reason: "looked at")
        guard case .queued(let id, _) = await intake.intake.submit(submission, on: TestIntake.loops.next()) else {
            throw NotTaken()
        }
        #expect(intake.store.holds.map(\.ids) == [[id]])
        #expect(intake.store.holds.first?.messages == 0, "no message was there yet")
    }

    @Test func aPluginMayTakeOrRefuseIt() async throws {
        let reply = Reply(554, EnhancedStatus(5, 7, 1), "not this one")
        let refusing = try TestIntake(plugins: [Answering(.reject(reply))])
        guard case .refused(let refusal) = await refusing.submit(Self.text) else { throw NotTaken() }
        #expect(refusal.reason == .plugin && refusal.reply == reply)
        let taking = try TestIntake(plugins: [Answering(.taken)])
        guard case .taken = await taking.submit(Self.text) else { throw NotTaken() }
        for intake in [refusing, taking] { #expect(intake.store.messages.isEmpty && intake.memory.used == 0) }
    }

    @Test func aMessageThatCannotBeSignedIsRefusedForNow() async throws {
        let key = try SigningKey.generate(.ed25519)
        let intake = try TestIntake { $0.dkim.add(key, as: "s", of: Domain(unchecked: "signed.example")) }
        guard case .queued = await intake.submit(Self.text) else { throw NotTaken() }
        let message = try #require(intake.store.messages.first)
        #expect(String(buffer: message.content.prologue).hasPrefix("DKIM-Signature: "))
    }
}

struct NotTaken: Error {}

/// Has one answer to everything.
private final class Answering: Plugin {
    let name = "answering"
    let hooks: HookSet = .queueOutbound
    private let answer: QueueOutboundAnswer

    init(_ answer: QueueOutboundAnswer) { self.answer = answer }

    func queueOutbound(_ envelope: inout Envelope, _ contents: MessageContents) async -> QueueOutboundAnswer { answer }
}
