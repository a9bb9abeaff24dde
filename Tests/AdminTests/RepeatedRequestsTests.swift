// RepeatedRequestsTests.swift — a request with a key is done once: the same answer again, another request refused, also
// after a restart.

import Files
import JSON
import Log
import Mail
import TestSupport
import Testing

@testable import Admin

@Suite struct RepeatedRequestsTests {
    private let disk = MemoryDisk()

    private func keys() -> IdempotencyKeys {
        IdempotencyKeys(path: "idempotency", disk: disk, log: LogSink(level: .critical), now: .now())
    }

    private static func request(_ body: String = "{}", by name: String = "a") -> AdminRequest {
        var request = AdminRequest(.post, "/v1/queue/flush")
        request.body = Array(body.utf8)
        request.caller = Caller(name: name, scopes: [], address: nil)
        return request
    }

    /// - Returns: the status, and whether it was done.
    private static func ask(_ keys: IdempotencyKeys, _ key: String, _ request: AdminRequest) -> (Int, Bool) {
        var isDone = false
        do throws(Problem) {
            let answer = try keys.once(key, request) { (_, _) throws(Problem) in
                isDone = true
                return .json(["flushed": 1], status: 202)
            }
            return (answer.status, isDone)
        } catch { return (error.kind.status, isDone) }
    }

    @Test func theSameTwiceIsDoneOnce() {
        let keys = keys()
        #expect(Self.ask(keys, "k", Self.request()) == (202, true))
        #expect(Self.ask(keys, "k", Self.request()) == (202, false))
        #expect(Self.ask(keys, "k", Self.request("{\"domain\":\"a.test\"}")) == (422, false))
        #expect(Self.ask(keys, "other", Self.request()) == (202, true))
        // Another client's key is another key.
        #expect(Self.ask(keys, "k", Self.request(by: "b")) == (202, true))
    }

    @Test func alsoAfterARestart() {
        #expect(Self.ask(keys(), "k", Self.request()) == (202, true))
        #expect(Self.ask(keys(), "k", Self.request()) == (202, false))
    }

    @Test(arguments: ["", "a b", "a\u{7F}", "ä", String(repeating: "a", count: 257)])
    func keysAreOfPrintableCharacters(_ key: String) { #expect(Self.ask(keys(), key, Self.request()) == (400, false)) }

    @Test func whatFailedMayBeTriedAgain() {
        let keys = keys()
        #expect(throws: Problem.self) {
            try keys.once("k", Self.request()) { (_, _) throws(Problem) in throw Problem(.unavailable, "later") }
        }
        #expect(Self.ask(keys, "k", Self.request()) == (202, true))
    }
}
