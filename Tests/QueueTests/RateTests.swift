// RateTests.swift — over any window no more than rate × window + burst, over any day no more than a day may have.

import Mail
import TestSupport
import Testing

@Suite struct RateTests {
    /// A million arrivals, in bursts and lulls; every window that begins with one that was let on is counted.
    @Test(arguments: [(20, Int64(60_000), 1), (20, 60_000, 5), (100, 1000, 50), (7, 1000, 2), (1000, 60_000, 3)])
    func anyWindowHoldsNoMoreThanItMay(_ count: Int, _ period: Int64, _ burst: Int) throws {
        let rate = try #require(Rate(count, per: period, burst: burst))
        var random = SeededRandom(seed: UInt64(count) &* 31 &+ UInt64(burst))
        var pace = Pace()
        var now: Int64 = 1_000_000
        var taken: [Int64] = []
        for _ in 0..<1_000_000 {
            switch Int.random(in: 0..<1000, using: &random) {
            case 0: now += Int64.random(in: 0...(period * 3), using: &random)
            case 1..<300: now += Int64.random(in: 0...(2 * period / Int64(count)), using: &random)
            default: break
            }
            guard pace.opens(rate, at: Uptime(milliseconds: now)) == nil else { continue }
            pace.take(rate, at: Uptime(milliseconds: now))
            taken.append(now)
        }
        #expect(taken.count > 1000)
        // The k-th behind any other is at least (k - burst + 1) intervals later: that is the bound for every window.
        for distance in [1, 2, burst, burst + 1, 2 * burst + 3, 100, 999] where distance < taken.count {
            let least = Int64(max(0, distance - burst + 1)) * rate.interval
            for index in 0..<(taken.count - distance) where (taken[index + distance] - taken[index] + 1) * 1000 < least
            {
                Issue.record("\(distance + 1) within \(taken[index + distance] - taken[index]) ms")
                return
            }
        }
    }

    @Test func itSaysWhenItOpensToTheMillisecond() throws {
        let rate = try #require(Rate(7, per: 1000, burst: 2))
        var pace = Pace()
        for _ in 0..<2 { pace.take(rate, at: Uptime(milliseconds: 10)) }
        let opens = try #require(pace.opens(rate, at: Uptime(milliseconds: 10)))
        #expect(pace.opens(rate, at: Uptime(milliseconds: opens.milliseconds - 1)) == opens)
        #expect(pace.opens(rate, at: opens) == nil && pace.room(rate, at: opens) == 1)
        #expect(Rate(0, per: 1000) == nil && Rate(5, per: 0) == nil && Rate(5, per: 1000, burst: 0) == nil)
    }

    @Test func aDayIsAnyTwentyFourHours() {
        var day = WindowCount()
        let hour: Int64 = 3_600_000
        func at(_ hours: Int64, _ minutes: Int64 = 0) -> Timestamp {
            Timestamp(milliseconds: 400_000 * hour + hours * hour + minutes * 60_000)
        }
        day.add(3, at: at(0, 59))
        day.add(2, at: at(5))
        #expect(day.total(at: at(24, 58)) == 5)
        #expect(day.opens(5, at: at(20)) == at(25))
        #expect(day.total(at: at(25)) == 2 && day.opens(5, at: at(25)) == nil)
        #expect(day.total(at: at(30)) == 0)
        day.add(1, at: at(1000))
        #expect(day.total(at: at(1000)) == 1 && day.counts.count == 1)
        #expect(WindowCount(Array(repeating: -5, count: 99), newest: 3).counts.allSatisfy { $0 == 0 })
    }
}
