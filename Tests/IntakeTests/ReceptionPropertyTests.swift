// ReceptionPropertyTests.swift — clients that hand mail in and go away at any moment, on disks that fail and memory that
// is short: every reserved byte is released, every file is the queue's or removed, what is stored is what was sent.

import Config
import Intake
import Mail
import NIOCore
import NIOPosix
import Queue
import SMTP
import Storage
import Synchronization
import TestSupport
import Testing

@Suite struct ReceptionPropertyTests {
    @Test(arguments: 0..<12)
    func whateverEndsAMessageNothingIsLeftOfIt(seed: Int) async throws {
        let intake = try TestIntake(memory: 100_000) { $0.listener.inMemoryBytes = 3_000 }
        var random = SeededRandom(seed: UInt64(seed))
        var sent: [QueueID: [UInt8]] = [:]
        // With less effort some still have to fail.
        let count = max(30, Effort.count(60))
        for _ in 0..<count {
            intake.store.setBodyError(Int.random(in: 0..<6, using: &random) == 0 ? .full("no room") : nil)
            intake.store.set(Int.random(in: 0..<6, using: &random) == 0 ? .failing(.broken("EIO")) : .immediately)
            let script = Script(using: &random)
            let client = Client(script, intake)
            guard case .queued(let id, _) = await client.run() else { continue }
            sent[id] = script.content
        }
        #expect(!sent.isEmpty && sent.count < count, "some were stored, and some were not")
        let stored = intake.store.messages
        #expect(await eventually { intake.memory.used == stored.reduce(0) { $0 + $1.residentBytes } })
        var kept = 0
        for message in stored {
            let content: [UInt8]
            switch message.content.body {
            case .memory(let bytes): content = Array(buffer: bytes)
            case .file(let file):
                kept += 1
                content = try Array(buffer: file.read(at: 0, count: file.size))
            }
            // Whoever went away while the queue had the message heard nothing of it.
            if let expected = sent[message.id] { #expect(content == expected) }
        }
        let bodies = intake.store.bodies
        #expect(await eventually { bodies.count { $0.state.isDiscarded } == bodies.count - kept })
        for body in bodies {
            #expect(body.state.writesAfterDiscard == 0)
            #expect(body.state.isDiscarded || body.state.isFinished)
            #expect(body.state.largestWrite < 300_000, "memory does not grow with a message")
        }
    }
}

/// What one client does.
private struct Script: Sendable {
    let pieces: [[UInt8]]
    /// Gone after so many pieces; that many and one more: while the answer is awaited.
    let leavesAfter: Int?

    var content: [UInt8] { pieces.flatMap { $0 } }

    init(using random: inout SeededRandom) {
        let size = [0, 3, 10, 60].randomElement(using: &random) ?? 0
        pieces =
            [Array("Subject: x\r\n\r\n".utf8)]
            + (0..<size).map { _ in
                let line = (0..<Int.random(in: 0...80, using: &random)).map { _ in
                    UInt8.random(in: 32...126, using: &random)
                }
                return Array(
                    repeatElement(line + Array("\r\n".utf8), count: Int.random(in: 1...60, using: &random)).joined()
                )
            }
        leavesAfter =
            Int.random(in: 0..<3, using: &random) == 0 ? Int.random(in: 0...pieces.count + 1, using: &random) : nil
    }
}

/// A client that goes through its script as a session would: nothing is handed in while the disk is at work.
private final class Client: ReceptionOwner, @unchecked Sendable {
    private let script: Script
    private let intake: TestIntake
    private let loop = TestIntake.loops.next()
    // Used on the loop alone.
    private var reception: Reception?
    private var sent = 0
    private var isFinished = false
    private var end: CheckedContinuation<Admission?, Never>?

    init(_ script: Script, _ intake: TestIntake) {
        self.script = script
        self.intake = intake
    }

    /// - Returns: nil for a client that went away, or for whom there was no room.
    func run() async -> Admission? {
        await withCheckedContinuation { continuation in
            loop.execute {
                self.end = continuation
                let reception = Reception(self.intake.intake, self.intake.rules, on: self.loop)
                self.reception = reception
                guard reception.begin(self.script.content.count) else { return self.answer(nil) }
                self.goOn()
            }
        }
    }

    private func answer(_ admission: Admission?) {
        end?.resume(returning: admission)
        end = nil
    }

    private func goOn() {
        guard let reception, end != nil else { return }
        while !reception.isAtDisk, !isFinished {
            if sent == script.leavesAfter { return leave() }
            guard sent < script.pieces.count else { return finish() }
            reception.body.writeBytes(script.pieces[sent])
            sent += 1
            if let rejection = reception.look(for: self) { return answer(.refused(Refusal(rejection))) }
        }
        // While the disk is at work, or the queue.
        if sent == script.leavesAfter || (isFinished && script.leavesAfter != nil) { leave() }
    }

    private func finish() {
        guard let reception else { return }
        isFinished = true
        let traits = ContentTraits(hasLeadingDots: false, isEightBit: false)
        let refusal = reception.finish(TestIntake.envelope, Provenance(.api), traits, for: self)
        if let refusal { return answer(.refused(refusal)) }
        goOn()
    }

    private func leave() {
        reception?.abandon()
        answer(nil)
    }

    func receptionGoesOn(_ rejection: Rejection?) {
        if let rejection { return answer(.refused(Refusal(rejection))) }
        goOn()
    }

    func receptionEnded(_ admission: Admission) { answer(admission) }
}
