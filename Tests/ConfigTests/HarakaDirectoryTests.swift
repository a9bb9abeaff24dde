// HarakaDirectoryTests.swift — what stands in a directory that was Haraka's: named with its remedy, or refused where it
// protected somebody; and what a whole configuration comes to, in sentences.

import Mail
import Testing

@testable import Config

struct HarakaDirectoryTests {
    /// Warnings as text, without the one about TLS that a test is not about.
    private func warnings(_ files: [String: String]) throws -> [String] {
        try read(["outbound.ini": "enable_tls = true"].merging(files) { $1 }).warnings.map(\.description)
    }

    @Test(arguments: [
        (
            "smtp.ini", "port = 587",
            "smtp.ini:1: unknown key port, which is Haraka's: write listen = 0.0.0.0:587, [::]:587"
        ),
        ("smtp.ini", "smtps_port = 465", "smtps_listen = 0.0.0.0:465"),
        ("smtp.ini", "\nnodes = cpus", "smtp.ini:2: unknown key nodes, which is Haraka's: one process"),
        ("smtp.ini", "inactivity_timeout = 120", "write command = 120 below [timeouts]"),
        (
            "smtp.ini", "[headers]\nmax_received = 40",
            "unknown key [headers] max_received, which is Haraka's: write received"
        ),
        ("smtp.ini", "[headers]\nshow_version = 1", "one Received line"),
        (
            "tls.ini", "[outbound]\nkey = outbound.pem",
            "unknown key [outbound] key, which is Haraka's: no certificate is"
        ),
        (
            "tls.ini", "[outbound]\nno_tls_hosts[] = old.example",
            "tls = off into a section of routes.ini that names old"
        ),
        ("tls.ini", "[no_tls_hosts]\n127.0.0.1\n10.0.0.0/8\n", "tls.ini:2: [no_tls_hosts] lists clients"),
        ("tls.ini", "[no_tls_hosts]\n127.0.0.1 = true\n", "[no_tls_hosts] lists clients"),
        ("tls.ini", "[redis]\ndisable_for_failed_hosts=true", "ten minutes"),
        ("tls.ini", "rejectUnauthorized = false", "clients without a certificate are served"),
        ("dkim.ini", "[sign]\nenabled = false", "unknown key [sign] enabled"),
        ("dkim.ini", "[verify]\nallowed_time_skew = 60", "verifies no signatures"),
        (
            "databytes", "500000\n",
            "databytes: is not read; write message_bytes = 500000 below [limits] in smtp.ini, or 26214400"
        ),
        ("databytes", "0\n", "message_bytes below [limits]"),
        ("smtp_bridge.ini", "host=a\n", "smtp_bridge.ini: is not read; clients' logins are not passed on"),
        (
            "smtp_forward.ini", "host=hub.example\nport=2525\n",
            "all mail went to hub.example: write [*] with mx = hub.example:2525"
        ),
        ("smtp_forward.ini", "; nothing\n", "smtp_forward.ini: is not read"),
        ("auth_ldap.ini", "", "users are in auth_flat_file.ini"),
        ("access.ini", "", "who may relay is in relay_acl_allow"),
    ])
    func isNamedWithWhatToWrite(file: String, text: String, words: String) throws {
        let found = try warnings([file: text])
        #expect(found.count == 1 && found.allSatisfy { $0.contains(words) }, "\(found)")
    }

    @Test(arguments: [
        (
            "tls.ini", "[outbound]\nforce_tls_hosts[]=bank.example",
            "tls.ini:2: force_tls_hosts[]: mail to bank.example had to"
        ),
        ("tls.ini", "[outbound]\nforce_tls_hosts=bank.example", "write tls = require"),
        ("tls.ini", "[outbound]\nrejectUnauthorized=true", "write tls = verify"),
        ("tls.ini", "rejectUnauthorized=true", "tls.ini:1: rejectUnauthorized: clients had to show a certificate"),
        ("tls.ini", "requireAuthorized[]=587", "clients of port 587"),
        ("dkim.ini", "[sign]\nenabled = true\nselector = mail\n", "dkim.ini:2: enabled: mail was signed"),
        ("routes.ini", "[*]\nmx = [smtp.example]:587", "; a name stands without brackets: smtp.example:587"),
        ("routes.ini", "[*]\nmx = [smtp.example]", "; a name stands without brackets: smtp.example"),
    ])
    func whatProtectedStopsTheStart(file: String, text: String, words: String) {
        let found = errors([file: text])
        #expect(found.count == 1 && found.allSatisfy { $0.contains(words) }, "\(found)")
    }

    @Test func aSecretsLineShowsNoPieceOfIt() {
        let found = errors(["routes.ini": "[*]\nmx = h.example auth_user=u auth_pass=geheim, [zzz@x]:587"])
        #expect(found.count == 1 && !found.joined().contains("zzz"), "\(found)")
    }

    @Test func noKeyIsProposedForItself() throws {
        for text in ["[outboundx]\nkey = a", "[outboundx]\ncert = a", "[keys]\nkey = a"] {
            let found = try warnings(["tls.ini": text])
            #expect(found.count == 1 && !found.joined().contains("did you mean"), "\(found)")
        }
        #expect(
            try warnings(["tls.ini": "[mail.example]\nkeys = a"]).first?.contains("did you mean [mail.example] key?")
                == true
        )
    }

    // MARK: - Who may relay

    @Test func loopbackMayRelayUntilAFileSaysOtherwise() throws {
        #expect(try read([:]).settings.relayNetworks.map(\.description) == ["127.0.0.0/8", "::1/128"])
        #expect(try read(["relay_acl_allow": "# nobody\n"]).settings.relayNetworks.isEmpty)
    }

    // MARK: - Reports

    @Test func unknownBracesAreNamed() throws {
        let text =
            "Subject: x {subject}\n\n{recipients} {extended_reason}\n{recipient} {} { a } {x-y}\n{recipient} {9}\n"
        #expect(
            try warnings(["outbound.bounce_message": text]).map { String($0.prefix(95)) } == [
                "outbound.bounce_message:4: {recipient} is no field and stays as it is; did you mean {recipients",
                "outbound.bounce_message:5: {9} is no field and stays as it is; there are {pid} {date} {me} {fro",
            ]
        )
    }

    // MARK: - TLS that nobody spoke of

    @Test(arguments: [
        ("", "", true), ("enable_tls = false", "", false), ("enable_tls = true", "", false),
        ("disabled = true", "[*]\nmx = a.example\n", true), ("", "[*]\nmx = a.example\ntls = require\n", false),
        ("", "[*]\nmx = a.example:465\n", false), ("", "[*]\nmx = a.example tls=may, b.example\n", true),
        ("", "[a.example]\nmx = b.example\ntls = require\n", true),
    ])
    func silenceAboutTLSIsNamed(outbound: String, routes: String, isNamed: Bool) throws {
        let found = try read(["outbound.ini": outbound, "routes.ini": routes]).warnings.map(\.description)
        #expect(found.contains { $0.contains("has no enable_tls") } == isNamed, "\(found)")
    }

    @Test func aVariableSpeaksOfTLSToo() throws {
        let environment = try Environment(["MARTLET_OUTBOUND_ENABLE_TLS": Array("false".utf8)]) {
            _ throws(ConfigError) in nil
        }
        let reader = SettingsReader(MemoryConfig([:]), hostName: "relay.example.org", environment: environment)
        #expect(try reader.read().warnings.isEmpty)
    }

    // MARK: - Sentences

    @Test(
        arguments: [
            (
                [:],
                [
                    "Who may relay: clients at 127.0.0.0/8, ::1/128.",
                    "How mail leaves: to the hosts that the DNS names for each recipient's domain.",
                    "What TLS does: mail leaves in the clear, for outbound.ini has no enable_tls = true; clients are offered none, "
                        + "for there is no certificate (martlet tls self-signed).",
                ]
            ),
            (
                [
                    "relay_acl_allow": "0.0.0.0/0\n",
                    "outbound.ini": "enable_tls = true\ndisabled = true\ndisabled_reason = a pause",
                    "routes.ini":
                        "[*]\nmx = smtp.example:587\nauth_user = u\nauth_pass = geheim\ntls = verify\n[a.example]\nmx = b.example\n",
                    "smtp.ini": "allowed_sender_domains = example.org",
                ],
                [
                    "Who may relay: EVERYBODY, as relay_acl_allow says; with senders at example.org only.",
                    "How mail leaves: everything to smtp.example:587, with a login, but for what 1 other section of routes.ini says; "
                        + "not now, as delivery is disabled (a pause).",
                    "What TLS does: mail leaves encrypted, to a server whose certificate can be verified, or not at all; clients are "
                        + "offered none, for there is no certificate (martlet tls self-signed).",
                ]
            ),
            (
                ["relay_acl_allow": "", "outbound.ini": "enable_tls = true"],
                [
                    "Who may relay: nobody; relay_acl_allow is empty and there are no users.",
                    "How mail leaves: to the hosts that the DNS names for each recipient's domain.",
                    "What TLS does: mail leaves encrypted where a server offers it, and as DANE and MTA-STS demand; clients are "
                        + "offered none, for there is no certificate (martlet tls self-signed).",
                ]
            ),
        ] as [([String: String], [String])]
    )
    func aConfigurationIsThreeSentences(files: [String: String], sentences: [String]) throws {
        #expect(try read(files).settings.sentences == sentences)
    }
}
