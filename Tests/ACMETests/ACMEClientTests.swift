// ACMEClientTests.swift — the client against a scripted world: what it asks, and what it makes of the answers.

import HTTPClient
import JSON
import Mail
import OpenSSL
import Synchronization
import Testing

@testable import ACME

/// An authority of a few answers; those in `odd` come first, by path.
private final class Authority: Sendable {
    let odd = Mutex<[String: [(Int, String, [(name: String, value: String)])]]>([:])
    let asked = Mutex<[String]>([])
    let pauses = Mutex<[Int]>([])
    let open = Mutex<[String]>([])
    static let base = "https://acme.example"

    func script(_ path: String, _ status: Int, _ body: String, _ headers: [(name: String, value: String)] = []) {
        odd.withLock { $0[path, default: []].append((status, body, headers)) }
    }

    func answer(_ request: HTTPRequest) -> Result<HTTPResponse, HTTPError> {
        let path = String(request.url.dropFirst(Self.base.count))
        asked.withLock { $0.append(path) }
        let scripted = odd.withLock { odd in odd[path]?.isEmpty == false ? odd[path]?.removeFirst() : nil }
        let (status, body, headers) = scripted ?? usual(path)
        let all = headers + [(name: "replay-nonce", value: "nonce-\(asked.withLock { $0.count })")]
        return .success(HTTPResponse(status: status, headers: all, body: Array(body.utf8)))
    }

    private func usual(_ path: String) -> (Int, String, [(name: String, value: String)]) {
        let base = Self.base
        func words(_ pairs: String) -> String { "{\(pairs)}" }
        switch path {
        case "/dir":
            return (
                200,
                words(
                    #""newNonce":"\#(base)/nonce","newAccount":"\#(base)/account","newOrder":"\#(base)/order""#
                        + #","meta":{"termsOfService":"\#(base)/terms"}"#
                ), []
            )
        case "/nonce": return (200, "", [])
        case "/account": return (201, words(#""status":"valid""#), [(name: "location", value: "\(base)/account/1")])
        case "/order":
            return (
                201,
                words(
                    #""status":"pending","authorizations":["\#(base)/authz"],"finalize":"\#(base)/finalize""#
                ), [(name: "location", value: "\(base)/order/1")]
            )
        case "/authz":
            let isAnswered = asked.withLock { $0.contains("/chall") }
            return (
                200,
                words(
                    #""status":"\#(isAnswered ? "valid" : "pending")","identifier":{"type":"dns","value":"mx.example"}"#
                        + #","challenges":[{"type":"http-01","url":"\#(base)/chall","token":"tok-1"}]"#
                ), []
            )
        case "/chall": return (200, words(#""status":"processing""#), [])
        case "/order/1":
            let isDone = asked.withLock { $0.contains("/finalize") }
            return (
                200,
                words(
                    #""status":"\#(isDone ? "valid" : "ready")","finalize":"\#(base)/finalize""#
                        + #","certificate":"\#(base)/cert""#
                ), []
            )
        case "/finalize": return (200, words(#""status":"processing""#), [])
        case "/cert": return (200, "-----BEGIN CERTIFICATE-----", [])
        default: return (404, "", [])
        }
    }

    func get(
        agrees: Bool = true,
        challenge: ACMETerms.Challenge = .http,
        replacing old: String? = nil
    ) -> Result<String, ACMEError> {
        run(agrees: agrees, challenge: challenge) { client, key in
            String(decoding: try client.certificate(for: key, replacing: old), as: UTF8.self)
        }
    }

    func run<Value>(
        agrees: Bool = true,
        challenge: ACMETerms.Challenge = .http,
        _ body: (ACMEClient, SigningKey) throws -> Value
    ) -> Result<Value, ACMEError> {
        var terms = ACMETerms(directory: "\(Self.base)/dir", names: ["mx.example"])
        (terms.agrees, terms.challenge) = (agrees, challenge)
        let challenger = Challenger { (name, token, value) throws(ACMEError) in
            self.open.withLock { $0.append("\(name) \(token) \(value.hasPrefix("tok-1."))") }
        } close: { _, _, _ in
            self.open.withLock { $0.append("closed") }
        }
        let world = ACMEWorld(
            send: { self.answer($0) },
            pause: { seconds in self.pauses.withLock { $0.append(seconds) } }
        )
        do {
            let key = try SigningKey.generate(.p256)
            let client = ACMEClient(terms, try AccountKey(key), challenger, world)
            return .success(try body(client, key))
        } catch {
            return .failure(error as? ACMEError ?? ACMEError("\(error)"))
        }
    }
}

struct ACMEClientTests {
    private let authority = Authority()

    private func reason(_ result: Result<String, ACMEError>) -> String {
        if case .failure(let error) = result { error.reason } else { "" }
    }

    @Test func getsACertificate() throws {
        #expect(try authority.get().get() == "-----BEGIN CERTIFICATE-----")
        #expect(authority.open.withLock { $0 } == ["mx.example tok-1 true", "closed"])
    }

    private static let directory =
        #"{"newNonce":"https://acme.example/nonce","newAccount":"https://acme.example/account","#
        + #""newOrder":"https://acme.example/order","renewalInfo":"https://acme.example/ari"}"#

    /// RFC 9773 §4.1 has this name of its example certificate.
    @Test func asksWhenToRenew() throws {
        let name = RenewalWindow.name(
            authority: try #require([UInt8](hexadecimal: "69885b6b87464041e1b37b847bd0ae2cde01c8d4")),
            serial: [0, 0x87, 0x65, 0x43, 0x21]
        )
        #expect(name == "aYhba4dGQEHhs3uEe9CuLN4ByNQ.AIdlQyE")
        authority.script("/dir", 200, Self.directory)
        authority.script(
            "/ari/\(name)",
            200,
            #"{"suggestedWindow":{"start":"2030-01-02T04:00:00Z","end":"2030-01-03T04:00:00Z"},"explanationURL":"x"}"#,
            [(name: "retry-after", value: "21600")]
        )
        let found = try authority.run { client, _ in try client.window(of: name) }.get()
        #expect(found.retryAfter == 21_600 && found.window.map { $0.end - $0.begin } == 86_400)
        // An authority without an opinion, and answers that make no sense.
        #expect(try authority.run { client, _ in try client.window(of: name) }.get().window == nil)
        for odd in ["{}", #"{"suggestedWindow":{"start":"2030-01-03T04:00:00Z","end":"2030-01-02T04:00:00Z"}}"#] {
            authority.script("/dir", 200, Self.directory)
            authority.script("/ari/\(name)", 200, odd)
            #expect(try authority.run { client, _ in try client.window(of: name) }.get().window == nil)
        }
        authority.script("/dir", 200, Self.directory)
        authority.script("/ari/\(name)", 503, "", [(name: "retry-after", value: "77")])
        guard case .failure(let error) = authority.run({ client, _ in try client.window(of: name) }) else {
            return #expect(Bool(false))
        }
        #expect(error.retryAfter == 77)
    }

    @Test func aSuccessorThatThereIsDoesNotStopIt() throws {
        authority.script("/dir", 200, Self.directory)
        authority.script(
            "/order",
            409,
            #"{"type":"urn:ietf:params:acme:error:alreadyReplaced","detail":"by another"}"#
        )
        #expect(try authority.get(replacing: "a.b").get().isEmpty == false)
        #expect(authority.asked.withLock { $0.filter { $0 == "/order" }.count } == 2)
    }

    @Test func aRefusedNonceIsReplaced() throws {
        let problem = #"{"type":"urn:ietf:params:acme:error:badNonce","detail":"old"}"#
        for _ in 0..<3 { authority.script("/order", 400, problem) }
        #expect(try authority.get().get().isEmpty == false)
        #expect(authority.asked.withLock { $0.filter { $0 == "/order" }.count } == 4)
        // The nonce of the refusal is the next one: none is asked for.
        #expect(authority.asked.withLock { $0.filter { $0 == "/nonce" }.count } <= 1)
        for _ in 0..<9 { authority.script("/order", 400, problem) }
        #expect(reason(authority.get()).contains("badNonce"))
    }

    @Test func whatTheAuthoritySaysIsSaid() {
        let base = Authority.base
        authority.script(
            "/authz",
            200,
            """
            {"status":"pending","identifier":{"type":"dns","value":"mx.example"},\
            "challenges":[{"type":"http-01","url":"\(base)/chall","token":"tok-1"}]}
            """
        )
        authority.script(
            "/authz",
            200,
            """
            {"status":"invalid","identifier":{"type":"dns","value":"mx.example"},"challenges":[{"type":"http-01",\
            "error":{"type":"urn:ietf:params:acme:error:connection","detail":"no route\\u001b to host"}}]}
            """
        )
        #expect(reason(authority.get()) == "mx.example is not proved: connection no route? to host")
        #expect(authority.open.withLock { $0.last } == "closed")
    }

    @Test func aLimitSaysWhen() {
        authority.script(
            "/order",
            429,
            #"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}"#,
            [(name: "retry-after", value: "7200")]
        )
        guard case .failure(let error) = authority.get() else { return #expect(Bool(false)) }
        #expect((error.kind, error.retryAfter) == ("rateLimited", 7200))
    }

    @Test func termsAreAgreedToFirst() {
        #expect(reason(authority.get(agrees: false)).contains("acme_terms_agreed"))
        #expect(authority.asked.withLock { $0 } == ["/dir"])
    }

    @Test func whatIsNotOfferedIsSaid() {
        #expect(reason(authority.get(challenge: .dns)).contains("takes no dns-01"))
    }

    @Test func waitsEndAndAreBounded() {
        for _ in 0..<200 {
            authority.script("/order/1", 200, #"{"status":"pending"}"#, [(name: "retry-after", value: "99999")])
        }
        #expect(reason(authority.get()).contains("still pending"))
        #expect(authority.pauses.withLock { $0.allSatisfy { (1...30).contains($0) } && $0.count < 100 })
    }

    @Test(arguments: ["http://acme.example/x", "ftp://x", ""])
    func nothingGoesInTheClear(_ url: String) {
        authority.script("/account", 201, "{}", [(name: "location", value: url)])
        #expect(reason(authority.get()).contains("no https URL"))
    }

    @Test(arguments: ["../../etc/passwd", "a b", "", "x\r\ny"]) func aTokenIsBase64(_ token: String) {
        authority.script(
            "/authz",
            200,
            """
            {"status":"pending","identifier":{"type":"dns","value":"mx.example"},\
            "challenges":[{"type":"http-01","url":"\(Authority.base)/chall","token":\(JSON.string(token).text)}]}
            """
        )
        #expect(reason(authority.get()).contains("no token"))
        #expect(authority.open.withLock { $0.isEmpty })
    }
}
