// TurnawayLimitTests.swift — how many lines about refused clients the log gets, with time passed in.

import Ingest
import Mail
import TestSupport
import Testing

struct TurnawayLimitTests {
    private static func uptime(_ seconds: Int64) -> Uptime { Uptime(milliseconds: seconds * 1000) }
    private static func client(_ number: Int) -> IPAddress? { IPAddress("10.0.\(number / 250).\(number % 250)") }

    @Test func theFirstOfAMinuteHaveALineEachAndTheRestOneTogether() {
        var limit = TurnawayLimit()
        let client = Self.client(1)
        let verdicts = (0..<25).map { _ in limit.admit(client, at: Self.uptime(5)) }
        #expect(verdicts.prefix(10).allSatisfy { $0 == .tell })
        #expect(verdicts[10] == .countFirst)
        #expect(verdicts[11...].allSatisfy { $0 == .count })
        #expect(limit.due(at: Self.uptime(64)).isEmpty)
        #expect(limit.due(at: Self.uptime(65)).map(\.count) == [15])
        #expect(limit.due(at: Self.uptime(500)).isEmpty)
        #expect(limit.admit(client, at: Self.uptime(66)) == .tell)
    }

    @Test func oneClientTakesNoLineOfAnother() {
        var limit = TurnawayLimit()
        for _ in 0..<1000 { _ = limit.admit(Self.client(1), at: Self.uptime(1)) }
        #expect(limit.admit(Self.client(2), at: Self.uptime(1)) == .tell)
    }

    @Test func severalAtOnceAreCounted() {
        var limit = TurnawayLimit()
        #expect(limit.admit(Self.client(1), count: 7, at: Self.uptime(1)) == .countFirst)
        #expect(limit.due(at: Self.uptime(61)).map(\.count) == [7])
    }

    @Test func aNetworkOfIPv6IsOneClient() throws {
        var limit = TurnawayLimit()
        for number in 0..<20 { _ = limit.admit(IPAddress("2001:db8::\(number)"), at: Self.uptime(1)) }
        let due = limit.due(at: Self.uptime(61))
        #expect(due.map(\.count) == [10])
        #expect(due.first?.client == IPAddress("2001:db8::"))
    }

    @Test func memoryAndLinesAreBounded() {
        var limit = TurnawayLimit(capacity: 100)
        var told = 0
        for number in 0..<20_000 where limit.admit(Self.client(number % 10_000), at: Self.uptime(1)) == .tell {
            told += 1
        }
        #expect(told == 200)
        let due = limit.due(at: Self.uptime(61))
        #expect(due.count == 1 && due.first?.client == nil && due.first?.count == 19_800)
        var wide = TurnawayLimit()
        told = 0
        for number in 0..<4000 where wide.admit(Self.client(number), at: Self.uptime(1)) == .tell { told += 1 }
        #expect(told == TurnawayLimit.perMinute)
    }
}
