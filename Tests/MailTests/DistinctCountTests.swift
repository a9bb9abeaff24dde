// DistinctCountTests.swift — different things in a window, in bounded memory: exact where it can be, and never too much too early.

import Mail
import TestSupport
import Testing

struct DistinctCountTests {
    private static let start = Timestamp(milliseconds: 1_800_000_000_000)
    private static let day: Int64 = 86_400_000

    @Test(arguments: [1, 2, 3] as [UInt64])
    func isExactWhereItHoldsAll(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var count = DistinctCount(window: Self.day)
        let people = (0..<6000).map { _ in random.next() }
        var last: [UInt64: Timestamp] = [:]
        var now = Self.start
        for _ in 0..<Effort.count(4_000) {
            now = now.adding(milliseconds: Int64.random(in: 0...60_000, using: &random))
            let some = Array(
                Set((0..<Int.random(in: 1...5, using: &random)).map { _ in people.randomElement(using: &random) ?? 0 })
            )
            count.add(some, at: now)
            for one in some { last[one] = now }
        }
        // Slices count whole: what is a window old is gone, what is younger is there, and in between either.
        let sure = last.values.count { now.milliseconds(since: $0) < Self.day }
        let most = last.values.count { now.milliseconds(since: $0) < Self.day / 24 * 25 }
        #expect(count.level == 0)
        #expect((sure...most).contains(count.total(at: now)))
        #expect(count.total(at: now.adding(milliseconds: 2 * Self.day)) == 0)
        #expect(count.opens(count.total(at: now), for: [people[0]], at: now) == nil || last[people[0]] == nil)
    }

    @Test func whoIsKnownNeedsNoRoom() {
        var count = DistinctCount(window: Self.day)
        count.add([1, 2, 3], at: Self.start)
        #expect(count.opens(3, for: [1, 3], at: Self.start) == nil)
        #expect(count.opens(4, for: [1, 3, 4], at: Self.start) == nil)
        let opens = count.opens(4, for: [3, 4, 5], at: Self.start)
        #expect(opens.map { $0.milliseconds(since: Self.start) > Self.day } ?? false)
        // They come again, and so they stay.
        let later = Self.start.adding(milliseconds: Self.day / 2)
        count.add([1, 2, 3], at: later)
        #expect(count.opens(3, for: [4], at: opens ?? later) != nil)
    }

    /// A flood of different ones: stopped after the limit, and before an eighth more.
    @Test(arguments: [(9_000, 1), (20_000, 2), (100_000, 3), (100_000, 4), (500_000, 5)] as [(Int, UInt64)])
    func beyondThatItIsStoppedInTime(most: Int, seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var count = DistinctCount(window: Self.day)
        var taken = 0
        while count.opens(most, for: [random.next()], at: Self.start) == nil, taken < 2 * most {
            let some = (0..<10).map { _ in random.next() }
            count.add(some, at: Self.start.adding(milliseconds: Int64(taken)))
            taken += some.count
        }
        #expect(taken >= most && taken <= most + most / 8, "\(taken)")
        #expect(count.kept <= DistinctCount.capacity)
        #expect(abs(count.total(at: Self.start) - taken) < taken / 10)
    }

    @Test func readsBackTheSame() {
        var random = SeededRandom(seed: 7)
        for size in [0, 1, 300, 8192, 30_000] {
            var count = DistinctCount(window: 3_600_000)
            var now = Self.start
            for _ in 0..<size {
                now = now.adding(milliseconds: Int64.random(in: 0...100, using: &random))
                count.add([random.next()], at: now)
            }
            let again = DistinctCount(
                count.stored,
                level: count.level,
                newest: count.storedAt,
                window: 3_600_000,
                at: now
            )
            #expect(again.total(at: now) == count.total(at: now) && again.kept <= count.kept)
        }
        // Nonsense is no crash.
        for _ in 0..<200 {
            let bytes = (0..<Int.random(in: 0...100, using: &random)).map { _ in
                UInt8(truncatingIfNeeded: random.next())
            }
            let count = DistinctCount(
                bytes,
                level: Int.random(in: -5...99, using: &random),
                newest: Int64.random(in: 0...(1 << 50), using: &random),
                window: 1000,
                at: Self.start
            )
            #expect(count.kept <= 12)
        }
    }
}
