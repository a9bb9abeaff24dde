// JoinedStoryTests.swift — one message that several nodes tell of.

import JSON
import Testing

@testable import Admin

@Suite struct JoinedStoryTests {
    private func story(_ id: String, _ status: String, at time: String, attempts: Int, events: [JSON] = []) -> JSON {
        [
            "id": .string(id), "accepted_at": .string("2027-01-01T00:00:0\(id)Z"), "finished_at": .null,
            "sender": "a@a.test", "queue": .null,
            "recipients": [
                ["address": "b@b.test", "status": .string(status), "at": .string(time), "attempts": .count(attempts)]
            ],
            "timeline": .array(events),
        ]
    }

    private func event(_ time: String, _ node: String) -> JSON {
        ["time": .string(time), "node": .string(node), "seq": 1]
    }

    @Test func theEndCountsAndTheTimelineIsInOrder() throws {
        let first = story(
            "1",
            "deferred",
            at: "2027-01-01T00:09:00Z",
            attempts: 2,
            events: [event("1", "a"), event("3", "a")]
        )
        var second = story("1", "delivered", at: "2027-01-01T00:05:00Z", attempts: 3, events: [event("2", "b")])
        second["finished_at"] = "2027-01-01T00:05:00Z"
        for told in [[("a", first), ("b", second)], [("b", second), ("a", first)]] {
            let whole = JoinedStory.of(told)
            let fate = try #require(whole["recipients"]?.elements.first)
            #expect(fate["status"] == "delivered" && fate["attempts"] == 3)
            #expect(whole["finished_at"] == "2027-01-01T00:05:00Z")
            #expect(whole["timeline"]?.elements.map { $0["node"] } == ["a", "b", "a"])
            #expect(whole["nodes"]?.elements.count == 2)
        }
    }

    @Test func whoKnowsOnlyThatItWaitsAddsThat() {
        let waits: JSON = ["id": "1", "queue": ["state": "waiting"], "timeline": []]
        let whole = JoinedStory.of([("b", waits), ("a", story("1", "deferred", at: "x", attempts: 1))])
        #expect(whole["sender"] == "a@a.test" && whole["queue"]?["state"] == "waiting")
    }

    @Test func aListHasEachMessageOnceTheNewestFirst() {
        let list = JoinedStory.list([
            ("a", [story("3", "delivered", at: "x", attempts: 1), story("1", "deferred", at: "x", attempts: 1)]),
            ("b", [story("2", "delivered", at: "x", attempts: 1), story("1", "delivered", at: "y", attempts: 2)]),
        ])
        #expect(list.map { $0["id"] } == ["3", "2", "1"])
        #expect(
            list.last?["nodes"] == ["a", "b"] && list.last?["recipients"]?.elements.first?["status"] == "delivered"
        )
    }
}
