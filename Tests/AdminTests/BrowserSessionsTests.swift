// BrowserSessionsTests.swift — a cookie stands for a token: for as long as it may, from where it may, and for our own page only.

import Config
import Mail
import OpenSSL
import Testing

@testable import Admin

@Suite struct BrowserSessionsTests {
    private static let digest = Digest.sha256(Array("token".utf8))
    private static let wall = Timestamp(milliseconds: 1_800_000_000_000)
    private static let client = IPAddress("192.0.2.9")

    private static func later(_ hours: Int64) -> Timestamp { wall.adding(milliseconds: hours * 3_600_000) }

    private static func begin(
        _ sessions: BrowserSessions,
        _ digest: [UInt8] = digest,
        at now: Timestamp = wall
    ) throws -> (
        session: BrowserSession, secret: String
    ) {
        try #require(sessions.begin(token: "ours", digest: digest, client: client, agent: "a\u{1B}b", at: now))
    }

    private static func admit(
        _ sessions: BrowserSessions,
        _ secret: String,
        _ method: String = "GET",
        to need: TokenGuard.Need = .scope(.queueRead),
        _ more: [String: String] = [:],
        at now: Timestamp = wall,
        _ change: (inout AdminSettings) -> Void = { _ in }
    ) -> Int {
        var settings = AdminSettings()
        settings.tokens = [AdminSettings.Token(name: "ours", digest: digest, scopes: [.queueRead, .queueWrite])]
        change(&settings)
        let guardian = TokenGuard(settings: { [settings] in settings }, sessions: sessions)
        let headers = more.merging(["cookie": "a=b; \(sessions.cookie("r.example"))=\(secret); c", "host": "r.example"])
        { $1 }
        do throws(Problem) {
            let door = TokenGuard.Approach.tcp(client: client, isLoopback: false)
            _ = try guardian.admit(door, headers, to: need, by: method, now: Uptime(milliseconds: 0), wall: now)
            return 200
        } catch { return error.kind.status }
    }

    @Test func theCookieIsOfOneRelayAtOnePort() {
        let (a, b) = (BrowserSessions(relay: "a"), BrowserSessions(relay: "b"))
        #expect(a.cookie("127.0.0.1:8025") == a.cookie("127.0.0.1:8025"))
        #expect(a.cookie("127.0.0.1:8025") != a.cookie("127.0.0.1:8026"))
        #expect(a.cookie("127.0.0.1:8025") != b.cookie("127.0.0.1:8025"))
        #expect(a.cookie("[::1]:8025") == a.cookie("localhost:8025"), "the port alone")
        #expect(a.cookie(nil).hasPrefix("martlet_session_"))
    }

    @Test func aSessionMayDoWhatItsTokenMay() throws {
        let sessions = BrowserSessions()
        let secret = try Self.begin(sessions).secret
        #expect(Self.admit(sessions, secret) == 200)
        #expect(Self.admit(sessions, secret, to: .scope(.configWrite)) == 403)
        #expect(Self.admit(sessions, secret + "0") == 401)
        #expect(Self.admit(sessions, secret) { $0.tokens[0].digest = nil } == 401, "the token was revoked")
        #expect(Self.admit(sessions, secret) { $0.tokens[0].digest = [1] } == 401, "it is another of that name")
        #expect(Self.admit(sessions, secret) { $0.tokens[0].expires = Self.wall } == 401)
        #expect(
            Self.admit(sessions, secret) { $0.tokens[0].networks = [IPNetwork("10.0.0.0/8")].compactMap(\.self) } == 401
        )
        #expect(Self.admit(sessions, secret) { $0.hasPage = false } == 401, "there is no page")
    }

    @Test func onlyOurOwnPageChangesSomething() throws {
        let sessions = BrowserSessions()
        let secret = try Self.begin(sessions).secret
        let own = ["x-martlet-page": "1"]
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            #expect(Self.admit(sessions, secret, method, to: .scope(.queueWrite)) == 403)
            #expect(Self.admit(sessions, secret, method, to: .scope(.queueWrite), own) == 200)
        }
        for site in ["cross-site", "same-site"] {
            #expect(Self.admit(sessions, secret, ["sec-fetch-site": site]) == 403)
        }
        #expect(Self.admit(sessions, secret, ["origin": "https://evil.example"]) == 403)
        #expect(Self.admit(sessions, secret, ["origin": "https://r.example"]) == 200)
        // Behind a proxy the Host is another, and the browser knows whose page it is.
        #expect(
            Self.admit(sessions, secret, ["origin": "https://front.example", "sec-fetch-site": "same-origin"]) == 200
        )
    }

    private static func admit(_ sessions: BrowserSessions, _ secret: String, _ more: [String: String]) -> Int {
        admit(sessions, secret, "GET", to: .scope(.queueRead), more)
    }

    @Test func aSessionEnds() throws {
        let sessions = BrowserSessions()
        let made = try Self.begin(sessions)
        #expect(sessions.find(made.secret, at: Self.later(23)) != nil)
        #expect(sessions.find(made.secret, at: Self.later(46)) != nil, "it was used meanwhile")
        #expect(sessions.find(made.secret, at: Self.later(71)) == nil, "a day without a request")
        let other = try Self.begin(sessions)
        for hours in stride(from: Int64(20), to: 14 * 24, by: 20) {
            #expect(sessions.find(other.secret, at: Self.later(hours)) != nil)
        }
        #expect(sessions.find(other.secret, at: Self.later(14 * 24)) == nil, "two weeks are over")
        let last = try Self.begin(sessions)
        #expect(sessions.end(last.session.id))
        #expect(!sessions.end(last.session.id))
        #expect(sessions.find(last.secret, at: Self.wall) == nil)
        #expect(last.session.agent == "a?b")
    }

    @Test func nobodyFillsTheBook() throws {
        let sessions = BrowserSessions()
        let quiet = try Self.begin(sessions, [7])
        for count in 0..<500 { _ = try Self.begin(sessions, at: Self.wall.adding(milliseconds: Int64(count))) }
        #expect(sessions.list(at: Self.wall).count == BrowserSessions.mostOfToken + 1)
        #expect(sessions.find(quiet.secret, at: Self.wall) != nil, "another token's session stays")
        for number in 0..<500 { _ = try Self.begin(sessions, [UInt8(number % 256), UInt8(number / 256)]) }
        #expect(sessions.list(at: Self.wall).count <= BrowserSessions.most)
    }
}
