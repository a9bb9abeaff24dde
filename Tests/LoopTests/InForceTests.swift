// InForceTests.swift — versions are seen whole, by many threads, and a question may ask in turn.

import Synchronization
import Testing

@testable import Loop

@Suite struct InForceTests {
    private struct Pair: Hashable, Sendable {
        var left = 0
        var right = 0
    }

    @Test func givesWhatWasPutInForceLast() {
        let value = InForce("a")
        #expect(value.replace(with: "b") == "a")
        #expect(value.current == "b")
        #expect(value.ask { $0.utf8.count } == 1)
        let old = value.change { text in
            defer { text += "c" }
            return text
        }
        #expect(old == "b" && value.current == "bc")
    }

    @Test func everyReplacementIsAnotherGeneration() {
        let value = InForce("a")
        let first = value.generation
        #expect(value.generation == first)
        value.replace(with: "a")
        let second = value.generation
        #expect(second > first, "also where it is equal: two texts may be, and differ in octets")
        value.change { $0 = "b" }
        #expect(value.generation > second)
    }

    @Test func aQuestionMayAskInTurnAndKeepsItsVersion() {
        let value = InForce(Pair())
        let seen = value.ask { pair in
            value.replace(with: Pair(left: 1, right: 1))
            return [pair.left, value.ask { $0.left }]
        }
        #expect(seen == [0, 1])
    }

    @Test func readersSeeNoHalf() async {
        let value = InForce(Pair())
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                for number in 1...2000 { value.replace(with: Pair(left: number, right: number)) }
                return true
            }
            for _ in 0..<3 {
                group.addTask { (0..<2000).allSatisfy { _ in value.ask { $0.left == $0.right } } }
            }
            for await isWhole in group { #expect(isWhole) }
        }
        #expect(value.current == Pair(left: 2000, right: 2000))
    }

    @Test func noChangeIsLost() async {
        let value = InForce(0)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask { for _ in 0..<500 { value.change { $0 += 1 } } }
            }
        }
        #expect(value.current == 2000)
    }
}
