// LateBounceTests.swift — the answer to a report that comes days later: 250 when its event is on the disk, 451 when it is not.

import Mail
import NIOCore
import NIOPosix
import Queue
import SMTP
import TestSupport
import Testing

@testable import Config
@testable import Intake

@Suite struct LateBounceTests {
    private static let id = QueueID(at: .now())

    private static func paths() throws -> ReturnPaths {
        ReturnPaths(
            try #require(EmailAddress("bounces@b.example")),
            senders: [Domain(unchecked: "a.example")],
            secrets: [Secret("sixteen letters!")],
            days: 21
        )
    }

    /// The report of a host behind the next hop, to the sender that the message left with.
    private static func submission() throws -> Submission {
        let ann = try #require(EmailAddress("ann@c.example"))
        let to = try paths().sender(of: id, to: ann, at: .now())
        let text = """
            From: <mailer-daemon@mx.example>\r\nSubject: failure\r\nMIME-Version: 1.0\r
            Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nNo.\r
            --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx2.example\r\n\r
            Final-Recipient: rfc822; ann@c.example\r\nAction: failed\r\nStatus: 5.1.1\r
            Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n--b--\r

            """
        let envelope = Envelope(sender: .null, recipients: [Recipient(to)])
        return Submission(envelope, ByteBuffer(string: text), from: Provenance(.api))
    }

    private static func intake(keepsHistory: Bool = true) throws -> TestIntake {
        try TestIntake(keepsHistory: keepsHistory) { $0.rewriting.returnPaths = try paths() }
    }

    private func submit(_ test: TestIntake) async throws -> Admission {
        await test.intake.submit(try Self.submission(), on: TestIntake.loops.next())
    }

    @Test func isTakenWhenItsEventIsOnTheDisk() async throws {
        let test = try Self.intake()
        guard case .taken = try await submit(test) else {
            Issue.record("not taken")
            return
        }
        #expect(test.store.told == [Self.id], "it is told of the message that bounced")
        #expect(test.store.messages.isEmpty && test.memory.used == 0)
    }

    /// Whoever reports comes again, and then it is taken: nothing of it was lost.
    @Test func isRefusedForNowWhenItsEventCouldNotBeSynced() async throws {
        let test = try Self.intake()
        test.store.setSynced(false)
        guard case .refused(let refusal) = try await submit(test) else {
            Issue.record("taken, and told to nobody")
            return
        }
        #expect(refusal.reply.code == 451 && refusal.reason == .storageFailed)
        #expect(test.store.messages.isEmpty && test.memory.used == 0, "what it took is given back")
        test.store.setSynced(true)
        guard case .taken = try await submit(test) else {
            Issue.record("not taken the second time")
            return
        }
    }

    /// There is nothing to wait for, and nobody waits.
    @Test func isTakenWithoutHistory() async throws {
        let test = try Self.intake(keepsHistory: false)
        test.store.setSynced(false)
        guard case .taken = try await submit(test) else {
            Issue.record("not taken")
            return
        }
        #expect(test.store.told.isEmpty)
    }
}
