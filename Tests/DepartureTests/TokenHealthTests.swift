// TokenHealthTests.swift — when a refresh token that nobody uses ends, and who is told.

import HTTPClient
import Mail
import Synchronization
import Testing

@testable import Departure

struct TokenHealthTests {
    private let used = Timestamp(milliseconds: 1_700_000_000_000)
    private func day(_ count: Int) -> Timestamp { used.adding(milliseconds: Int64(count) * 86_400_000) }

    /// Days since the last use; whether it wants a use, and whether people are told.
    @Test(arguments: [
        (90, 0, false, false), (90, 6, false, false), (90, 7, true, false), (90, 75, true, false), (90, 76, true, true),
        (90, 200, true, true), (180, 100, true, false), (180, 166, true, true), (4, 1, false, true), (4, 2, true, true),
    ])
    func isToldTwoWeeksBefore(_ life: Int, _ days: Int, _ wantsUse: Bool, _ isExpiring: Bool) {
        let health = TokenHealth(lastUse: used, days: life)
        #expect(health.wantsUse(at: day(days)) == wantsUse)
        #expect(health.isExpiring(at: day(days)) == isExpiring)
    }

    @Test func oneThatDoesNotEndIsLeftAlone() {
        let health = TokenHealth(lastUse: used, days: nil)
        #expect(!health.wantsUse(at: day(1000)) && !health.isExpiring(at: day(1000)))
    }

    @Test(
        arguments: [
            ("https://login.microsoftonline.com/t/oauth2/v2.0/token", nil, 90),
            ("https://login.microsoftonline.us/t/oauth2/v2.0/token", nil, 90),
            ("https://oauth2.googleapis.com/token", nil, 180), ("https://login.example/token", nil, nil),
            ("https://login.microsoftonline.com.evil.example/", nil, nil), ("https://login.example/token", 30, 30),
            ("https://oauth2.googleapis.com/token", 0, nil),
        ] as [(String, Int?, Int?)]
    )
    func theProviderDecidesUnlessTheSettingsDo(_ url: String, _ settings: Int?, _ days: Int?) {
        #expect(TokenHealth.days(of: url, settings: settings) == days)
    }

    @Test func theLastUseOutlivesARestartAndPeopleAreToldOnce() async throws {
        let kept = Mutex<[String: [UInt8]]>([:])
        let time = Mutex(used)
        let grant = OAuthGrant(tokenURL: "https://l.example/", clientID: "c", refreshToken: Secret("r"))
        func source(_ status: Int) -> TokenSource {
            TokenSource(
                WebFetch { _ in
                    let body = status == 200 ? #"{"access_token":"a"}"# : #"{"error":"invalid_grant"}"#
                    return .success(HTTPResponse(status: status, headers: [], body: Array(body.utf8)))
                },
                store: TokenStore(
                    load: { name in kept.withLock { $0[name] } },
                    save: { name, bytes in
                        kept.withLock { $0[name] = bytes }
                        return true
                    }
                ),
                now: { time.withLock { $0 } }
            )
        }
        _ = try await source(200).token(for: grant)
        time.withLock { $0 = day(80) }
        let later = source(400)
        await #expect(throws: TokenError.self) { try await later.token(for: grant) }
        #expect(later.state(of: grant)?.word == "invalid_grant")
        #expect(later.lastUse(of: grant, at: day(80)) == used, "a refusal is no use")
        let health = TokenHealth(lastUse: used, days: 90)
        #expect(later.tellsOnce(of: grant, health))
        #expect(!source(400).tellsOnce(of: grant, health))
        // A use begins anew.
        #expect(source(400).tellsOnce(of: grant, TokenHealth(lastUse: day(80), days: 90)))
    }

    @Test func anApplicationAsksForItself() async throws {
        let body = Mutex("")
        let kept = Mutex(0)
        let source = TokenSource(
            WebFetch { request in
                body.withLock { $0 = String(decoding: request.body ?? [], as: UTF8.self) }
                return .success(HTTPResponse(status: 200, headers: [], body: Array(#"{"access_token":"a"}"#.utf8)))
            },
            store: TokenStore(
                load: { _ in nil },
                save: { _, _ in
                    kept.withLock { $0 += 1 }
                    return true
                }
            )
        )
        let grant = OAuthGrant(
            tokenURL: "https://l.example/",
            clientID: "c",
            clientSecret: Secret("s"),
            refreshToken: nil,
            scope: "https://outlook.office365.com/.default"
        )
        _ = try await source.token(for: grant)
        #expect(
            body.withLock { $0 }
                == "grant_type=client_credentials&client_id=c&client_secret=s"
                + "&scope=https%3A%2F%2Foutlook.office365.com%2F.default"
        )
        #expect(kept.withLock { $0 } == 0, "there is no refresh token to keep")
    }

    @Test func aTokenThatCannotBeKeptIsTrouble() async throws {
        let source = TokenSource(
            WebFetch { _ in
                let body = #"{"access_token":"a","refresh_token":"new"}"#
                return .success(HTTPResponse(status: 200, headers: [], body: Array(body.utf8)))
            },
            store: TokenStore(load: { _ in nil }, save: { _, _ in false })
        )
        let grant = OAuthGrant(tokenURL: "https://l.example/", clientID: "c", refreshToken: Secret("r"))
        #expect(try await source.token(for: grant).revealed == "a", "mail goes on")
        #expect(source.state(of: grant)?.trouble?.contains("cannot be written") == true)
    }
}
