// LookupTurnsTests.swift — who is asked next while a thousand names are dead, with time passed in.

import Testing

@testable import DNS

struct LookupTurnsTests {
    /// A resolver that answers good names after 10 ms, and nothing about dead ones.
    private struct World {
        var turns: LookupTurns
        var now = ContinuousClock.now
        let begin: ContinuousClock.Instant
        var names: [UInt64: (name: String, asked: ContinuousClock.Instant)] = [:]
        var answersAt: [(at: ContinuousClock.Instant, id: UInt64)] = []
        var lastID: UInt64 = 0
        var waits: [Duration] = []
        var failed: [String] = []
        var mostOut = 0

        init(limit: Int) {
            turns = LookupTurns(limit: limit)
            begin = now
        }

        mutating func ask(_ name: String) {
            lastID += 1
            names[lastID] = (name, now)
            turns.add(lastID, name, at: now)
        }

        /// 10 milliseconds pass.
        mutating func pass() {
            while let id = turns.next(at: now) {
                if names[id]?.name.utf8.first == UInt8(ascii: "g") { answersAt.append((now + .milliseconds(10), id)) }
            }
            mostOut = max(mostOut, turns.out)
            now += .milliseconds(10)
            for answer in answersAt where answer.at <= now {
                guard let (_, asked) = names.removeValue(forKey: answer.id) else { continue }
                waits.append(now - asked)
                turns.answered(answer.id, at: now)
            }
            answersAt.removeAll { $0.at <= now }
            for (id, question) in names where now - question.asked >= .seconds(12) {
                names[id] = nil
                turns.gaveUp(id, isResolverAlive: true, at: now)
                failed.append(question.name)
            }
        }
    }

    /// 1000 dead domains that are asked for again and again, and a good one, always another, twice a second.
    @Test func aThousandDeadNamesHoldUpNobody() {
        var world = World(limit: 700)
        for number in 0..<1000 { world.ask("dead\(number)") }
        var good = 0
        for step in 0..<6000 {
            if step % 50 == 0 {
                world.ask("good\(good)")
                good += 1
            }
            world.pass()
            // A minute after a failure the mail is tried again.
            if step % 1000 == 999 { for number in 0..<200 { world.ask("dead\(number)") } }
        }
        #expect(world.failed.allSatisfy { $0.utf8.first == UInt8(ascii: "d") })
        #expect(world.waits.count >= good - 1)
        #expect(world.waits.allSatisfy { $0 < .seconds(1) }, "\(world.waits.max() ?? .zero)")
        #expect(world.mostOut <= 700 + 700 / 8)
    }

    @Test func manyGoodNamesAtOnceAreAnsweredInSeconds() {
        var world = World(limit: 700)
        for number in 0..<10_000 { world.ask("good\(number)") }
        for _ in 0..<300 { world.pass() }
        #expect(world.waits.count == 10_000)
    }

    @Test func aSlowNameComesBehindOthersAndHoldsHalfThePlaces() {
        let now = ContinuousClock.now
        var turns = LookupTurns(limit: 8)
        for id in 1...8 as ClosedRange<UInt64> {
            turns.add(id, "slow\(id)", at: now)
            #expect(turns.next(at: now) == id)
            turns.answered(id, at: now + .seconds(3))
        }
        for id in 11...18 as ClosedRange<UInt64> { turns.add(id, "slow\(id - 10)", at: now) }
        turns.add(20, "new", at: now)
        #expect(turns.next(at: now) == 20)
        turns.answered(20, at: now)
        var asked: [UInt64] = []
        for step in 0..<10 {
            while let id = turns.next(at: now + .seconds(step)) { asked.append(id) }
        }
        #expect(asked == [11, 12, 13, 14])
    }

    /// Ten thousand names that nobody answers, and behind each hundred of them one that was answered before.
    @Test func namesThatWereAnsweredBeforeWaitForNoBurst() {
        var world = World(limit: 700)
        for number in 0..<100 { world.ask("good\(number)") }
        for _ in 0..<50 { world.pass() }
        #expect(world.waits.count == 100)
        world.waits = []
        for number in 0..<10_000 {
            world.ask("dead\(number)")
            if number % 100 == 0 { world.ask("good\(number / 100)") }
        }
        for _ in 0..<100 { world.pass() }
        #expect(world.waits.count == 100, "within a second")
        #expect(world.mostOut <= 700 + 700 / 8)
    }

    /// A name that waited here for its turn is not slow: whoever is asked and answers at once is good.
    @Test func whoOnlyWaitedIsNotSlow() {
        let now = ContinuousClock.now
        var turns = LookupTurns(limit: 8)
        turns.add(1, "patient", at: now)
        #expect(turns.next(at: now + .seconds(5)) == 1)
        turns.answered(1, at: now + .seconds(5))
        turns.add(2, "unasked", at: now)
        turns.gaveUp(2, isResolverAlive: true, at: now + .seconds(12))
        for id in 3...4 as ClosedRange<UInt64> {
            turns.add(id, id == 3 ? "unasked" : "patient", at: now + .seconds(12))
        }
        #expect(turns.next(at: now + .seconds(12)) == 4)
        #expect(turns.next(at: now + .seconds(12)) == 3)
    }

    /// A question that nobody waits for any more is still the resolver's: a thousand such must not be forgotten.
    @Test func whatWasCancelledIsCountedForAsLongAsTheResolverMayHaveIt() {
        var now = ContinuousClock.now
        var turns = LookupTurns(limit: 8)
        var launched = 0
        for id in 1...200 as ClosedRange<UInt64> {
            turns.add(id, "dead\(id)", at: now)
            if turns.next(at: now) == id { launched += 1 }
            now += .milliseconds(260)
            turns.cancelled(id, isResolverAlive: true, at: now)
        }
        // One at a time, as slowly as they are found out.
        #expect(launched == 200)
        now += .milliseconds(1)
        for id in 301...400 as ClosedRange<UInt64> { turns.add(id, "burst\(id)", at: now) }
        #expect(turns.next(at: now) == 400)
        #expect(turns.next(at: now) == nil, "the resolver has enough of ours")
        // Those that were answered, or taken back at once, are nobody's.
        var fresh = LookupTurns(limit: 8)
        for id in 1...200 as ClosedRange<UInt64> {
            fresh.add(id, "quick\(id)", at: now)
            #expect(fresh.next(at: now) == id)
            fresh.cancelled(id, isResolverAlive: true, at: now + .milliseconds(10))
        }
    }

    /// Dead names that are asked for again and again, each time given up by whoever asked: a new one goes before them.
    @Test func whoWasGivenUpIsNoNewcomer() {
        var now = ContinuousClock.now
        var turns = LookupTurns(limit: 8)
        var good = 0
        for round in 0..<10 {
            let ids = (0..<50).map { UInt64(round * 100 + $0 + 1) }
            for (index, id) in ids.enumerated() { turns.add(id, "dead\(index)", at: now) }
            while turns.next(at: now) != nil {}
            let new = UInt64(10_000 + round)
            turns.add(new, "good\(round)", at: now)
            for step in 0..<20 where turns.next(at: now + .milliseconds(step * 20)) == new {
                turns.answered(new, at: now + .milliseconds(step * 20))
                good += 1
                break
            }
            now += .seconds(2)
            _ = turns.next(at: now)
            for id in ids { turns.cancelled(id, isResolverAlive: true, at: now) }
        }
        #expect(good == 10)
    }

    /// When nobody is answered, it is no name's fault.
    @Test func aResolverThatIsAwayMakesNoNameSlow() {
        let now = ContinuousClock.now
        var turns = LookupTurns(limit: 4)
        for id in 1...4 as ClosedRange<UInt64> {
            turns.add(id, "name\(id)", at: now)
            _ = turns.next(at: now + .seconds(Int64(id)))
            turns.gaveUp(id, isResolverAlive: false, at: now + .seconds(12))
        }
        turns.add(9, "name1", at: now + .seconds(13))
        turns.add(10, "other", at: now + .seconds(13))
        #expect(turns.next(at: now + .seconds(13)) == 10)
        turns.answered(10, at: now + .seconds(13))
        #expect(turns.next(at: now + .seconds(13)) == 9)
    }
}
