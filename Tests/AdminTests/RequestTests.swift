// RequestTests.swift — paths, framing and preferences of requests.

import Testing

@testable import Admin

@Suite struct RequestTests {
    @Test(arguments: [
        ("GET", "/v1/queue", "listQueue"), ("HEAD", "/v1/queue", "listQueue"),
        ("POST", "/v1/queue/flush", "flushQueue"),
        ("GET", "/v1/queue/flush2", "showMessage"), ("PUT", "/v1/routes/*.example.com", "putRoute"),
        ("PUT", "/v1/routes/%2A", "putRoute"), ("GET", "/v1/routes/sender%20a@b.test", "showRoute"),
    ])
    func findsTheOperation(_ method: String, _ path: String, _ operation: String) throws {
        #expect(try Match.of(method, path).endpoint.operation == operation)
    }

    @Test(arguments: [
        ("/v1/queue/%2e%2e", 400), ("/v1/queue/..", 400), ("/v1/queue/a%2F..", 400), ("/v1/queue/%00", 400),
        ("/v1/queue/%zz", 400), ("/v1/queue/%ff", 400), ("/v1/queue/a%5Cb", 400), ("//v1/queue", 404),
        ("/v1/queue/", 404),
        ("/v2/queue", 404), ("/page", 404),
    ])
    func refusesTricksWithPaths(_ path: String, _ status: Int) {
        #expect(throws: Problem.self) { try Match.of("GET", path) }
        do { _ = try Match.of("GET", path) } catch { #expect(error.kind.status == status) }
    }

    @Test func saysWhichMethodsThereAre() {
        do {
            _ = try Match.of("DELETE", "/v1/outbound")
            Issue.record("accepted")
        } catch {
            #expect(error.kind == .methodNotAllowed)
            #expect(error.headers == [HeaderField("Allow", "GET, PATCH, HEAD")])
        }
    }

    @Test func aCombiningMarkHidesNoSlash() throws {
        #expect(try PathText.segments(of: "/a/\u{301}b") == ["a", "\u{301}b"])
        #expect(throws: Problem.self) { try PathText.segments(of: "/a/%2F../\u{301}b") }
        #expect(try PathText.segments(of: "/\u{301}b") == ["\u{301}b"])
    }

    @Test func decodesOnce() throws {
        #expect(try Match.of("GET", "/v1/routes/a%2540b").parameters["match"] == "a%40b")
    }

    @Test(arguments: [
        [("Content-Length", "1"), ("Content-Length", "1")],
        [("Content-Length", "1"), ("Transfer-Encoding", "chunked")],
        [("Host", "a"), ("host", "b")], [("Transfer-Encoding", "gzip, chunked")], [("Content-Length", "+1")],
        [("Content-Length", "0x1")], [("Content Length", "1")], [("Authorization", "a"), ("Authorization", "b")],
        [("Expect", "200-ok")], [("X", "a\u{0}b")],
    ])
    func refusesAmbiguousFraming(_ fields: [(String, String)]) {
        #expect(throws: Problem.self) { try FramingGuard.check(fields.map { HeaderField($0.0, $0.1) }) }
    }

    @Test(arguments: [
        ("application/json", false), ("application/x-ndjson", true), ("*/*", false),
        ("application/json, application/x-ndjson;q=0.5", false), ("text/html, application/x-ndjson", true),
    ])
    func streamsOnlyWhoAsks(_ accept: String, _ isStream: Bool) {
        var request = AdminRequest(.get, "/v1/queue")
        request.headers["accept"] = accept
        #expect(request.prefers("application/x-ndjson", to: "application/json") == isStream)
    }
}
