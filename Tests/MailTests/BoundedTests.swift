// BoundedTests.swift — a dictionary with an end: what it must still know, what it may forget, and how much it may keep.

import Mail
import TestSupport
import Testing

@Suite struct BoundedTests {
    @Test func theNewestAreKnownAndNeverMoreThanTwiceAsMany() {
        var generator = SeededRandom(seed: 20_261_130)
        for capacity in [1, 2, 7, 64] {
            var known = Bounded<Int, Int>(atLeast: capacity)
            var model: [Int: Int] = [:]
            // Keys by the time of their last writing, the newest last.
            var written: [Int] = []
            for step in 0..<4000 {
                let key = Int.random(in: 0..<(3 * capacity + 2), using: &generator)
                switch Int.random(in: 0..<8, using: &generator) {
                case 0:
                    let gone = known.removeValue(forKey: key)
                    #expect(gone == nil || gone == model[key])
                    model[key] = nil
                    // What was forgotten before others were removed does not come back for it.
                    written.removeAll { $0 == key }
                    written.append(key)
                case 1:
                    let before = known[key]
                    known[key, default: -1] += 1
                    #expect(known[key] == (before ?? -1) + 1)
                    model[key] = known[key]
                    written.removeAll { $0 == key }
                    written.append(key)
                default:
                    known[key] = step
                    model[key] = step
                    written.removeAll { $0 == key }
                    written.append(key)
                }
                #expect(known.count <= 2 * capacity)
                for newest in written.suffix(capacity) { #expect(known[newest] == model[newest]) }
                for (key, value) in known.map({ ($0, $1) }) { #expect(model[key] == value, "nothing old comes back") }
            }
        }
    }

    @Test func namesThatSomebodyMakesUpDoNotEmptyIt() {
        var known = Bounded<String, Int>(atLeast: 100)
        for round in 0..<1000 {
            known["made up \(round)"] = round
            // What is used all the time is written all the time.
            known["ours", default: 0] += 1
        }
        #expect(known["ours"] == 1000)
    }

    @Test func everythingIsSeenOnce() {
        var known = Bounded<Int, Int>(atLeast: 4)
        for key in 0..<7 { known[key] = key }
        #expect(known.map { key, _ in key }.sorted() == Array(0..<7))
        known.changeAll { $0 *= 2 }
        known.keep { key, value in value == 2 * key && key % 2 == 0 }
        #expect(known.map { key, _ in key }.sorted() == [0, 2, 4, 6])
        known.removeAll()
        #expect(known.isEmpty && known.count == 0)
    }
}
