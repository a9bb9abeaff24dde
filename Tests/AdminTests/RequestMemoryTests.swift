// RequestMemoryTests.swift — requests count in the memory for mail before they spend it, and give back what they had.

import JSON
import Mail
import Queue
import Testing

@testable import Admin

@Suite struct RequestMemoryTests {
    private static let mib = 1 << 20

    @Test func requestsShareHalfAndOneMayGoBeyond() {
        let budget = MemoryBudget(limit: 8 * Self.mib)
        let memory = RequestMemory(budget) { 4 * Self.mib }
        var claims = (0..<4).map { _ in RequestClaim(memory) }
        for claim in claims { #expect(claim.pay(Self.mib)) }
        let large = RequestClaim(memory)
        #expect(large.pay(40 * Self.mib))
        let late = RequestClaim(memory)
        #expect(!late.pay(2 * Self.mib))
        // The little that everybody has: mail can be stopped whatever else is going on.
        #expect(late.pay(RequestClaim.free))
        withExtendedLifetime(large) {}
        claims = []
        withExtendedLifetime(late) {}
    }

    @Test func whatEndsGivesBack() {
        let budget = MemoryBudget(limit: 8 * Self.mib)
        let memory = RequestMemory(budget) { 4 * Self.mib }
        do {
            let claim = RequestClaim(memory)
            #expect(claim.pay(3 * Self.mib))
            #expect(claim.pay(30 * Self.mib))
            claim.giveBack(2 * Self.mib)
            #expect(memory.used == 31 * Self.mib - RequestClaim.free)
            #expect(budget.used == memory.used)
        }
        #expect(memory.used == 0 && budget.used == 0)
        let next = RequestClaim(memory)
        #expect(next.pay(100 * Self.mib))
    }

    @Test func mailInMemoryLeavesNothingButTheOne() {
        let budget = MemoryBudget(limit: 8 * Self.mib)
        budget.force(8 * Self.mib)
        let memory = RequestMemory(budget) { 4 * Self.mib }
        let (first, second) = (RequestClaim(memory), RequestClaim(memory))
        #expect(first.pay(Self.mib))
        #expect(!second.pay(Self.mib))
    }

    @Test func aBodyIsCountedWhileItComesAndLetGoWhenItWasRead() throws {
        let budget = MemoryBudget(limit: 64 * Self.mib)
        let memory = RequestMemory(budget) { 32 * Self.mib }
        let claim = RequestClaim(memory)
        let request = AdminRequest(.post, "/v1/messages", claim: claim)
        let piece = [UInt8](repeating: 0x20, count: Self.mib)
        for _ in 0..<4 {
            let isTaken = piece.withUnsafeBytes { request.content.append($0, limit: 8 * Self.mib) }
            #expect(isTaken)
        }
        #expect(memory.used >= 4 * Self.mib - RequestClaim.free && memory.used <= 9 * Self.mib)
        request.body.append(contentsOf: Array("[1]".utf8))
        #expect(try request.json() == [1])
        #expect(memory.used < Self.mib)
        #expect(request.body == [])
    }

    @Test func whatIsSmallAsTextIsBoundedAsValues() {
        var request = AdminRequest(.post, "/v1/messages")
        request.mostValues = 6000
        request.body = Array(("{\"to\":[" + String(repeating: "0,", count: 1 << 20) + "0]}").utf8)
        do throws(Problem) {
            _ = try request.json()
            Issue.record("taken")
        } catch { #expect(error.kind == .tooLarge) }
    }

    @Test func noMemoryIsSaidWithATimeToComeBack() {
        let budget = MemoryBudget(limit: Self.mib)
        let memory = RequestMemory(budget) { Self.mib / 2 }
        let other = RequestClaim(memory)
        #expect(other.pay(4 * Self.mib))
        let request = AdminRequest(.post, "/v1/messages", claim: RequestClaim(memory))
        request.body = Array(("[" + String(repeating: "\"0123456789abcdef\",", count: 10_000) + "0]").utf8)
        do throws(Problem) {
            _ = try request.json()
            Issue.record("taken")
        } catch {
            #expect(error.kind == .unavailable && error.headers.contains { $0.name == "Retry-After" })
        }
        withExtendedLifetime(other) {}
    }
}
