// LoginProgramTests.swift — the hook `auth`: what answers mean, what is believed how long, and that nobody gets in by trouble.

import JSON
import Mail
import Testing

@testable import Logins

struct LoginProgramTests {
    private static func question(_ password: String = "open sesame", user: String = "alice") -> LoginQuestion {
        LoginQuestion(
            user: user,
            proof: .password(Array(password.utf8)),
            mechanism: "PLAIN",
            client: IPAddress("192.0.2.7"),
            listener: "192.0.2.1:587",
            isSecure: true
        )
    }

    @Test(arguments: [
        (#"{"result":"allow","max_age":5}"#, "allowed", 5),
        (#"{"result":"allow","max_age":99999999}"#, "allowed", 86_400),
        (#"{"result":"allow","user":"alice@x.example","senders":["a@x.example","Y.example"]}"#, "allowed", 0),
        (#"{"result":"deny","reason":"no","max_age":900}"#, "refused", 60),
        (#"{"result":"temporary","max_age":900}"#, "trouble", 0),
        (#"{"result":"next"}"#, "unknown", 0),
    ])
    func readsAnswers(_ text: String, _ kind: String, _ age: Int) throws {
        let (verdict, kept) = try LoginProgram.read(Array(text.utf8), Self.question(), "program p")
        let found =
            switch verdict {
            case .allowed: "allowed"
            case .refused: "refused"
            case .trouble: "trouble"
            case .unknown: "unknown"
            }
        #expect(found == kind && kept == age)
    }

    @Test(arguments: [
        "", "yes", "[]", "{}", #"{"result":"ALLOW"}"#, #"{"result":true}"#, #"{"result":"allow","senders":"a@x"}"#,
        #"{"result":"allow","senders":["not a domain"]}"#, #"{"result":"allow","max_age":-1}"#,
        #"{"result":"allow","user":"a\u0000b"}"#, #"{"result":"allow","more":1}"#,
        #"{"result":"allow","result":"deny"}"#,
    ])
    func whatCannotBeUsedLetsNobodyIn(_ text: String) {
        #expect(throws: LoginProgram.Fault.self) {
            try LoginProgram.read(Array(text.utf8), Self.question(), "program p")
        }
    }

    @Test func anAllowedTokenMustSayWhoseItIs() {
        #expect(throws: LoginProgram.Fault.self) {
            try LoginProgram.read(Array(#"{"result":"allow"}"#.utf8), Self.question(user: ""), "program p")
        }
    }

    @Test func whatIsAskedIsKnownByAHashOfAllOfIt() {
        let cache = LoginCache(key: [1, 2, 3])
        let name = cache.name(Self.question())
        #expect(name == cache.name(Self.question()) && name.count == 32)
        #expect(name != cache.name(Self.question("open sesam")))
        #expect(name != cache.name(Self.question("e", user: "alic")))
        #expect(name != LoginCache(key: [1, 2, 4]).name(Self.question()))
    }

    @Test func isBelievedForSoLongAndNoLonger() {
        var cache = LoginCache(capacity: 4, key: [7])
        let now = Uptime(milliseconds: 1000)
        cache.keep([1], .refused("no"), for: 2, at: now)
        cache.keep([2], .unknown, for: 0, at: now)
        #expect(cache.find([1], at: now.adding(milliseconds: 1999)) == .refused("no"))
        #expect(cache.find([1], at: now.adding(milliseconds: 2000)) == nil && cache.find([2], at: now) == nil)
        for number in 0..<100 { cache.keep([9, UInt8(number)], .unknown, for: 60, at: now) }
        #expect(cache.find([9, 99], at: now) == .unknown && cache.find([9, 0], at: now) == nil)
    }
}
