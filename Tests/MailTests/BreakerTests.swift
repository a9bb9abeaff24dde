// BreakerTests.swift — when a program is left alone, and when it is asked again.

import Testing

@testable import Mail

@Suite struct BreakerTests {
    private func at(_ seconds: Int64) -> Uptime { Uptime(milliseconds: seconds * 1000) }

    @Test func opensAfterFailuresInARowAndTriesOnceAfterItsPause() {
        var breaker = Breaker(limit: 3, pause: 30_000)
        for second in Int64(0)..<2 {
            #expect(breaker.mayAsk(at: at(second)) == true)
            #expect(breaker.failed(at: at(second)) == false)
        }
        #expect(breaker.failed(at: at(2)) == true)
        #expect(breaker.mayAsk(at: at(31)) == false)
        #expect(breaker.mayAsk(at: at(32)) == true)
        #expect(breaker.mayAsk(at: at(32)) == false, "one question tries")
        #expect(breaker.failed(at: at(33)) == false)
        #expect(breaker.mayAsk(at: at(62)) == false)
        #expect(breaker.mayAsk(at: at(63)) == true)
        #expect(breaker.succeeded() == true)
        #expect(breaker.mayAsk(at: at(63)) == true)
    }

    @Test func anAnswerForgetsTheFailuresBefore() {
        var breaker = Breaker(limit: 2, pause: 1000)
        #expect(breaker.failed(at: at(0)) == false)
        #expect(breaker.succeeded() == false)
        #expect(breaker.failed(at: at(1)) == false)
        #expect(breaker.mayAsk(at: at(1)) == true)
    }

    @Test func aLimitOfNothingNeverOpens() {
        var breaker = Breaker(limit: 0, pause: 1000)
        for second in Int64(0)..<100 { #expect(breaker.failed(at: at(second)) == false) }
        #expect(breaker.mayAsk(at: at(100)) == true)
    }
}
