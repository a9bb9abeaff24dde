// TypedFilesTests.swift — smtp.ini, outbound.ini, resolver.ini, relay_acl_allow, me: values, errors with their lines.

import Mail
import TestSupport
import Testing

@testable import Config

@Suite struct TypedFilesTests {
    @Test func missingFilesMeanDefaults() throws {
        let result = try read([:])
        #expect(result.settings.listener == ListenerSettings())
        #expect(result.settings.outbound == OutboundSettings())
        #expect(result.settings.routes == Routes())
        #expect(result.settings.resolver == ResolverSettings())
        #expect(result.settings.relayNetworks.map(\.description) == ["127.0.0.0/8", "::1/128"])
        #expect(result.settings.bounceTemplate == "")
        #expect(result.settings.me.name == "relay.example.org")
        // TLS for mail that leaves is the one thing that a default does not settle.
        #expect(result.warnings.map(\.file) == ["outbound.ini"])
    }

    @Test func readsListenerSettings() throws {
        let text = """
            listen = 127.0.0.1:25, [::1]:2525 192.0.2.1:0
            memory_for_mail = 128M
            [limits]
            message_bytes = 10k   ; small
            recipients = 7
            [timeouts]
            command = 4s
            data = 2m
            banner_delay = 500
            """
        let listener = try read(["smtp.ini": text]).settings.listener
        #expect(listener.listen.map(\.description) == ["127.0.0.1:25", "[::1]:2525", "192.0.2.1:0"])
        #expect(listener.memoryForMail == 128 << 20)
        #expect(listener.messageBytes == 10_240)
        #expect(listener.recipients == 7)
        #expect(listener.commandTimeout == 4)
        #expect(listener.dataTimeout == 120)
        #expect(listener.bannerDelay == 500)
        #expect(listener.errors == ListenerSettings().errors)
    }

    @Test func readsOutboundSettings() throws {
        let text = """
            disabled = yes
            concurrency_max=3
            maxTempFailures = 2
            temp_fail_intervals = 1m, 5m*2,1h*3
            inet_prefer = v4
            received_header = disabled
            [main]
            always_split = on
            """
        let outbound = try read(["outbound.ini": text]).settings.outbound
        #expect(outbound.isDisabled)
        #expect(outbound.alwaysSplit)
        #expect(outbound.concurrencyMax == 3)
        #expect(outbound.maxTempFailures == 2)
        #expect(outbound.queueLifetime == nil && outbound.failureLimit == 2)
        let age = try read(["outbound.ini": "queue_lifetime = 5d"]).settings.outbound
        #expect(age.queueLifetime == 432_000 && age.failureLimit == nil)
        #expect(outbound.tempFailIntervals == [60, 300, 300, 3600, 3600, 3600])
        #expect(outbound.addressPreference == .v4)
        #expect(outbound.receivedHeader == nil)
    }

    @Test func understandsOlderKeys() throws {
        #expect(try read(["outbound.ini": "ipv6_enabled = 1"]).settings.outbound.addressPreference == .anyButIPv6First)
        #expect(try read(["outbound.ini": "ipv6_enabled = 0"]).settings.outbound.addressPreference == .any)
        let both = "ipv6_enabled = 1\ninet_prefer = v4"
        #expect(try read(["outbound.ini": both]).settings.outbound.addressPreference == .v4)
        #expect(try read(["outbound.ini": "inet_prefer = default"]).settings.outbound.addressPreference == .any)
        #expect(try read(["outbound.ini": "pool_concurrency_max = 9"]).settings.outbound.concurrencyPerLane == 9)
        #expect(try read(["outbound.ini": "pool_concurrency_max = 0"]).settings.outbound.messagesPerSession == 1)
        #expect(try read(["outbound.ini": "enable_tls = false"]).warnings == [])
    }

    @Test(arguments: ["true", "YES", "on", "Ok", "enabled", "1"])
    func readsHarakasWordsForYes(word: String) throws {
        #expect(try read(["outbound.ini": "disabled = \(word)"]).settings.outbound.isDisabled)
    }

    @Test(arguments: ["false", "no", "OFF", "disabled", "0", ""])
    func readsWordsForNo(word: String) throws {
        #expect(try !read(["outbound.ini": "disabled = \(word)"]).settings.outbound.isDisabled)
    }

    @Test(arguments: [
        ("smtp.ini", "\nlisten = 25", "smtp.ini:2: listen: \"25\" is not an address with a port"),
        ("smtp.ini", "listen = ::1:25", "smtp.ini:1: listen"),
        ("smtp.ini", "listen = localhost:25", "smtp.ini:1: listen"),
        ("smtp.ini", "listen = 127.0.0.1:65536", "smtp.ini:1: listen"),
        ("smtp.ini", "listen = 127.0.0.1:1,127.0.0.1:1", "smtp.ini:1: listen: 127.0.0.1:1 is listed twice"),
        (
            "smtp.ini", "smtps_listen = 127.0.0.1:465",
            "smtp.ini: smtps_listen needs a certificate; `martlet tls self-signed` makes a first one"
        ),
        ("smtp.ini", "[limits]\n\n\nerrors = 0", "smtp.ini:4: errors: \"0\" is not a number from 1"),
        ("smtp.ini", "[limits]\nmessage_bytes = 10 MB", "smtp.ini:2: message_bytes: \"10 MB\" is not a size"),
        ("smtp.ini", "[limits]\nmessage_bytes = 99999999999999999G", "smtp.ini:2: message_bytes"),
        ("smtp.ini", "[timeouts]\ncommand = 0", "smtp.ini:2: command: \"0\" is outside of 1"),
        ("smtp.ini", "[timeouts]\ncommand = 5x", "smtp.ini:2: command: \"5x\" is not a duration"),
        ("smtp.ini", "[timeouts]\ncommand = -5", "smtp.ini:2: command"),
        ("smtp.ini", "what is this", "smtp.ini:1: neither a [section]"),
        ("outbound.ini", "disabled = maybe", "outbound.ini:1: disabled: \"maybe\" is neither true nor false"),
        ("outbound.ini", "\n\ntemp_fail_intervals = 1m, 5q", "outbound.ini:3: temp_fail_intervals: \"5q\" is not"),
        ("outbound.ini", "received_header = a) b", "outbound.ini:1: received_header: must be"),
        ("outbound.ini", "received_header =", "outbound.ini:1: received_header: must be"),
        ("resolver.ini", "forward = dns.example", "resolver.ini:1: forward: \"dns.example\" is not ip or ip@port"),
        ("resolver.ini", "forward = 127.0.0.1@0", "resolver.ini:1: forward"),
        ("relay_acl_allow", "# us\n10.0.0.0/8\n10.0.0.0/33\n", "relay_acl_allow:3: \"10.0.0.0/33\" is not an address"),
        ("relay_acl_allow", "example.org", "relay_acl_allow:1"),
        ("relay_acl_allow", "10.0.0.1 10.0.0.2", "relay_acl_allow:1"),
        ("me", "; x\nmail example", "me:2: \"mail example\" is not a host name"),
        ("me", "a\u{1}b", "me:1: \"a?b\" is not a host name"),
    ])
    func saysFileLineAndReason(file: String, text: String, start: String) {
        let found = errors([file: text])
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix(start) == true, "\(found)")
    }

    @Test func tellsAllErrorsAtOnce() {
        let found = errors(["smtp.ini": "listen = x\n[limits]\nerrors = y", "routes.ini": "[a]\nmx = :", "me": "-"])
        #expect(found.map { $0.prefix { $0 != " " } } == ["me:1:", "smtp.ini:1:", "smtp.ini:3:", "routes.ini:2:"])
    }

    @Test func unknownAndRepeatedKeysAreWarningsWithAHint() throws {
        let result = try read([
            "outbound.ini": "concurency_max = 5\nfoo = 1\ndisabled = true\ndisabled = false\nenable_tls = true",
            "smtp.ini": "[limit]\nerrors = 5\nmessage_bytes = 1M",
        ])
        let texts = result.warnings.map(\.description)
        #expect(
            texts == [
                "smtp.ini:2: unknown key [limit] errors; did you mean [limits] errors?",
                "smtp.ini:3: unknown key [limit] message_bytes; did you mean [limits] message_bytes?",
                "outbound.ini:1: unknown key concurency_max; did you mean concurrency_max?",
                "outbound.ini:2: unknown key foo",
                "outbound.ini:4: disabled stood in line 3 already; this one counts",
            ]
        )
        #expect(!result.settings.outbound.isDisabled)
        #expect(result.settings.outbound.concurrencyMax == OutboundSettings().concurrencyMax)
    }

    @Test func readsRelayNetworks() throws {
        let networks = try read(["relay_acl_allow": "# ours\n127.0.0.0/8\n\n::1 ; self\n 192.0.2.7\r\n"]).settings
            .relayNetworks
        #expect(networks.map(\.description) == ["127.0.0.0/8", "::1/128", "192.0.2.7/32"])
    }

    @Test func warnsOfAnOpenRelay() throws {
        let result = try read(["relay_acl_allow": "0.0.0.0/0\n", "outbound.ini": "enable_tls = true"])
        #expect(
            result.warnings.map(\.description) == ["relay_acl_allow:1: 0.0.0.0/0 lets everybody relay: an open relay"]
        )
    }

    @Test func takesTheNameOfMe() throws {
        #expect(try read(["me": "# comment\n\nMail.Example.ORG  # us\n"]).settings.me.name == "mail.example.org")
        #expect(try read(["me": "# only a comment\n"]).settings.me.name == "relay.example.org")
    }

    @Test(arguments: [
        ("host.example.org", "host.example.org"), ("UPPER", "upper"), ("bad_ok", "bad_ok"), ("spa ce.x", "spa-ce.x"),
        ("-edge-.x", "edge.x"), ("", "localhost"), ("...", "localhost"), ("日本", "xn--wgv71a"), ("a..b", "a.b"),
    ])
    func makesTheMachinesNameValid(raw: String, name: String) throws {
        #expect(try read([:], hostName: raw).settings.me.name == name)
    }

    @Test func resolvesPathsOfOtherLibraries() throws {
        let resolver = try read([
            "resolver.ini": "trust_anchor_file = root.key\nforward = 192.0.2.53, ::1@5353\nhosts=1",
            "root.key": ". IN DS 20326 8 2 00",
        ])
        .settings.resolver
        #expect(resolver.trustAnchorFile == "/memory/root.key")
        #expect(resolver.forward == ["192.0.2.53@53", "::1@5353"])
        #expect(resolver.readsHosts)
    }

    @Test func refusesBytesThatAreNoText() {
        let source = MemoryConfig()
        source.write("smtp.ini", [0x3B, 0x0A, 0x3B, 0xFF, 0x0A], now: 0)
        let reader = SettingsReader(source, hostName: "a")
        #expect(throws: ConfigErrors([ConfigError(file: "smtp.ini", line: 2, reason: "is not UTF-8")])) {
            try reader.read()
        }
    }

    @Test func anUnreadableFileIsNoMissingFile() {
        let source = MemoryConfig(["relay_acl_allow": "127.0.0.1"])
        source.forbid("relay_acl_allow")
        #expect(throws: ConfigErrors.self) { try SettingsReader(source, hostName: "a").read() }
    }

    /// Nothing in a file may trap, whatever it is.
    @Test func survivesGarbage() {
        var generator = SeededRandom(seed: 4)
        let pieces = [
            "[", "]", "=", ";", "\n", "\n", " ", "mx", "*", "*.", "@", ":", "::1", "127.0.0.1", "/",
            "99999999999999999999",
            "-1", "m", "G", ",", "listen", "forward", "temp_fail_intervals", "priority=", "port", "\0", "é",
            "a.example",
            "65535", "using_lmtp",
        ]
        for _ in 0..<1000 {
            var texts: [String: String] = [:]
            for file in SettingsReader.files {
                texts[file] = (0..<Int.random(in: 0...30, using: &generator))
                    .map { _ in pieces.randomElement(using: &generator) ?? "" }.joined()
            }
            _ = errors(texts)
        }
    }
}
