// FramingGuardTests.swift — headers that could be read in two ways are refused; everything else is read in one.

import Testing

@testable import Admin

@Suite struct FramingGuardTests {
    private static func check(_ fields: [(String, String)]) throws(Problem) -> [String: String] {
        try FramingGuard.check(fields.map { HeaderField($0.0, $0.1) })
    }

    @Test func namesAreLowerCaseAndCopiesAreJoined() throws {
        let found = try Self.check([("ACCEPT", "a"), ("Accept", "b"), ("X-Y", "\tz ")])
        #expect(found["accept"] == "a, b" && found["x-y"] != nil)
    }

    @Test(arguments: ["chunked", "Chunked"])
    func chunkedIsTheOneEncoding(_ value: String) throws { _ = try Self.check([("Transfer-Encoding", value)]) }

    @Test(arguments: ["0", "18", "999999999999999999"])
    func lengthsAreNumbers(_ value: String) throws { _ = try Self.check([("Content-Length", value)]) }

    @Test(arguments: [
        ("Content-Length", ""), ("Content-Length", "-1"), ("Content-Length", "1 "), ("Content-Length", "1,1"),
        ("Content-Length", "1e3"), ("Content-Length", "٣"), ("Content-Length", "1000000000000000000"),
        ("Transfer-Encoding", "identity"), ("Transfer-Encoding", "chunked, chunked"), ("Transfer-Encoding", "chunked "),
        ("Transfer-Encoding", "chun\u{212A}ed"),
        ("Expect", ""), ("", "x"), ("a:b", "x"), ("a\u{301}", "x"), ("X", "a\u{7F}"), ("X", "a\u{0D}\u{0A}b"),
    ])
    func refusesTheRest(_ name: String, _ value: String) {
        do throws(Problem) {
            _ = try Self.check([(name, value)])
            Issue.record("\(name): \(value) was taken")
        } catch { #expect(error.kind == .malformed) }
    }

    @Test(arguments: [
        "content-length", "transfer-encoding", "host", "authorization", "content-type", "if-match", "if-none-match",
        "idempotency-key", "expect", "origin", "x-request-id",
    ])
    func whatDecidesComesOnce(_ name: String) {
        let value = name == "content-length" ? "1" : name == "expect" ? "100-continue" : "chunked"
        #expect(throws: Problem.self) { try Self.check([(name, value), (name.uppercased(), value)]) }
    }
}
