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

    /// A thousand dead addresses take no place of what is known of recipients.
    @Test func eachTraitHasItsOwnRoom() {
        let memory = memory()
        memory.learn(.losesCount, of: peer, at: now)
        memory.failedTLS(peer, Reply(454, nil, "no"), at: now, patience: 0)
        for number in 0..<PeerMemory.most * 2 { memory.learn(.silent, of: "dead \(number)", at: now) }
        #expect(memory.knows(.losesCount, of: peer, at: now) && memory.trouble(with: peer, at: now) != nil)
    }

    // MARK: TLS

    @Test func troubleWithTLSLastsWhenItComesAgainAfterAWhile() {
        let memory = memory()
        let reply = Reply(454, EnhancedStatus(4, 7, 0), "not now")
        func at(_ milliseconds: Int64) -> Timestamp { now.adding(milliseconds: milliseconds) }
        memory.failedTLS(peer, reply, at: now, patience: 5000)
        #expect(memory.trouble(with: peer, at: now)?.isLasting == false)
        memory.failedTLS(peer, reply, at: at(4999), patience: 5000)
        #expect(memory.trouble(with: peer, at: at(4999))?.isLasting == false)
        memory.failedTLS(peer, reply, at: at(5000), patience: 5000)
        let trouble = memory.trouble(with: peer, at: at(5000))
        #expect(trouble?.isLasting == true && trouble?.since == now && trouble?.words == "454 4.7.0 not now")
        #expect(trouble?.until == at(605_000) && trouble?.refusesClear == false)
        #expect(memory.trouble(with: peer, at: at(605_000)) == nil)
        memory.refusedClear(peer, at: at(6000))
        #expect(memory.trouble(with: peer, at: at(3_605_999))?.refusesClear == true)
        memory.failedTLS(peer, reply, at: at(7000), patience: 5000)
        #expect(memory.trouble(with: peer, at: at(3_605_999))?.refusesClear == true, "a failure shortens nothing")
        #expect(memory.everything(of: peer, at: at(7000)).isEmpty, "it is told by itself")
        memory.worksTLS(peer)
        #expect(memory.trouble(with: peer, at: at(7000)) == nil && memory.isEmpty)
        memory.refusedClear(peer, at: at(7000))
        #expect(memory.isEmpty, "of a peer without trouble there is nothing to say")
    }

    /// As often as somebody flushes: TLS is tried first, and the clear is no farther away than before.
    @Test func aFlushHasTLSTriedAgainAndKeepsNoMail() {
        let memory = memory()
        let reply = Reply(454, EnhancedStatus(4, 7, 0), "not now")
        memory.failedTLS(peer, reply, at: now, patience: 5000)
        let later = now.adding(milliseconds: 5000)
        memory.failedTLS(peer, reply, at: later, patience: 5000)
        #expect(memory.trouble(with: peer, at: later)?.isLasting == true)
        memory.refusedClear(peer, at: later)
        memory.forgetAll(.lackingTLS)
        let trouble = memory.trouble(with: peer, at: later)
        #expect(trouble?.isLasting == false && trouble?.since == now && trouble?.refusesClear == true)
        memory.failedTLS(peer, reply, at: later, patience: 5000)
        #expect(memory.trouble(with: peer, at: later)?.isLasting == true, "at once")
    }

    // MARK: lanes

    /// What the scheduler is told at a start, and no matter of `explain`.
    @Test func lanesThatAnsweredAreKnownAtAStart() {
        let memory = memory()
        let lane = Lane.domain(Domain(unchecked: "good.test"))
        memory.answers(lane, at: now)
        memory.answers(Lane.route("*"), at: now)
        memory.isMute(.route("*"))
        #expect(memory.answering(at: now) == ["good.test"])
        #expect(memory.everything(of: "good.test", at: now).isEmpty)
        let soon = now.adding(milliseconds: 3_600_000)
        memory.answers(lane, at: soon)
        let week = now.adding(milliseconds: 7 * 86_400_000)
        #expect(memory.answering(at: week).isEmpty, "once in a day is often enough")
        memory.answers(lane, at: now.adding(milliseconds: 2 * 86_400_000))
        #expect(memory.answering(at: week) == ["good.test"])
    }

    @Test func troubleWithTLSOutlivesTheProcess() throws {
        let memory = memory()
        memory.failedTLS(peer, Reply(454, nil, lines: ["first", "a\tb\n\u{FFFD}c"]), at: now, patience: 0)
        memory.refusedClear(peer, at: now)
        try memory.save(at: now)
        let known = reloaded().trouble(with: peer, at: now)
        #expect(known == memory.trouble(with: peer, at: now))
        #expect(known?.words == "454 first abc" && known?.isLasting == true && known?.refusesClear == true)
        // From a file of strangers: a beginning that is still to come is now.
        let end = now.adding(milliseconds: 1000).milliseconds
        try disk.replace("/data/peers", with: Array("broken_tls \(Int.max) \(end) x\t454 a\tb\n".utf8))
        #expect(reloaded().trouble(with: "x", at: now)?.since == now)
        #expect(reloaded().trouble(with: "x", at: now)?.words == "454 ab")
    }

    // MARK: reach

    @Test func whoWasSilentComesLast() {
        let memory = memory()
        let mx = MX("mx.example")
        let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].compactMap { IPAddress($0) }
        #expect(memory.inOrder(addresses, of: mx, at: now) == addresses)
        memory.learn(.silent, of: Departure.peer(mx, addresses[0]), at: now)
        #expect(memory.inOrder(addresses, of: mx, at: now) == [addresses[1], addresses[2], addresses[0]])
        #expect(!memory.isSilent(mx, addresses, at: now) && !memory.isSilent(mx, [], at: now))
        for address in addresses { memory.learn(.silent, of: Departure.peer(mx, address), at: now) }
        #expect(memory.inOrder(addresses, of: mx, at: now) == addresses && memory.isSilent(mx, addresses, at: now))
        let later = now.adding(milliseconds: 600_000)
        #expect(!memory.isSilent(mx, addresses, at: later))
        memory.learn(.losesCount, of: peer, at: now)
        memory.forgetAll(.silent)
        #expect(!memory.isSilent(mx, addresses, at: now) && memory.knows(.losesCount, of: peer, at: now))
    }
}
