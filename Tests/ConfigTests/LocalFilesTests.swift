// LocalFilesTests.swift — `aliases`, `lenient` and `local_sender`: what is read, and what is refused with its line.

import Mail
import Testing

@testable import Config

struct LocalFilesTests {
    private static func read(_ files: [String: String]) throws -> SettingsReader.Result {
        try SettingsReader(MemoryConfig(files), hostName: "relay.example").read()
    }

    private static func targets(_ name: String, _ text: String) throws -> [String]? {
        let settings = try read(["aliases": text]).settings
        let address = try #require(EmailAddress("\(name)@localhost"))
        return settings.local.target(address)?.map(\.description)
    }

    @Test func readsAliasesAsSendmailHasThem() throws {
        let text = """
            # who reads what
            root: ann@x.example,
              bob@x.example   
            postmaster:root\r
            MAILER-DAEMON : postmaster,
            \twebmaster
            www-data: \\www-data, "a b"@x.example

            """
        #expect(try Self.targets("root", text) == ["ann@x.example", "bob@x.example"])
        #expect(try Self.targets("postmaster", text) == ["ann@x.example", "bob@x.example"])
        #expect(try Self.targets("www-data", text) == ["www-data@relay.example", "\"a b\"@x.example"])
        #expect(try Self.targets("joe", text) == nil)
        #expect(try Self.targets("root", "") == nil)
    }

    @Test func knowsTheMachineByItsOwnNameToo() throws {
        let files = [
            "me": "out.example\n", "aliases": "root: ann@x.example\n", "smtp.ini": "local_sender=no@x.example\n",
        ]
        let local = try SettingsReader(MemoryConfig(files), hostName: "3f2a1b").read().settings.local
        for name in ["root@out.example", "root@3F2A1B", "root@localhost"] {
            let address = try #require(EmailAddress(name))
            #expect(local.target(address)?.map(\.description) == ["ann@x.example"])
            #expect(local.sender(of: .address(address)).description == "no@x.example")
        }
        #expect(try local.target(#require(EmailAddress("root@relay.example"))) == nil)
    }

    @Test(arguments: [
        "root: |/usr/bin/procmail", "root: \"|/usr/bin/vacation ann\"", "root: /var/mail/root",
        "root: :include:/etc/list", "root", "root:", "ro ot: ann@x.example", "root: ann@x..example",
        "root: ann@x.example bob", "a@b: c@x.example",
    ])
    func refusesWhatARelayCannotDo(line: String) {
        let error = #expect(throws: ConfigErrors.self) { try Self.read(["aliases": "# one\n\(line)\n"]) }
        #expect(error?.errors.map(\.line) == [2])
        #expect(error?.errors.map(\.file) == ["aliases"])
    }

    @Test func passesOverThoseOfHaraka() throws {
        let result = try Self.read(["aliases": "{ \"test\": { \"action\": \"drop\" } }\n"])
        #expect(result.settings.aliases.isEmpty)
        #expect(result.warnings.contains { $0.file == "aliases" })
    }

    @Test(arguments: [
        ("lenient=true", true, true, true), ("lenient=", false, false, false), ("lenient=none", false, false, false),
        ("lenient=127.0.0.0/8", true, true, false), ("lenient=[::ffff:127.0.0.0]/104", true, true, false),
        ("lenient=127.0.0.1:25", true, false, false), ("lenient=0.0.0.0:25 10.0.0.9", true, false, false),
        ("lenient=[::]:587, 192.168.0.0/16", false, true, true), ("", false, false, false),
    ])
    func isLenientWithWhomItIsSaid(line: String, first: Bool, second: Bool, third: Bool) throws {
        let text = "listen=127.0.0.1:25, [::]:587\n\(line)\n"
        let listener = try Self.read(["smtp.ini": text]).settings.listener
        let loopback = IPAddress("127.0.0.1")
        func isLenient(_ client: IPAddress?, _ place: String) -> Bool {
            listener.lenient.includes(client, at: ListenAddress(place), among: listener.everywhere)
        }
        #expect(isLenient(loopback, "127.0.0.1:25") == first)
        #expect(isLenient(loopback, "127.0.0.1:587") == second)
        #expect(isLenient(IPAddress("192.168.1.1"), "[2001:db8::1]:587") == third)
        #expect(!isLenient(IPAddress("10.1.1.1"), "10.1.1.2:465") || line == "lenient=true")
    }

    @Test(arguments: [
        ("127.0.0.1:25", 0), ("127.0.0.1:26", 1), ("true", 1), ("0.0.0.0/0", 1), ("10.0.0.0/8", 0), ("none", 0),
    ])
    func warnsOfWhatNobodyMeans(value: String, count: Int) throws {
        let warnings = try Self.read(["smtp.ini": "listen=127.0.0.1:25\nlenient=\(value)\n"]).warnings
        #expect(warnings.count { $0.file == "smtp.ini" } == count)
    }

    @Test func refusesWordsThatMeanNobody() {
        for value in ["localhost", "10.0.0.0/33", "10.0.0.1:99999", "private"] {
            #expect(throws: ConfigErrors.self) { try Self.read(["smtp.ini": "lenient=\(value)\n"]) }
        }
        for value in ["ann", "ann@", "j\u{F6}@x.example"] {
            #expect(throws: ConfigErrors.self) { try Self.read(["smtp.ini": "local_sender=\(value)\n"]) }
        }
    }

    /// What everybody pastes from Postfix, in every list that takes networks.
    @Test(arguments: ["[::ffff:10.0.0.0]/104", "::ffff:10.0.0.0/104", "[::ffff:10.0.0.0]/104 "])
    func everyListUnderstandsMappedNetworks(mapped: String) throws {
        func settings(_ network: String) throws -> Settings {
            let files = [
                "relay_acl_allow": "\(network)\n127.0.0.1\n",
                "smtp.ini": "lenient = \(network), 192.0.2.1\n",
                "admin.ini":
                    "metrics_allow = \(network), ::1\n[token a]\nhash=sha256:\(String(repeating: "a", count: 64))\n"
                    + "scopes=all\ncidr=\(network)\n",
                "outbound_ip.ini": "[client \(network)]\nip = 127.0.0.1\n",
            ]
            return try Self.read(files).settings
        }
        let (plain, other) = (try settings("10.0.0.0/8"), try settings(mapped))
        #expect(other.relayNetworks == plain.relayNetworks && plain.relayNetworks.count == 2)
        #expect(other.listener == plain.listener && plain.listener.lenient.networks.count == 2)
        #expect(other.admin == plain.admin && plain.admin != AdminSettings())
        #expect(other.outboundIPs == plain.outboundIPs && plain.outboundIPs != OutboundIPs())
    }
}
