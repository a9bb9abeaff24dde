// RecentFailuresTests.swift — the last bounces are known, and no more than so many.

import Mail
import Queue
import Testing

struct RecentFailuresTests {
    private static func note(_ id: QueueID, _ number: Int, in recent: RecentFailures) {
        recent.note(id, to: "\(number)@x", "550 no", at: Timestamp(milliseconds: 0))
    }

    @Test func keepsTheLastOnes() throws {
        let recent = RecentFailures(capacity: 3)
        let (one, two) = (try #require(QueueID("1m8mwhxjf0000")), try #require(QueueID("1m8mwhxjf0001")))
        Self.note(one, 1, in: recent)
        #expect(recent.failures(of: one).map(\.recipient) == ["1@x"])
        for number in 2...4 { Self.note(two, number, in: recent) }
        #expect(recent.failures(of: one).isEmpty)
        #expect(recent.failures(of: two).map(\.recipient).sorted() == ["2@x", "3@x", "4@x"])
    }
}
