// DeadlineTests.swift — a deadline fires once, at its time, wherever it was moved.

import Loop
import NIOCore
import NIOEmbedded
import Testing

struct DeadlineTests {
    final class Count {
        var value = 0
    }

    private func make() -> (EmbeddedEventLoop, Deadline, Count) {
        let loop = EmbeddedEventLoop()
        let count = Count()
        return (loop, Deadline(loop: loop) { count.value += 1 }, count)
    }

    @Test func firesOnceAtItsTime() {
        let (loop, deadline, count) = make()
        deadline.set(after: 4000)
        loop.advanceTime(by: .milliseconds(3999))
        #expect(count.value == 0)
        loop.advanceTime(by: .milliseconds(1))
        #expect(count.value == 1)
        loop.advanceTime(by: .hours(1))
        #expect(count.value == 1)
    }

    @Test func firesAtTheLastOfManyTimes() {
        let (loop, deadline, count) = make()
        for _ in 0..<100 {
            deadline.set(after: 300_000)
            loop.advanceTime(by: .seconds(7))
        }
        #expect(count.value == 0)
        loop.advanceTime(by: .seconds(292))
        #expect(count.value == 0)
        loop.advanceTime(by: .seconds(1))
        #expect(count.value == 1)
    }

    @Test func movesToAnEarlierTime() {
        let (loop, deadline, count) = make()
        deadline.set(after: 300_000)
        deadline.set(after: 50)
        loop.advanceTime(by: .milliseconds(50))
        #expect(count.value == 1)
    }

    @Test func isSilentOnceCleared() {
        let (loop, deadline, count) = make()
        deadline.set(after: 5000)
        deadline.clear()
        loop.advanceTime(by: .minutes(10))
        #expect(count.value == 0)
        deadline.set(after: 5000)
        loop.advanceTime(by: .seconds(5))
        #expect(count.value == 1)
    }

    @Test func mayBeSetAgainFromItsOwnClosure() {
        let loop = EmbeddedEventLoop()
        let count = Count()
        var deadline: Deadline?
        deadline = Deadline(loop: loop) {
            count.value += 1
            if count.value < 3 { deadline?.set(after: 1000) }
        }
        deadline?.set(after: 1000)
        loop.advanceTime(by: .seconds(2))
        #expect(count.value == 2)
        loop.advanceTime(by: .seconds(9))
        #expect(count.value == 3)
        deadline = nil
    }

    @Test func letsGoOfItsClosureWhenCancelled() {
        let loop = EmbeddedEventLoop()
        weak var held: Count?
        do {
            let count = Count()
            held = count
            let deadline = Deadline(loop: loop) { count.value += 1 }
            deadline.set(after: 1000)
            deadline.cancel()
        }
        loop.advanceTime(by: .seconds(1))
        #expect(held == nil)
    }
}
