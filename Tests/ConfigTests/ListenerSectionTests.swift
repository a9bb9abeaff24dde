// ListenerSectionTests.swift — [listener NAME] of smtp.ini: what it says, for which connections, and what is wrong with it.

import Mail
import Testing

@testable import Config

struct ListenerSectionTests {
    private static let text = """
        listen = 127.0.0.1:2525
        [limits]
        message_bytes = 9000
        [listener partners]
        listen = 192.0.2.1:25, [2001:db8::1]:25
        networks = 10.0.0.0/8
        hostname = In.Partners.Example
        message_bytes = 5K
        lenient = true
        allowed_sender_domains = a.example
        [listener any]
        listen = 0.0.0.0:26
        auth_required = true
        """

    private static func read(_ text: String) throws -> (ListenerSettings, [ConfigError]) {
        var warnings: [ConfigError] = []
        return (try ListenerSettings.read(INIDocument(parsing: text), warnings: &warnings), warnings)
    }

    private static func settings() throws -> Settings {
        var settings = Settings(me: Domain(unchecked: "relay.example"))
        settings.listener = try read(text).0
        settings.relayNetworks = ["127.0.0.0/8"].compactMap { IPNetwork($0) }
        settings.relayCertificates = [[1]]
        return settings
    }

    @Test func everyPlaceIsListenedTo() throws {
        let (listener, warnings) = try Self.read(Self.text)
        #expect(warnings.isEmpty)
        #expect(
            listener.everywhere.map(\.description) == [
                "127.0.0.1:2525", "192.0.2.1:25", "[2001:db8::1]:25", "0.0.0.0:26",
            ]
        )
        #expect(listener.listen.count == 1, "the words of [main] stay what they are")
    }

    @Test(arguments: [
        ("127.0.0.1:2525", "", "relay.example", "127.0.0.0/8", 9000, false),
        ("192.0.2.1:25", "partners", "in.partners.example", "10.0.0.0/8", 5120, true),
        ("[2001:db8::1]:25", "partners", "in.partners.example", "10.0.0.0/8", 5120, true),
        ("198.51.100.7:26", "any", "relay.example", "", 9000, false),
        ("[2001:db8::1]:26", "", "relay.example", "127.0.0.0/8", 9000, false),
        ("192.0.2.1:2525", "", "relay.example", "127.0.0.0/8", 9000, false),
    ])
    func countsForItsConnections(
        place: String,
        name: String,
        me: String,
        networks: String,
        bytes: Int,
        isLenient: Bool
    ) throws {
        let (settings, here) = (try Self.settings(), ListenAddress(place))
        let applied = settings.listener.applied(at: here)
        #expect(here.flatMap(settings.listener.name) ?? "" == name)
        #expect(settings.name(at: here).name == me)
        #expect(settings.networks(at: here).map(\.description).joined(separator: ",") == networks)
        #expect(settings.certificates(at: here).isEmpty == (name == "any"), "auth_required means a login")
        #expect(applied.messageBytes == bytes && applied.lenient.isForAll == isLenient)
        #expect(applied.allowedSenderDomains.isEmpty == (name != "partners"))
    }

    /// A section that never counts would go unnoticed: an archive without its mail.
    @Test func whoIsNotThereIsNamed() throws {
        var settings = try Self.settings()
        settings.archive = try ArchiveSettings.read(
            INIDocument(parsing: "[law]\nto = a@x.example\nfor = listener partner, client 10.0.0.0/8, login ann\n")
        )
        settings.rewriting = try Rewriting.read(
            INIDocument(
                parsing:
                    "[senders listener partners]\n* = keep\n[senders listener 192.0.2.1:26]\n* = keep\n[senders listener api]\n* = keep\n"
            )
        )
        #expect(
            settings.strangers.map(\.description) == [
                "rewrite.ini: [senders listener 192.0.2.1:26]: nothing listens there by smtp.ini",
                "archive.ini: [law] for = listener partner: smtp.ini has no [listener partner]",
                "archive.ini: [law] for = login ann: nobody of that name is in auth_flat_file.ini",
            ]
        )
    }

    @Test(arguments: [
        (
            "[listener x]\nauth_requird = true\n",
            "smtp.ini:2: auth_requird: is no key of a listener; did you mean auth_required?"
        ),
        ("[listener X]\nlisten = 127.0.0.1:1\n", "smtp.ini:2: listen: \"X\" is no name of a listener"),
        ("[listener api]\nlisten = 127.0.0.1:1\n", "smtp.ini:2: listen: \"api\" is no name of a listener"),
        (
            "listen = 127.0.0.1:1\n[listener x]\nlisten = 127.0.0.1:1\n",
            "smtp.ini:3: listen: 127.0.0.1:1 is listened to already"
        ),
        ("[listener x]\nlisten = 127.0.0.1\n", "smtp.ini:2: listen: \"127.0.0.1\" is not an address with a port"),
        ("[listener x]\nnetworks = ten\n", "smtp.ini:2: networks: \"ten\" is not a network"),
        ("[listener x]\nhostname = [1.2.3.4]\n", "smtp.ini:2: hostname: \"[1.2.3.4]\" is not a host name"),
    ])
    func saysWhatIsWrong(text: String, reason: String) {
        let error = #expect(throws: ConfigErrors.self) { try Self.read(text) }
        #expect(error?.errors.first?.description.hasPrefix(reason) == true, "\(String(describing: error))")
    }
}
