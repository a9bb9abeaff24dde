// RunningRelayTests.swift — what a running relay leaves for the tools, and where these go with it.

import Files
import Mail
import TestSupport
import Testing

@testable import Config

struct RunningRelayTests {
    private func address(_ text: String) throws -> ListenAddress { try #require(ListenAddress(text)) }

    private func relay() throws -> RunningRelay {
        var relay = RunningRelay(name: try #require(Domain("out1.example.net")))
        relay.smtp = [try address("127.0.0.1:2525"), try address("[::1]:2525")]
        relay.smtps = [try address("0.0.0.0:465")]
        relay.api = [try address("127.0.0.1:8025")]
        relay.apiHasTLS = true
        relay.socket = "admin.sock"
        return relay
    }

    @Test func whatIsLeftIsReadBack() throws {
        let relay = try relay()
        #expect(RunningRelay(relay.text) == relay)
        var bare = RunningRelay(name: relay.name)
        #expect(RunningRelay(bare.text) == bare)
        bare.socket = "/run/martlet/admin.sock"
        #expect(RunningRelay(bare.text) == bare)
    }

    @Test(arguments: [
        "", "name = \nsmtp = 127.0.0.1:25", "name = a b", "name = a.test\nsmtp = somewhere", "\u{0}\u{1}",
    ])
    func whatNoRelayLeftIsNothing(_ text: String) { #expect(RunningRelay(text) == nil) }

    @Test func itLiesInTheDataDirectory() throws {
        let disk = MemoryDisk()
        try disk.makeDirectory("/data", permissions: 0o700)
        let relay = try relay()
        try relay.leave(in: "/data", disk)
        #expect(RunningRelay.read(in: "/data", disk) == relay)
        #expect(try disk.status("/data/running", following: false)?.permissions == 0o644)
        RunningRelay.remove(from: "/data", disk)
        #expect(RunningRelay.read(in: "/data", disk) == nil)
    }

    @Test(arguments: [
        ("192.0.2.1:25, 127.0.0.1:26", "", "127.0.0.1:26", false),
        ("0.0.0.0:25", "127.0.0.1:465", "127.0.0.1:25", false),
        ("192.0.2.1:25, [::]:26", "", "[::1]:26", false),
        ("192.0.2.1:25", "", "192.0.2.1:25", false),
        ("", "0.0.0.0:465", "127.0.0.1:465", true),
    ])
    func mailIsHandedInAtTheNearest(smtp: String, smtps: String, wanted: String, isTLS: Bool) throws {
        let relay = try #require(RunningRelay("name = a.test\nsmtp = \(smtp)\nsmtps = \(smtps)\n"))
        let found = try #require(relay.submission)
        #expect("\(found.address)" == wanted)
        #expect(found.isTLS == isTLS)
    }

    @Test func theSocketIsBelowTheDataDirectoryUnlessAbsolute() throws {
        #expect(try relay().socketPath(in: "/data") == "/data/admin.sock")
        #expect(RunningRelay("name = a.test\nsocket = /run/x.sock\n")?.socketPath(in: "/data") == "/run/x.sock")
        #expect(RunningRelay("name = a.test\nsocket = \n")?.socketPath(in: "/data") == nil)
    }

    @Test func theConfigurationSaysWhatIsExpected() throws {
        let variables = [
            "MARTLET_HOSTNAME": "out1.example.net", "MARTLET_LISTEN": "0.0.0.0:2626",
            "MARTLET_ADMIN_SOCKET": "none",
        ]
        let environment = try Environment(variables.mapValues { Array($0.utf8) }) { _ throws(ConfigError) in nil }
        let config = MemoryConfig(["smtp.ini": "listen = 127.0.0.1:2525", "me": "file.example.net"])
        let relay = SettingsReader(config, hostName: "id", environment: environment).expectedRelay()
        #expect(relay.name.name == "out1.example.net")
        #expect(relay.submission.map { "\($0.address)" } == "127.0.0.1:2626")
        #expect(relay.socket == nil)
        // A file that is closed to us leaves the defaults of its keys alone.
        config.forbid("smtp.ini")
        let closed = SettingsReader(config, hostName: "id").expectedRelay()
        #expect(closed.name.name == "file.example.net")
        #expect(closed.submission.map { "\($0.address)" } == "127.0.0.1:2525")
    }
}
