// TokenGuardTests.swift — who is let in for what: the table of scopes, addresses, expiry, loopback and browsers' tricks.

import Config
import Mail
import OpenSSL
import Testing

@testable import Admin

@Suite struct TokenGuardTests {
    private static let secret = "0123456789abcdef0123456789abcdef"
    private static let now = Uptime(milliseconds: 1_000_000)
    private static let wall = Timestamp(milliseconds: 1_800_000_000_000)
    private static let outside = IPAddress("192.0.2.9")

    private static func guardian(
        _ scopes: Set<AdminSettings.Scope> = [.queueRead],
        _ change: (inout AdminSettings) -> Void = { _ in }
    ) -> TokenGuard {
        var settings = AdminSettings()
        settings.tokens = [
            AdminSettings.Token(name: "ours", digest: Digest.sha256(Array(secret.utf8)), scopes: scopes)
        ]
        change(&settings)
        return TokenGuard(settings: { [settings] in settings })
    }

    private static func admit(
        _ guardian: TokenGuard,
        _ header: String?,
        from client: IPAddress? = outside,
        to need: TokenGuard.Need = .scope(.queueRead),
        _ more: [String: String] = [:]
    ) throws(Problem) -> Caller {
        var headers = more
        headers["authorization"] = header
        return try guardian.admit(
            .tcp(client: client, isLoopback: client?.isLoopback ?? false),
            headers,
            to: need,
            now: now,
            wall: wall
        )
    }

    private static func status(_ body: () throws(Problem) -> Caller) -> Int {
        do throws(Problem) {
            _ = try body()
            return 200
        } catch { return error.kind.status }
    }

    @Test(arguments: AdminSettings.Scope.allCases)
    func aTokenMayDoWhatItsScopesSayAndNothingElse(_ scope: AdminSettings.Scope) {
        let guardian = Self.guardian([scope])
        for need in AdminSettings.Scope.allCases {
            let status = Self.status { () throws(Problem) in
                try Self.admit(guardian, "Bearer \(Self.secret)", to: .scope(need))
            }
            #expect(status == (need == scope ? 200 : 403), "\(scope.rawValue) for \(need.rawValue)")
        }
    }

    @Test(arguments: Endpoints.all.map(\.operation))
    func everyOperationAsksForItsScope(_ operation: String) throws {
        let endpoint = try #require(Endpoints.all.first { $0.operation == operation })
        guard let scope = endpoint.scope else { return }
        let others = Set(AdminSettings.Scope.allCases).subtracting([scope])
        #expect(
            Self.status { () throws(Problem) in
                try Self.admit(Self.guardian(others), "Bearer \(Self.secret)", to: .scope(scope))
            } == 403
        )
        // Nothing that changes something is open to those who may only read.
        if endpoint.method != .get { #expect(!scope.rawValue.utf8.elementsEqual("status:read".utf8)) }
    }

    @Test(arguments: [
        ("Bearer \(secret)", 200), ("bearer  \(secret)", 200), ("Bearer \(secret)x", 401), ("Bearer", 401), ("", 401),
        ("Basic \(secret)", 401), (secret, 401), ("Bearer \(secret) \(secret)", 401),
        ("Bearer " + String(repeating: "a", count: 10_000), 401), ("Bearer \(secret)\u{301}", 401),
    ])
    func onlyTheTokenItselfCounts(_ header: String, _ status: Int) {
        #expect(Self.status { () throws(Problem) in try Self.admit(Self.guardian(), header) } == status)
    }

    @Test func tokensHoldForTheirNetworksAndTheirTime() throws {
        let network = try #require(IPNetwork("198.51.100.0/24"))
        let bound = Self.guardian { $0.tokens[0].networks = [network] }
        let header = "Bearer \(Self.secret)"
        #expect(Self.status { () throws(Problem) in try Self.admit(bound, header) } == 401)
        #expect(
            Self.status { () throws(Problem) in try Self.admit(bound, header, from: IPAddress("198.51.100.7")) } == 200
        )
        for (end, status) in [(Self.wall.milliseconds + 1, 200), (Self.wall.milliseconds, 401)] {
            let guardian = Self.guardian { $0.tokens[0].expires = Timestamp(milliseconds: end) }
            #expect(Self.status { () throws(Problem) in try Self.admit(guardian, header) } == status)
        }
        let revoked = Self.guardian { $0.tokens[0].digest = nil }
        #expect(Self.status { () throws(Problem) in try Self.admit(revoked, header) } == 401)
        #expect(Self.status { () throws(Problem) in try Self.admit(revoked, "Bearer ") } == 401)
    }

    @Test func withoutTokensOnlyThisMachineIsTrusted() {
        let open = Self.guardian { $0.tokens = [] }
        let local = ["host": "localhost:8025"]
        let loopback = IPAddress("127.0.0.1")
        func status(_ client: IPAddress?, _ headers: [String: String]) -> Int {
            Self.status { () throws(Problem) in try Self.admit(open, nil, from: client, headers) }
        }
        #expect(status(loopback, local) == 200)
        #expect(status(IPAddress("::1"), ["host": "[::1]"]) == 200)
        #expect(status(Self.outside, local) == 401)
        #expect(status(nil, local) == 401)
        #expect(status(loopback, ["host": "evil.test"]) == 421)
        #expect(status(loopback, ["host": "localhost.evil.test"]) == 421)
        #expect(status(loopback, ["host": "localhost:\u{663}"]) == 421)
        #expect(status(loopback, [:]) == 421)
        #expect(status(loopback, local.merging(["origin": "http://evil.test"]) { $1 }) == 403)
        #expect(status(loopback, local.merging(["origin": "http://localhost:8025"]) { $1 }) == 200)
        #expect(status(loopback, local.merging(["sec-fetch-site": "cross-site"]) { $1 }) == 403)
        let asking = Self.guardian {
            $0.tokens = []
            $0.requiresToken = true
        }
        #expect(Self.status { () throws(Problem) in try Self.admit(asking, nil, from: loopback, local) } == 401)
    }

    @Test func metricsAreOpenToTheirNetworks() throws {
        let network = try #require(IPNetwork("192.0.2.0/24"))
        let guardian = Self.guardian { $0.metricsNetworks = [network] }
        for (need, expected) in [(AdminSettings.Scope.metricsRead, 200), (.statusRead, 401)] {
            #expect(
                Self.status { () throws(Problem) in try Self.admit(guardian, nil, to: .scope(need)) } == expected
            )
        }
    }

    @Test func guessingIsSlowedDownForAWholeNetworkOfASubscriber() {
        let guardian = Self.guardian()
        var answers: Set<Int> = []
        for number in 0..<40 {
            let client = IPAddress("2001:db8::\(String(number, radix: 16))")
            answers.insert(Self.status { () throws(Problem) in try Self.admit(guardian, "Bearer x", from: client) })
        }
        #expect(answers == [401, 429])
        // Another is not kept waiting, and who knows the token never is.
        #expect(Self.status { () throws(Problem) in try Self.admit(guardian, "Bearer x") } == 401)
        #expect(
            Self.status { () throws(Problem) in
                try Self.admit(guardian, "Bearer \(Self.secret)", from: IPAddress("2001:db8::1"))
            } == 200
        )
    }
}
