// AuthThrottleTests.swift — who failed waits, longer each time; who did not, does not; nothing grows without bound.

import Ingest
import Mail
import TestSupport
import Testing

struct AuthThrottleTests {
    private static let client = IPAddress("192.0.2.1")
    private static let other = IPAddress("198.51.100.9")

    private static func at(_ milliseconds: Int64) -> Uptime { Uptime(milliseconds: 1_000_000 + milliseconds) }

    private static func ask(
        _ throttle: inout AuthThrottle,
        _ client: IPAddress?,
        _ user: String,
        _ time: Int64
    )
        -> AuthThrottle.Verdict
    {
        throttle.ask(client, user, since: at(time), at: at(time), maxDelay: 60_000)
    }

    private static func fail(_ throttle: inout AuthThrottle, _ client: IPAddress?, _ user: String, _ time: Int64) {
        throttle.finished(client, user, succeeded: false, at: at(time), maxDelay: 60_000)
    }

    @Test func delaysGrowAndEnd() {
        var throttle = AuthThrottle()
        var time: Int64 = 0
        for expected: Int64 in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000] {
            #expect(Self.ask(&throttle, Self.client, "alice", time) == .go)
            Self.fail(&throttle, Self.client, "alice", time)
            #expect(Self.ask(&throttle, Self.client, "alice", time) == .wait(expected))
            time += expected
        }
    }

    @Test func anAddressIsSlowedAcrossAccountsAndAnAccountAcrossAddresses() {
        var throttle = AuthThrottle()
        #expect(Self.ask(&throttle, Self.client, "a", 0) == .go)
        Self.fail(&throttle, Self.client, "a", 0)
        #expect(Self.ask(&throttle, Self.client, "b", 0) == .wait(1000))
        #expect(Self.ask(&throttle, Self.other, "a", 0) == .wait(1000))
        #expect(Self.ask(&throttle, Self.other, "b", 0) == .go)
    }

    @Test func whoeverGotInBeforeIsNotKeptOutByOthers() {
        var throttle = AuthThrottle()
        #expect(Self.ask(&throttle, Self.client, "alice", 0) == .go)
        throttle.finished(Self.client, "alice", succeeded: true, at: Self.at(0), maxDelay: 60_000)
        for _ in 0..<5 {
            _ = Self.ask(&throttle, Self.other, "alice", 0)
            Self.fail(&throttle, Self.other, "alice", 0)
        }
        #expect(Self.ask(&throttle, Self.client, "alice", 0) == .go)
        #expect(Self.ask(&throttle, Self.other, "alice", 0) != .go)
    }

    @Test func guessesAtOnceAreLookedAtOneByOne() {
        var throttle = AuthThrottle()
        var count = 0
        for _ in 0..<100 where Self.ask(&throttle, Self.client, "alice", 0) == .go { count += 1 }
        #expect(count == 16)
        for _ in 0..<count { Self.fail(&throttle, Self.client, "alice", 0) }
        #expect(Self.ask(&throttle, Self.client, "alice", 59_999) == .wait(1))
        #expect(Self.ask(&throttle, Self.client, "alice", 60_000) == .go)
        #expect(Self.ask(&throttle, Self.client, "alice", 60_000) == .wait(1000))
    }

    @Test func waitingEnds() {
        var throttle = AuthThrottle()
        #expect(Self.ask(&throttle, Self.client, "a", 0) == .go)
        Self.fail(&throttle, Self.client, "a", 70_000)
        let verdict = throttle.ask(Self.client, "a", since: Self.at(0), at: Self.at(70_000), maxDelay: 60_000)
        #expect(verdict == .end)
    }

    @Test func failuresFade() throws {
        var throttle = AuthThrottle()
        let client = try #require(Self.client)
        for _ in 0..<3 { Self.fail(&throttle, client, "a", 0) }
        #expect(throttle.failures(of: client, at: Self.at(0)) == 3)
        #expect(throttle.failures(of: client, at: Self.at(1_200_000)) == 1)
        #expect(throttle.failures(of: client, at: Self.at(1_800_000)) == 0)
    }

    @Test func aNetworkOfIPv6IsOneSubscriber() {
        var throttle = AuthThrottle()
        #expect(Self.ask(&throttle, IPAddress("2001:db8::1"), "a", 0) == .go)
        Self.fail(&throttle, IPAddress("2001:db8::1"), "a", 0)
        #expect(Self.ask(&throttle, IPAddress("2001:db8::ffff:2"), "b", 0) == .wait(1000))
        #expect(Self.ask(&throttle, IPAddress("2001:db8:0:1::1"), "c", 0) == .go)
    }

    @Test func manyStrangersDoNotErase() {
        var throttle = AuthThrottle(capacity: 8)
        Self.fail(&throttle, Self.client, "victim", 0)
        for number in 0..<8 { Self.fail(&throttle, Self.other, "made-up-\(number)", 0) }
        #expect(Self.ask(&throttle, nil, "victim", 0) == .wait(1000))
    }
}
