// ImportTests.swift — Postfix, Haraka and containers into a configuration of ours: shapes of public setups, with other names.

import Config
import Mail
import Testing

@testable import Operator

struct ImportTests {
    private func source(_ files: [String: String]) -> ImportSource {
        ImportSource { files[$0].map { Array($0.utf8) } }
    }

    private func postfix(_ main: String, _ files: [String: String] = [:]) -> ImportDraft {
        PostfixImport.draft(main, beside: source(files), isLocal: { $0.isLoopback })
    }

    private func text(_ draft: ImportDraft, _ file: String) -> String {
        String(decoding: draft.files.first { $0.name == file }?.bytes ?? [], as: UTF8.self)
    }

    /// Without comments.
    private func plain(_ draft: ImportDraft, _ file: String) -> [String] {
        text(draft, file).split(separator: "\n").map(String.init).filter { !$0.hasPrefix(";") }
    }

    /// What a relay would make of it.
    private func settings(_ draft: ImportDraft) throws -> Settings {
        try SettingsReader(ImportedFiles(draft.files), hostName: "relay.example.org").read().settings
    }

    // MARK: - Postfix

    @Test func aSmartHostWithALogin() throws {
        let draft = postfix(
            """
            # A null client.
            compatibility_level = 2
            myhostname = out.example.org
            mydestination =
            inet_interfaces = loopback-only
            mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128,
              10.0.0.0/8
            relayhost = [smtp.provider.example]:submission
            smtp_sasl_auth_enable = yes
            smtp_sasl_password_maps = hash:/etc/postfix/sasl_passwd
            smtp_sasl_security_options = noanonymous
            smtp_tls_security_level = encrypt
            message_size_limit = 20480000
            smtp_tls_session_cache_database = btree:${data_directory}/smtp_scache
            """,
            ["sasl_passwd": "# pw\n[smtp.provider.example]:submission  apikey:geheim:wort\n"]
        )
        #expect(
            plain(draft, "routes.ini") == [
                "[*]", "mx = smtp.provider.example:587", "auth_user = apikey", "auth_pass = @file:secrets/smarthost",
                "tls = require",
            ]
        )
        #expect(plain(draft, "me") == ["out.example.org"])
        #expect(plain(draft, "relay_acl_allow") == ["127.0.0.0/8", "::1/128", "10.0.0.0/8"])
        #expect(
            plain(draft, "smtp.ini") == ["listen = 127.0.0.1:25, [::1]:25", "[limits]", "message_bytes = 20480000"]
        )
        let secret = try #require(draft.files.first { $0.name == "secrets/smarthost" })
        #expect(secret.isSecret && secret.bytes == Array("geheim:wort\n".utf8))
        for file in draft.files where !file.isSecret {
            #expect(!String(decoding: file.bytes, as: UTF8.self).contains("geheim"))
        }
        #expect(!draft.remarks.contains { $0.text.contains("geheim") })
        // A line for every parameter.
        #expect(draft.remarks.contains { $0.text.hasPrefix("main.cf:14: smtp_tls_session_cache_database: left out") })
        #expect(!draft.remarks.contains { $0.fate == .lost })
        let settings = try settings(draft)
        #expect(settings.routes.route(named: "*")?.hosts.first?.tls == .require)
    }

    @Test func tablesOfTransportsAndSenders() throws {
        let draft = postfix(
            """
            relayhost = hub.example
            transport_maps = lmdb:/etc/postfix/transport, regexp:/etc/postfix/strange
            sender_dependent_relayhost_maps = hash:/etc/postfix/senders
            smtp_sender_dependent_authentication = yes
            smtp_sasl_auth_enable = yes
            smtp_sasl_password_maps = hash:/etc/postfix/passwords
            smtp_tls_policy_maps = hash:/etc/postfix/policy
            smtp_tls_security_level = may
            """,
            [
                "transport": """
                internal.example   smtp:[10.0.0.5]:2525
                .internal.example  :[10.0.0.6]
                partner.example    smtp:
                box.example        lmtp:unix:/run/lmtp
                list@box.example   lmtp:inet:box.example:24
                gone.example       error:5.1.2 gone; ask elsewhere
                later.example      retry:
                sink.example       discard:load tests
                void.example       discard:
                odd.example        error:4.1.1 odd
                slow.example       slow:[slow.example]
                """,
                "senders": "@brand.example [smtp.brand.example]:587\nann@brand.example DUNNO\n<> [null.example]\n",
                "passwords": "@brand.example brand:pw1\nhub.example hub:pw2\nnobody.example n:pw3\n",
                "policy": "hub.example secure match=hub.example\n[10.0.0.5]:2525 none\nother.example encrypt\n",
            ]
        )
        #expect(
            plain(draft, "routes.ini") == [
                "[internal.example]", "mx = 10.0.0.5:2525", "tls = off", "[*.internal.example]", "mx = 10.0.0.6",
                "tls = may",
                "[partner.example]", "direct = true", "[box.example]", "mx = unix:/run/lmtp",
                "[list@box.example]", "mx = box.example:24 using_lmtp=true", "tls = may", "[gone.example]",
                "reject = 550 5.1.2 gone, ask elsewhere", "[later.example]",
                "reject = 450", "[sink.example]", "discard = load tests", "[void.example]", "discard = true",
                "[odd.example]", "reject = true", "[slow.example]",
                "mx = slow.example",
                "tls = may", "[sender brand.example]", "mx = smtp.brand.example:587", "tls = may", "auth_user = brand",
                "auth_pass = @file:secrets/sender-brand.example", "[sender <>]", "mx = null.example", "tls = may",
                "[*]",
                "mx = hub.example", "auth_user = hub", "auth_pass = @file:secrets/smarthost", "tls = verify",
            ]
        )
        let lost = draft.remarks.filter { $0.fate == .lost }.map { "\($0.place) \($0.what)" }
        #expect(lost == ["policy:3 other.example"])
        // What protected keeps mail here until somebody has decided.
        #expect(plain(draft, "outbound.ini").contains("disabled = true"))
        let found = draft.remarks.map(\.text)
        #expect(
            found.contains {
                $0.hasPrefix("transport_maps") || $0.contains("transport_maps: left out: tables of the kind regexp")
            }
        )
        #expect(found.contains { $0.contains("relayhost: guessed: ") && $0.contains("Postfix asks for the MX") })
        #expect(found.contains { $0.hasPrefix("senders:2: ann@brand.example: left out: DUNNO") })
        #expect(found.contains { $0.hasPrefix("passwords:3: nobody.example: left out: no route leads") })
        #expect(try settings(draft).outbound.isDisabled)
    }

    @Test(arguments: [
        ("relayhost = [a.example]", "mx = a.example"), ("relayhost = [a.example]:587", "mx = a.example:587"),
        ("relayhost = a.example:26", "mx = a.example:26"), ("relayhost = a.example", "mx = a.example"),
        ("relayhost = [192.0.2.1]", "mx = 192.0.2.1"), ("relayhost = [2001:db8::1]:25", "mx = [2001:db8::1]:25"),
        ("relayhost = [IPv6:2001:db8::1]:25", "mx = [2001:db8::1]:25"),
        ("mydomain = d.example\nrelayhost = $mydomain", "mx = d.example"),
        ("myhostname = h.d.example\nrelayhost = [smtp.${mydomain}]", "mx = smtp.d.example"),
        ("relayhost =\n  [a.example]", "mx = a.example"), ("relayhost = x\nrelayhost = [a.example]", "mx = a.example"),
        ("transport_maps = static:smtp:[a.example]", "mx = a.example"),
        ("default_transport = smtp:[a.example]:2525", "mx = a.example:2525"),
    ])
    func aRelayhostInItsForms(main: String, line: String) throws {
        let draft = postfix(main)
        #expect(plain(draft, "routes.ini").prefix(2) == ["[*]", line], "\(draft.remarks.map(\.text))")
        _ = try settings(draft)
    }

    @Test(arguments: [
        ("smtp_tls_security_level = may", "enable_tls = true", false),
        ("smtp_use_tls = yes", "enable_tls = true", false),
        ("smtp_tls_security_level =", "enable_tls = false", false),
        ("", "enable_tls = false", false),
        ("smtp_tls_security_level = dane", "enable_tls = true", false),
        ("smtp_tls_security_level = encrypt", "enable_tls = true", true),
        ("smtp_enforce_tls = yes", "enable_tls = true", true),
        ("smtp_tls_security_level = verify\nrelayhost = [a.example]", "enable_tls = true", false),
        ("smtp_tls_security_level = fingerprint\nrelayhost = [a.example]", "enable_tls = true", true),
        ("smtpd_tls_security_level = encrypt", "enable_tls = false", true),
        ("smtp_sasl_security_options = noplaintext, noanonymous", "enable_tls = false", true),
        ("smtp_sasl_password_maps = mysql:/etc/postfix/x.cf\nsmtp_sasl_auth_enable = yes", "enable_tls = false", true),
    ])
    func wordsAboutTLSAreKeptOrStopDelivery(main: String, line: String, isLost: Bool) throws {
        let draft = postfix(main)
        #expect(plain(draft, "outbound.ini").contains(line), "\(draft.remarks.map(\.text))")
        #expect(plain(draft, "outbound.ini").contains("disabled = true") == isLost, "\(draft.remarks.map(\.text))")
        #expect(try settings(draft).outbound.isDisabled == isLost)
    }

    @Test func servicesNumbersAndAddresses() throws {
        let draft = postfix(
            """
            inet_interfaces = 127.0.0.1, 192.0.2.9
            inet_protocols = ipv4
            smtp_bind_address = 127.0.0.2
            smtp_helo_name = out.example.org
            maximal_queue_lifetime = 2d
            delay_warning_time = 4h
            smtp_connect_timeout = 20s
            smtp_destination_concurrency_limit = 5
            smtpd_recipient_limit = 500
            virtual_alias_maps = hash:/etc/postfix/virtual
            my_own = x
            strange line
            """,
            [
                "master.cf": """
                smtp       inet  n       -       y       -       -       smtpd
                2525       inet  n       -       y       -       -       smtpd
                  -o smtpd_sasl_auth_enable=yes
                pickup     unix  n       -       y       60      1       pickup
                127.0.0.1:smtps inet n - y - - smtpd
                """
            ]
        )
        #expect(
            plain(draft, "smtp.ini").first == "listen = 127.0.0.1:25, 192.0.2.9:25, 127.0.0.1:2525, 192.0.2.9:2525"
        )
        #expect(plain(draft, "outbound_ip.ini") == ["[*]", "ip = 127.0.0.2", "helo = out.example.org"])
        for line in [
            "inet_prefer = v4", "delay_warning = 14400", "connect_timeout = 20", "concurrency_per_lane = 5",
            "queue_lifetime = 172800",
        ] {
            #expect(plain(draft, "outbound.ini").contains(line))
        }
        let found = draft.remarks.map(\.text)
        for beginning in [
            "main.cf:10: virtual_alias_maps: left out", "main.cf:11: my_own: left out", "main.cf:12: a line: left out",
            "master.cf:5: 465: left out",
        ] {
            #expect(found.contains { $0.hasPrefix(beginning) }, "\(found)")
        }
        _ = try settings(draft)
    }

    @Test func variablesAreBounded() {
        let parameters = PostfixParameters(
            "a = $b$b$b$b\nb = $a$a$a$a\nc = ${a?yes}${nobody?no}${nobody:yes}$$1 $(c)\n"
        )
        #expect((parameters["a"] ?? "").utf8.count <= 64 << 10)
        #expect(parameters["c"]?.contains("yesyes$1") == true)
    }

    @Test func aHostileFileWritesNothingElse() throws {
        let draft = postfix(
            "relayhost = [a.example]\nmyhostname = x]\u{1}\u{7F}\nsmtp_helo_name = a ; b\n\u{0}]\n= x\n[*]\n"
        )
        for remark in draft.remarks { #expect(!remark.text.utf8.contains { $0 < 0x20 }) }
        #expect(plain(draft, "routes.ini").prefix(2) == ["[*]", "mx = a.example"])
    }

    // MARK: - Haraka

    @Test func aHarakaDirectory() throws {
        let draft = HarakaImport.draft(
            source([
                "me": "relay.example.org\n", "databytes": "500000\n", "outbound.concurrency_max": "40\n",
                "smtp.ini": "port=2525\nnodes=cpus\ninactivity_timeout=120\n[headers]\nmax_received=50\n",
                "outbound.ini": "maxTempFailures=5\nfoo=bar\n", "relay_acl_allow": "10.0.0.0/8\n",
                "smtp_forward.ini":
                    "host=hub.example\nport=587\nenable_tls=true\nauth_type=plain\nauth_user=u\nauth_pass=geheim\n[b.example]\nhost=10.0.0.9\n",
                "rcpt_to.routes.ini":
                    "[routes]\nc.example=lmtp://10.0.0.7:24\nd@d.example=smtp://x:geheim2@d.example:26\n",
                "relay_dest_domains.ini":
                    "[domains]\ne.example={\"action\":\"continue\",\"nexthop\":\"10.0.0.8:25\"}\nf.example={\"action\":\"accept\"}\n",
                "auth_flat_file.ini": "[core]\nmethods=PLAIN\n[users]\nann=geheim3\n",
                "dkim_sign.ini": "disabled=false\nselector=mail\ndomain=example.org\n",
                "dkim/example.org/private": "KEY",
                "tls_key.pem": "K", "tls_cert.pem": "C", "plugins": "tls\nown/plugin\n", "loglevel": "INFO\n",
                "outbound.bounce_message": "x {recipients}\n",
            ])
        )
        #expect(
            plain(draft, "routes.ini") == [
                "[*]", "mx = hub.example:587", "tls = may", "auth_user = u", "auth_pass = @file:secrets/smarthost",
                "auth_type = plain", "[b.example]", "mx = 10.0.0.9:25", "[c.example]",
                "mx = 10.0.0.7:24 using_lmtp=true",
                "[d@d.example]", "mx = d.example:26", "auth_user = x", "auth_pass = @file:secrets/d-d.example",
                "[e.example]",
                "mx = 10.0.0.8:25",
            ]
        )
        #expect(
            plain(draft, "smtp.ini") == [
                "listen = 0.0.0.0:2525, [::]:2525", "[timeouts]", "command = 120", "[limits]", "received_headers = 50",
                "message_bytes = 500000",
            ]
        )
        #expect(plain(draft, "outbound.ini") == ["maxTempFailures = 5", "concurrency_max = 40", "enable_tls = true"])
        #expect(plain(draft, "dkim.ini") == ["[example.org]", "selectors = mail"])
        let secrets = Set(draft.files.filter(\.isSecret).map(\.name))
        #expect(
            secrets == [
                "auth_flat_file.ini", "tls_key.pem", "secrets/smarthost", "secrets/d-d.example",
                "dkim/example.org/mail.pem",
            ]
        )
        for file in draft.files where !file.isSecret {
            #expect(!String(decoding: file.bytes, as: UTF8.self).contains("geheim"))
        }
        let found = draft.remarks.map(\.text)
        #expect(found.contains { $0.hasPrefix("plugins:2: own/plugin: left out") })
        #expect(found.contains { $0.hasPrefix("smtp.ini:2: nodes: left out: one process") })
        #expect(found.contains { $0.hasPrefix("outbound.ini:2: foo: left out") })
    }

    @Test func whatProtectedInHarakaKeepsMailHere() throws {
        let draft = HarakaImport.draft(
            source([
                "tls.ini": "[outbound]\nforce_tls_hosts[]=bank.example\n[no_tls_hosts]\n127.0.0.1\n",
                "dkim.ini": "[sign]\nenabled=true\n",
            ])
        )
        #expect(draft.remarks.count { $0.fate == .lost } == 2, "\(draft.remarks.map(\.text))")
        #expect(try settings(draft).outbound.isDisabled)
    }

    @Test func anEmptyDirectoryIsSaidWhatHarakaDoes() throws {
        let draft = HarakaImport.draft(source([:]))
        #expect(plain(draft, "smtp.ini") == ["listen = 0.0.0.0:25, [::]:25"])
        #expect(plain(draft, "outbound.ini") == ["enable_tls = true"])
        _ = try settings(draft)
    }

    // MARK: - Containers

    @Test func aContainersVariables() throws {
        let variables = [
            "SMTP_SERVER": "smtp.example", "SMTP_USERNAME": "u", "SMTP_PASSWORD": "geheim",
            "SERVER_HOSTNAME": "out.example.org",
            "SMTP_NETWORKS": "10.0.0.0/8", "OVERWRITE_FROM": "a@example.org",
        ]
        let environment = try Environment(variables.mapValues { Array($0.utf8) }) { _ throws(ConfigError) in nil }
        let draft = EnvironmentImport.draft(environment) { variables[$0] }
        #expect(
            plain(draft, "routes.ini") == [
                "[*]", "mx = smtp.example:587", "auth_user = u", "auth_pass = @file:secrets/smarthost",
            ]
        )
        #expect(plain(draft, "me") == ["out.example.org"])
        #expect(plain(draft, "relay_acl_allow") == ["10.0.0.0/8", "127.0.0.0/8", "::1"])
        for file in draft.files where !file.isSecret {
            #expect(!String(decoding: file.bytes, as: UTF8.self).contains("geheim"))
        }
        #expect(draft.remarks.contains { $0.what == "OVERWRITE_FROM" && $0.fate == .leftOut })
        _ = try settings(draft)
    }
}
