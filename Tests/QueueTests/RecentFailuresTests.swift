// RecentFailuresTests.swift — the last bounces are known, and no more than so many.

import Mail
import Queue
import Testing

struct RecentFailuresTests {
    private static func entry(_ id: QueueID, _ number: Int) -> RecentFailures.Entry {
        RecentFailures.Entry(message: id, recipient: "\(number)@x", reply: "550 no", at: Timestamp(milliseconds: 0))
    }

    @Test func keepsTheLastOnes() throws {
        let recent = RecentFailures(capacity: 3)
        let (one, two) = (try #require(QueueID("1m8mwhxjf0000")), try #require(QueueID("1m8mwhxjf0001")))
        recent.note(Self.entry(one, 1))
        #expect(recent.failures(of: one).map(\.recipient) == ["1@x"])
        for number in 2...4 { recent.note(Self.entry(two, number)) }
        #expect(recent.failures(of: one).isEmpty)
        #expect(recent.failures(of: two).map(\.recipient).sorted() == ["2@x", "3@x", "4@x"])
    }
}
