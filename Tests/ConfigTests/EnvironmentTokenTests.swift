// EnvironmentTokenTests.swift — the token that containers give: nothing about it may open the API.

import Mail
import OpenSSL
import Testing

@testable import Config

struct EnvironmentTokenTests {
    private static let word = "0123456789abcdef"
    private static let digest = EnvironmentToken.digest(Digest.sha256(Array(word.utf8)))

    private func token(_ variable: String?, file: [UInt8]?) throws -> EnvironmentToken? {
        var variables: [String: [UInt8]] = [:]
        variables["MARTLET_ADMIN_TOKEN"] = variable.map { Array($0.utf8) }
        if file != nil { variables["MARTLET_ADMIN_TOKEN_FILE"] = Array("/run/token".utf8) }
        return try Environment(variables) { _ throws(ConfigError) in file }.token
    }

    @Test(arguments: ["", " ", "\n", "\r\n", "another-token-0123456789"])
    func aFileBeatsAVariableAndAnEmptyOneIsUnset(_ variable: String) throws {
        #expect(try token(variable, file: Array(Self.word.utf8)) == Self.digest)
    }

    @Test(arguments: [
        "\(word)", "\(word)\n", "\(word)\r\n", "\(word)\n\n", " \(word)\t\r\n", "\u{FEFF}\(word)\r\n",
    ])
    func lineEndsAndBlanksAreOneRule(_ text: String) throws {
        #expect(try token(nil, file: Array(text.utf8)) == Self.digest)
        #expect(try token(text, file: nil) == Self.digest)
    }

    @Test(arguments: ["short", "two words 0123456789", "0123456789abcde\u{E9}", "0123456789\nabcdef0123456789"])
    func whatIsNoTokenLetsNobodyIn(_ text: String) throws {
        #expect(try token(text, file: nil)?.trouble != nil)
        #expect(try token(nil, file: Array(text.utf8))?.trouble != nil)
    }

    @Test(arguments: [[], Array("\r\n".utf8), [0xFF], Array(repeating: 0, count: 20)] as [[UInt8]])
    func aFileWithoutATokenLetsNobodyIn(_ bytes: [UInt8]) throws {
        #expect(try token(nil, file: bytes)?.trouble != nil)
        // Not even with a good one beside it: a file beats a variable.
        #expect(try token(Self.word, file: bytes)?.trouble != nil)
    }

    @Test func nothingIsNoToken() throws {
        #expect(try token(nil, file: nil) == nil)
        #expect(try token(" ", file: nil) == nil)
    }

    // MARK: - While the relay runs

    @Test func aRotatedFileIsNoticedAndTheOldTokenDies() throws {
        let config = MemoryConfig()
        config.write("/run/token", Self.word + "\r\n", now: 0)
        let variables = ["MARTLET_ADMIN_TOKEN_FILE": Array("/run/token".utf8)]
        let environment = try Environment(variables) { path throws(ConfigError) in
            try config.contents(of: path, atMost: 1 << 20)
        }
        let store = try SettingsStore(
            config,
            hostName: "a.test",
            environment: environment,
            now: Timestamp(milliseconds: 9000)
        )
        #expect(store.current.admin.environmentToken == Self.digest)
        config.write("/run/token", "fedcba9876543210", now: 10_000)
        _ = store.reloadIfChanged(now: Timestamp(milliseconds: 11_000))
        let second = store.current.admin.environmentToken
        #expect(second != Self.digest && second?.trouble == nil)
        // Emptied or gone: nobody is let in, and the API is not open either.
        config.write("/run/token", "", now: 20_000)
        _ = store.reloadIfChanged(now: Timestamp(milliseconds: 21_000))
        #expect(store.current.admin.environmentToken?.trouble != nil)
        #expect(store.current.admin.hasTokens)
        config.remove("/run/token")
        _ = store.reloadIfChanged(now: Timestamp(milliseconds: 22_000))
        _ = store.reloadIfChanged(now: Timestamp(milliseconds: 23_000))
        #expect(store.current.admin.environmentToken?.trouble != nil)
    }

    @Test func everyFileOfAVariableIsReadAgain() throws {
        let config = MemoryConfig()
        config.write("/run/networks", "10.0.0.0/8\n", now: 0)
        let variables = ["MARTLET_ALLOW_NETWORKS_FILE": Array("/run/networks".utf8)]
        let environment = try Environment(variables) { path throws(ConfigError) in
            try config.contents(of: path, atMost: 1 << 20)
        }
        let store = try SettingsStore(
            config,
            hostName: "a.test",
            environment: environment,
            now: Timestamp(milliseconds: 9000)
        )
        config.write("/run/networks", "192.0.2.0/24\n", now: 10_000)
        _ = store.reloadIfChanged(now: Timestamp(milliseconds: 11_000))
        #expect(store.current.relayNetworks.first?.description == "192.0.2.0/24")
    }

    @Test func secretsComeFromTheSnapshotOfTheEnvironment() throws {
        let variables = ["SECRET": Array("p w\r\n".utf8), "BAD": [0xFF], "BLANK": Array(" ".utf8)]
        let environment = try Environment(variables) { _ throws(ConfigError) in nil }
        #expect(try environment.secret("SECRET") == "p w")
        #expect(try environment.secret("BLANK") == nil)
        #expect(try environment.secret("SECRET\u{301}") == nil)
        #expect(throws: ValueError.self) { try environment.secret("BAD") }
    }

    // MARK: - What keeps a relay from starting

    @Test(
        arguments: [
            ([:], "listen = 0.0.0.0:8025", 1), ([:], "listen = 127.0.0.1:8025, [::1]:8025", 0),
            (["MARTLET_ADMIN_TOKEN": word], "listen = 0.0.0.0:8025", 0),
            (["MARTLET_ADMIN_TOKEN": ""], "listen = 0.0.0.0:8025", 1),
            (["MARTLET_ADMIN_TOKEN": "short"], "", 1),
            (["MARTLET_ADMIN_TOKEN_FILE": "/nowhere"], "", 1),
            (["MARTLET_ADMIN_LISTEN": "192.0.2.1:8025"], "", 1),
        ] as [([String: String], String, Int)]
    )
    func anOpenAPIIsAnObstacle(variables: [String: String], file: String, count: Int) throws {
        let environment = try Environment(variables.mapValues { Array($0.utf8) }) { _ throws(ConfigError) in nil }
        let config = MemoryConfig(["admin.ini": file])
        let settings = try SettingsReader(config, hostName: "a.test", environment: environment).read().settings
        #expect(settings.obstacles.count == count)
    }
}
