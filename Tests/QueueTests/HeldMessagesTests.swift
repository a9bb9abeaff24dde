// HeldMessagesTests.swift — what goes on by itself next is known without a look at what does not.

import Mail
import Storage
import Testing

@testable import Queue

@Suite struct HeldMessagesTests {
    private static func id(_ number: UInt64) -> QueueID { QueueID(rawValue: number) }
    private static func hold(_ until: Int64?) -> Hold {
        Hold(since: Timestamp(milliseconds: 0), until: until.map { Timestamp(milliseconds: $0) }, reason: "")
    }

    @Test func tellsEachOnceWhenItsTimeHasCome() {
        var held = HeldMessages([Self.id(1): Self.hold(30), Self.id(2): Self.hold(nil), Self.id(3): Self.hold(10)])
        held[Self.id(4)] = Self.hold(20)
        #expect(held.takeDue(at: Timestamp(milliseconds: 9)).isEmpty)
        #expect(held.takeDue(at: Timestamp(milliseconds: 20)) == [Self.id(3), Self.id(4)])
        #expect(held.takeDue(at: Timestamp(milliseconds: 20)).isEmpty)
        held.tellAgain(Self.id(4))
        #expect(held.takeDue(at: Timestamp(milliseconds: 20)) == [Self.id(4)])
        #expect(held.takeDue(at: Timestamp(milliseconds: 99)) == [Self.id(1)])
        #expect(held.all.count == 4, "who asks releases them")
    }

    @Test func theLastTimeCounts() {
        var held = HeldMessages()
        held[Self.id(1)] = Self.hold(10)
        held[Self.id(1)] = Self.hold(30)
        held[Self.id(2)] = Self.hold(10)
        held[Self.id(2)] = nil
        held[Self.id(3)] = Self.hold(10)
        held[Self.id(3)] = Self.hold(nil)
        #expect(held.takeDue(at: Timestamp(milliseconds: 20)).isEmpty)
        #expect(held.takeDue(at: Timestamp(milliseconds: 30)) == [Self.id(1)])
        held[Self.id(1)] = nil
        // Changed a thousand times, and told once.
        for time in 0..<1_000 as Range<Int64> { held[Self.id(9)] = Self.hold(1_000 + time) }
        #expect(held.takeDue(at: Timestamp(milliseconds: 9_999)) == [Self.id(9)])
    }
}
