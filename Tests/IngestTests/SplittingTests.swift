// SplittingTests.swift — `always_split`: a message for each recipient, accepted together or not at all.

import Config
import Intake
import Mail
import NIOCore
import NIOPosix
import Queue
import Storage
import TestSupport
import Testing

@testable import Ingest

struct SplittingTests {
    private static let text = "From: A <a@x.example>\r\nSubject: one\r\n\r\na line\r\n"

    private func relay(inMemory: Int = 1 << 20) async throws -> TestRelay {
        try await TestRelay { settings in
            settings.outbound.alwaysSplit = true
            settings.listener.inMemoryBytes = inMemory
        }
    }

    private func submit(_ to: [String], _ relay: TestRelay, text: String = Self.text) async -> Admission {
        let recipients = to.compactMap { EmailAddress($0) }.map { Recipient($0, notify: .failure) }
        let envelope = Envelope(sender: .null, recipients: recipients, envelopeID: "e")
        let submission = Submission(envelope, ByteBuffer(string: text), from: Provenance(.api))
        return await relay.intake.submit(submission, on: TestRelay.loops.next())
    }

    @Test func eachRecipientGetsAMessage() async throws {
        let relay = try await relay()
        let admission = await submit(["a@y.test", "b@y.test", "a@y.test", "c@z.test"], relay)
        let messages = relay.store.messages
        #expect(
            messages.map { $0.envelope.recipients.map(\.address.description) } == [
                ["a@y.test"], ["b@y.test"], ["c@z.test"],
            ]
        )
        #expect(messages.allSatisfy { $0.envelope.envelopeID == "e" && $0.envelope.recipients[0].notify == .failure })
        #expect(Set(messages.map(\.id)).count == 3)
        #expect(admission == .queued(messages[0].id, others: messages.dropFirst().map(\.id)))
        #expect(await eventually { relay.queue.counts.messages == 3 })
    }

    @Test func oneRecipientIsOneMessage() async throws {
        let relay = try await relay()
        #expect(await submit(["a@y.test"], relay) == relay.store.messages.first.map { .queued($0.id) })
        #expect(await submit(["b@y.test", "b@Y.TEST"], relay) == relay.store.messages.last.map { .queued($0.id) })
        #expect(relay.store.messages.count == 2)
    }

    /// Beyond memory, all of them together, each has a file of its own.
    @Test func aBigBodyIsWrittenForEach() async throws {
        let relay = try await relay(inMemory: 300)
        let text = Self.text + String(repeating: "another line\r\n", count: 10)
        _ = await submit(["a@y.test"], relay, text: text)
        #expect(relay.store.bodies.isEmpty, "one fits")
        _ = await submit(["a@y.test", "b@y.test", "c@y.test"], relay, text: text)
        #expect(relay.store.bodies.map(\.state.bytes) == Array(repeating: ByteBuffer(string: text), count: 3))
        #expect(relay.store.bodies.allSatisfy { $0.state.isFinished && !$0.state.isDiscarded })
        #expect(await eventually { relay.queue.counts.messages == 4 })
    }

    @Test func withoutTheDiskNobodyIsTaken() async throws {
        let relay = try await relay(inMemory: 80)
        relay.store.setBodyError(.full("no room"))
        guard case .refused = await submit(["a@y.test", "b@y.test"], relay) else {
            Issue.record("it was taken")
            return
        }
        #expect(relay.store.messages.isEmpty && relay.queue.memory.used == 0)
        #expect(await eventually { relay.store.bodies.allSatisfy(\.state.isDiscarded) })
        relay.store.setBodyError(nil)
        relay.store.set(.failing(.broken("no disk")))
        guard case .refused = await submit(["a@y.test", "b@y.test"], relay, text: "A: b\r\n\r\n") else {
            Issue.record("it was taken")
            return
        }
        #expect(relay.queue.counts.messages == 0)
        #expect(await eventually { relay.queue.memory.used == 0 })
    }
}
