// RetryScheduleTests.swift — delays after failures, and the failure that bounces.

import Mail
import Testing

@testable import Queue

@Suite struct RetryScheduleTests {
    @Test func doublesFrom64SecondsAndBouncesAtTheThirteenthFailure() {
        let schedule = RetrySchedule()
        #expect(schedule.delay(afterFailures: 1) == 64_000)
        #expect(schedule.delay(afterFailures: 12) == 131_072_000)
        #expect(schedule.delay(afterFailures: 13) == nil)
        #expect((1...12).compactMap { schedule.delay(afterFailures: $0) }.reduce(0, +) == 262_080_000)  // 72.8 hours
    }

    @Test func followsTheIntervalsAndThenBounces() {
        let schedule = RetrySchedule(maxFailures: 2, intervals: [60, 300, 300])
        #expect((1...4).map { schedule.delay(afterFailures: $0) } == [60_000, 300_000, 300_000, nil])
    }

    @Test func noIntervalsBounceAtOnce() {
        #expect(RetrySchedule(intervals: []).delay(afterFailures: 1) == nil)
    }

    @Test func whereAnAgeEndsAMessageTheLastDelayGoesOn() {
        let formula = RetrySchedule(maxFailures: nil, goesOn: true)
        #expect([1, 7, 8, 5000].map { formula.delay(afterFailures: $0) } == [64_000, 4_096_000, 4_096_000, 4_096_000])
        let named = RetrySchedule(maxFailures: 4, intervals: [60, 300], goesOn: true)
        #expect((1...4).map { named.delay(afterFailures: $0) } == [60_000, 300_000, 300_000, nil])
    }

    @Test func manyFailuresDoNotOverflow() {
        #expect(RetrySchedule(maxFailures: 100_000).delay(afterFailures: 99_999) == 131_072_000)
    }
}

@Suite struct ParcellingTests {
    private func group(_ domains: [String], limit: Int) -> [[UInt32]] {
        parcelling(domains.indices.map(UInt32.init), limit: limit) {
            Lane.domain(Domain(unchecked: domains[Int($0)]))
        }.map(\.recipients)
    }

    @Test func groupsRecipientsByLane() {
        #expect(group(["a", "b", "a", "c", "b"], limit: 100) == [[0, 2], [1, 4], [3]])
    }

    @Test func splitsALaneAtTheLimit() {
        #expect(group(["a", "a", "b", "a", "a"], limit: 2) == [[0, 1], [2], [3, 4]])
    }

    @Test func alwaysSplitGivesEachItsOwn() {
        #expect(group(["a", "a", "b"], limit: 1) == [[0], [1], [2]])
    }
}
