// TokenSourceTests.swift — access tokens: renewed in time, one request at a time, nothing secret in an error.

import HTTPClient
import Mail
import Synchronization
import Testing

@testable import Departure

struct TokenSourceTests {
    /// A token server that answers from a list, and a clock that stands still.
    private final class World: Sendable {
        let answers = Mutex<[(Int, String)]>([])
        let bodies = Mutex<[String]>([])
        let time = Mutex(Timestamp(milliseconds: 1_000_000))
        let kept = Mutex<[String: [UInt8]]>([:])

        func source() -> TokenSource {
            TokenSource(
                WebFetch { request in
                    self.bodies.withLock { $0.append(String(decoding: request.body ?? [], as: UTF8.self)) }
                    guard let (status, text) = self.answers.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) else {
                        return .failure(HTTPError(.cannotConnect, "no server"))
                    }
                    return .success(HTTPResponse(status: status, headers: [], body: Array(text.utf8)))
                },
                store: TokenStore(
                    load: { name in self.kept.withLock { $0[name] } },
                    save: { name, bytes in
                        self.kept.withLock { $0[name] = bytes }
                        return true
                    }
                ),
                now: { self.time.withLock { $0 } }
            )
        }

        func answer(_ status: Int, _ text: String) { answers.withLock { $0.append((status, text)) } }
        func pass(seconds: Int64) { time.withLock { $0 = $0.adding(milliseconds: seconds * 1000) } }
        var count: Int { bodies.withLock { $0.count } }
    }

    private let world = World()
    private let grant = OAuthGrant(
        tokenURL: "https://login.example/token",
        clientID: "client",
        clientSecret: Secret("sesame"),
        refreshToken: Secret("refresh")
    )

    private func token(_ source: TokenSource) async -> String {
        do throws(TokenError) { return try await source.token(for: grant).revealed } catch {
            return "! \(error.reason)"
        }
    }

    @Test func aReplacedRefreshTokenOutlivesARestart() async {
        world.answer(200, #"{"access_token":"one","refresh_token":"second","expires_in":3600}"#)
        world.answer(200, #"{"access_token":"two","expires_in":3600}"#)
        #expect(await token(world.source()) == "one")
        #expect(await token(world.source()) == "two")
        #expect(world.bodies.withLock { $0.map { $0.contains("refresh_token=second") } } == [false, true])
        // Another one in routes.ini is a new beginning.
        world.answer(200, #"{"access_token":"three","expires_in":3600}"#)
        var changed = grant
        changed.refreshToken = Secret("anew")
        _ = try? await world.source().token(for: changed)
        #expect(world.bodies.withLock { $0.last?.contains("refresh_token=anew") } == true)
    }

    @Test func isKeptUntilShortlyBeforeItsEnd() async {
        world.answer(200, #"{"access_token":"one","expires_in":3600}"#)
        world.answer(200, #"{"access_token":"two","expires_in":3600}"#)
        let source = world.source()
        #expect(await token(source) == "one")
        world.pass(seconds: 3299)
        #expect(await token(source) == "one")
        world.pass(seconds: 2)
        #expect(await token(source) == "two")
        #expect(world.count == 2)
    }

    @Test func oneThatIsGoodIsUsedWhenTheServerFails() async {
        world.answer(200, #"{"access_token":"one","expires_in":3600}"#)
        let source = world.source()
        #expect(await token(source) == "one")
        world.pass(seconds: 3400)
        #expect(await token(source) == "one")
        #expect(source.states.first?.trouble != nil)
        world.pass(seconds: 300)
        #expect(await token(source).hasPrefix("! "))
    }

    @Test func manyWaitForOneRequest() async {
        world.answer(200, #"{"access_token":"one","expires_in":3600}"#)
        let source = world.source()
        await withTaskGroup(of: String.self) { group in
            for _ in 0..<20 { group.addTask { await self.token(source) } }
            for await token in group { #expect(token == "one") }
        }
        #expect(world.count == 1)
    }

    @Test func aServerThatFailsIsLeftAlone() async {
        let source = world.source()
        #expect(await token(source) == "! the token server cannot be reached: no server")
        #expect(await token(source).hasPrefix("! "))
        #expect(world.count == 1)
        world.pass(seconds: 31)
        world.answer(200, #"{"access_token":"one"}"#)
        #expect(await token(source) == "one")
    }

    @Test func theRefreshTokenMayChange() async {
        world.answer(200, #"{"access_token":"one","expires_in":60,"refresh_token":"newer"}"#)
        world.answer(200, #"{"access_token":"two","expires_in":60}"#)
        let source = world.source()
        _ = await token(source)
        source.forget(grant)
        #expect(await token(source) == "two")
        #expect(world.bodies.withLock { $0.last?.contains("refresh_token=newer") ?? false })
    }

    @Test(arguments: [
        (400, #"{"error":"invalid_grant","error_description":"refresh is gone"}"#, "400 invalid_grant"),
        (200, #"{"token_type":"Bearer"}"#, "200 no access_token"), (500, "<html>", "500 and no JSON object"),
        (200, "{\"access_token\":\"a\\nb\"}", "200 no access_token"),
    ])
    func whatIsNoTokenIsSaid(_ status: Int, _ body: String, _ reason: String) async {
        world.answer(status, body)
        let text = await token(world.source())
        #expect(text.contains(reason), "\(text)")
        #expect(!text.contains("sesame") && !text.contains("refresh is gone"))
    }

    @Test func nothingIsSentInTheClear() async {
        for url in ["http://login.example/", "http://127.0.0.1.evil.test/", "http://localhostess/", "ftp://x/"] {
            let source = world.source()
            let open = OAuthGrant(tokenURL: url, clientID: "client", refreshToken: Secret("refresh"))
            await #expect(throws: TokenError.self) { try await source.token(for: open) }
        }
        #expect(world.count == 0)
    }

    @Test(arguments: [
        #"{"a":"x\"yA","n":3600,"z":{"deep":[1,{"a":"no"}]},"t":true}"#, #" { "a" : "x\"yA" , "n":"3600"} "#,
    ])
    func readsJSON(_ text: String) throws {
        let reply = try #require(TokenReply(Array(text.utf8)))
        #expect(reply[string: "a"] == "x\"yA")
        #expect(reply[count: "n"] == 3600)
    }

    @Test(arguments: [
        "", "[]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{} x", "{\"a\":\"\\u12\"}", "{\"a\":nan1}",
        String(repeating: "[", count: 10_000), "{\"a\":" + String(repeating: "[", count: 10_000),
    ])
    func whatIsNoJSONIsNone(_ text: String) { #expect(TokenReply(Array(text.utf8)) == nil) }
}
