// QueueFilterReaderTests.swift — one filter from a query and from JSON; what cannot be meant is refused, never left out.

import JSON
import Mail
import Queue
import Testing

@testable import Admin

@Suite struct QueueFilterReaderTests {
    private static func filter(_ value: JSON) throws(Problem) -> QueueFilter {
        try QueueFilterReader.read(try JSONObject(value, at: "/filter"))
    }

    private static func filter(_ query: [(String, String)]) throws(Problem) -> QueueFilter {
        var request = AdminRequest(.get, "/v1/queue")
        request.query = query.map { HeaderField($0.0, $0.1) }
        return try QueueFilterReader.read(request)
    }

    @Test func bothFormsMeanTheSame() throws {
        let query = try Self.filter([
            ("state", "held"), ("state", "waiting"), ("domain", "a.test"), ("sender", "<>"), ("recipient", "*@b.test"),
            ("route", "*"), ("min_age_s", "60"), ("max_age_s", "120"), ("min_attempts", "2"), ("error_contains", "x"),
        ])
        let body = try Self.filter([
            "state": ["held", "waiting"], "domain": "a.test", "sender": "<>", "recipient": "*@b.test", "route": "*",
            "min_age_s": 60, "max_age_s": 120, "min_attempts": 2, "error_contains": "x",
        ])
        #expect(query.states == body.states && query.states.count == 2)
        #expect(query.domain == body.domain && query.domain == Domain("a.test"))
        #expect(query.sender == body.sender && query.sender == AddressFilter.null)
        #expect(query.route == body.route && query.minAge == 60 && body.minAge == 60)
        #expect(query.maxAge == 120 && body.maxAge == 120 && query.minAttempts == 2 && body.minAttempts == 2)
        #expect(query.errorContains == "x" && body.errorContains == "x")
    }

    @Test(arguments: [
        ("state", JSON.null), ("state", "nope"), ("state", 1), ("domain", nil), ("domain", ""), ("domain", "a b"),
        ("sender", "a b"), ("recipient", "*@"), ("recipient", "nobody"), ("min_age_s", "60"), ("min_age_s", -1),
        ("min_age_s", 1_000_000_000_000), ("min_attempts", .number(1.5)), ("reason", "nope"), ("due_before", "soon"),
        ("error_contains", "a\u{0}"), ("unknown", 1), ("route", nil),
    ])
    func whatCannotBeMeantIsRefused(_ name: String, _ value: JSON) {
        do throws(Problem) {
            _ = try Self.filter(.object([JSON.Member(name, value)]))
            Issue.record("\(name) was taken")
        } catch {
            #expect(error.kind == .invalid)
            #expect(error.issues.allSatisfy { $0.pointer.utf8.starts(with: "/filter/\(name)".utf8) })
        }
    }

    @Test(arguments: [
        ("min_age_s", "+1"), ("min_age_s", ""), ("min_age_s", "1e3"), ("state", "HELD"),
        ("due_before", "2027-13-01T00:00:00Z"),
    ])
    func queriesAreReadAsStrictly(_ name: String, _ value: String) {
        #expect(throws: Problem.self) { try Self.filter([(name, value)]) }
    }
}
