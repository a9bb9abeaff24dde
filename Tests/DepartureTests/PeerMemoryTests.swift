// PeerMemoryTests.swift — what was learnt of peers: how long, how much of it, and what a file may say.

import Files
import Mail
import TestSupport
import Testing

@testable import Departure

struct PeerMemoryTests {
    private let now = Timestamp(milliseconds: 1_800_000_000_000)
    private let peer = "mx.example[192.0.2.1]:25"
    private let disk = MemoryDisk()

    init() throws { try disk.makeDirectory("/data", permissions: 0o700) }

    private func memory() -> PeerMemory { PeerMemory(directory: "/data", disk: disk) }

    private func reloaded(at time: Timestamp? = nil) -> PeerMemory {
        let memory = memory()
        memory.load(at: time ?? now)
        return memory
    }

    @Test func knowsWhatItLearntUntilItsEnd() {
        let memory = memory()
        #expect(memory.value(of: .recipients, of: peer, at: now) == nil)
        memory.learn(.recipients, 5, of: peer, at: now)
        memory.learn(.recipients, 3, of: peer, at: now)
        #expect(memory.value(of: .recipients, of: peer, at: now) == 3)
        #expect(!memory.knows(.losesCount, of: peer, at: now))
        let end = now.adding(milliseconds: Trait.recipients.lifespan)
        #expect(memory.knows(.recipients, of: peer, at: end.adding(milliseconds: -1)))
        #expect(!memory.knows(.recipients, of: peer, at: end))
        // A clock that went back must not make a lesson immortal.
        #expect(!memory.knows(.recipients, of: peer, at: now.adding(milliseconds: -1)))
        memory.forget(.recipients, of: peer)
        #expect(memory.everything(of: peer, at: now).isEmpty)
    }

    @Test func outlivesTheProcess() throws {
        let memory = memory()
        #expect(!memory.wantsSaving(at: now))
        memory.learn(.losesCount, of: peer, at: now)
        memory.learn(.recipients, 50, of: "[*] from 192.0.2.9 tls require", at: now)
        #expect(memory.wantsSaving(at: now))
        try memory.save(at: now)
        #expect(!memory.wantsSaving(at: now))
        memory.learn(.oneDomain, of: peer, at: now)
        // Rarely.
        #expect(!memory.wantsSaving(at: now.adding(milliseconds: 100)))
        #expect(memory.wantsSaving(at: now.adding(milliseconds: 10_000)))
        let next = reloaded()
        #expect(next.knows(.losesCount, of: peer, at: now))
        #expect(next.value(of: .recipients, of: "[*] from 192.0.2.9 tls require", at: now) == 50)
        #expect(!next.knows(.oneDomain, of: peer, at: now))
        #expect(next.everything(of: peer, at: now).map(\.trait) == [.losesCount])
        #expect(reloaded(at: now.adding(milliseconds: 8 * 86_400_000)).everything(of: peer, at: now).isEmpty)
    }

    @Test func aFileIsReadAsIfOthersHadWrittenIt() throws {
        let good = now.adding(milliseconds: 1000).milliseconds
        let lines = [
            "loses_count 1 \(good) \(peer)", "recipients 0 \(good) zero", "recipients -1 \(good) minus",
            "recipients 99999999999999999999 \(good) huge", "recipients 1 9223372036854775807 immortal",
            "recipients 1 \(now.milliseconds) over", "telepathy 1 \(good) unknown", "recipients 1 \(good) ",
            "recipients",
            "recipients 1 \(good) \(String(repeating: "x", count: 513))", "", "recipients 1 \(good) a\u{7F}b",
            "recipients 7 \(good) a lane with spaces",
        ]
        var bytes = Array(lines.joined(separator: "\n").utf8)
        bytes += [10] + Array("recipients 1 \(good) ".utf8) + [0xFF, 0xFE, 10]
        try disk.replace("/data/peers", with: bytes)
        let memory = reloaded()
        #expect(memory.knows(.losesCount, of: peer, at: now))
        #expect(memory.value(of: .recipients, of: "a lane with spaces", at: now) == 7)
        memory.learn(.recipients, 1, of: "new", at: now)
        try memory.save(at: now)
        let text = String(decoding: try disk.contents(of: "/data/peers", limit: 10_000), as: UTF8.self)
        #expect(text.split(separator: "\n").count == 3)
    }

    @Test func aFileThatCannotBeReadIsAnEmptyMemory() throws {
        try disk.makeDirectory("/data/peers", permissions: 0o700)
        #expect(reloaded().everything(of: peer, at: now).isEmpty)
    }

    @Test func isBounded() {
        let memory = memory()
        for number in 0..<PeerMemory.most * 2 {
            memory.learn(.recipients, 1, of: "lane \(number)", at: now.adding(milliseconds: Int64(number)))
        }
        let later = now.adding(milliseconds: Int64(PeerMemory.most * 2))
        let kept = (0..<PeerMemory.most * 2).count { memory.knows(.recipients, of: "lane \($0)", at: later) }
        #expect(kept <= PeerMemory.most && kept > PeerMemory.most / 2)
        #expect(memory.knows(.recipients, of: "lane \(PeerMemory.most * 2 - 1)", at: later))
        memory.learn(.recipients, 1, of: "a\nb", at: now)
        memory.learn(.recipients, 1, of: String(repeating: "x", count: 513), at: now)
        #expect(!memory.knows(.recipients, of: "a\nb", at: now))
    }
}
