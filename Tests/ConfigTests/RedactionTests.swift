// RedactionTests.swift — a password put into every place where one can stand, and everything shown searched for it.

import Mail
import Testing

@testable import Config

@Suite struct RedactionTests {
    /// Once with a letter in front, once with what a reference begins with.
    private static let canaries = ["k4narie-Vogel", "@k4narie-Vogel", "\u{e9}k4narie-Vogel"]

    /// A file and the line a password stands on.
    private static let places: [(file: String, text: @Sendable (String) -> String)] = [
        ("routes.ini", { "[a.test]\nmx = b.test\nauth_user = u\nauth_pass = \($0)\n" }),
        ("routes.ini", { "[a.test]\nmx = b.test auth_user=u auth_pass=\($0)\n" }),
        ("routes.ini", { "[a.test]\nmx = c.test, b.test auth_user=u auth_pass=\($0) tls=verify\n" }),
        ("routes.ini", { "[a.test]\nmx = smtp://u:\($0.replacingAt)@b.test:587\n" }),
        ("routes.ini", { "[a.test]\nmx = smtps://u:\($0.replacingAt)@b.test priority=4\n" }),
        ("routes.ini", { "[a.test]\nmx = smtp://u:\($0)@@b.test:587\n" }),
        ("routes.ini", { "[a.test]\nmx = u:\($0)@b.test:587\n" }),
        ("routes.ini", { "[a.test]\nmx = b.test\nauth_pas = \($0)\n" }),
        ("routes.ini", { "[a.test]\nmx = b.test auth_user=u auth_pass=x,\($0)\n" }),
        ("routes.ini", { "[a.test]\nmx = b.test auth_user=u auth_pass=x, \($0)!\n" }),
        ("routes.ini", { "[a.test]\nmx = b.test auth_user=u auth_pass=x \($0)\n" }),
        ("routes.ini", { "[a.test]\nmx = b.test pass=\($0)\n" }),
        ("routes.ini", { "[a.test]\nmx = b.test\n; auth_pass = \($0)\n" }),
        ("routes.ini", { "[a.test]\nmx = b.test\n; the password was \($0)\n" }),
        ("routes.ini", { "[a.test]\nmx = b.test\n\($0)\n" }),
        ("routes.ini", { "[a.test]\nmx = b.test\noauth_client_secret = \($0)\n" }),
        ("routes.ini", { "[a.test]\nmx = b.test oauth_refresh_token=\($0)\n" }),
        ("routes.ini", { "[a.test]\nmx = b.test\noauth_token_url = https://u:\($0)@c.test/\n" }),
        ("auth_flat_file.ini", { "[users]\nu = \($0)\n" }),
        ("auth_flat_file.ini", { "[users]\nmethods = \($0)\n" }),
        ("auth_flat_file.ini", { "[user]\nu = \($0)\n" }),
        ("auth_flat_file.ini", { "u = \($0)\n" }),
        ("hooks.ini", { "[p]\nurl = http://u:\($0)@h.test/\nhooks = get_mx\n" }),
        ("hooks.ini", { "[p]\nurl = \($0)\nhooks = get_mx\n" }),
        ("hooks.ini", { "[p]\nurll = http://u:\($0)@h.test/\n" }),
        ("admin.ini", { "[token t]\nhash = \($0)\n" }),
        ("admin.ini", { "[token t]\ntoken = \($0)\n" }),
        ("outbound.ini", { "auth_pass = \($0)\n" }),
        ("outbound_ip.ini", { "[*]\npassword = \($0)\n" }),
    ]

    @Test(arguments: places.indices) func nothingShowsAPassword(index: Int) throws {
        let place = Self.places[index]
        for canary in Self.canaries {
            let text = place.text(canary)
            var outputs = [
                LineDiff.of("", text, file: place.file), LineDiff.of(text, "", file: place.file),
                LineDiff.of(text, text + "x = y\n", file: place.file),
            ]
            let reader = SettingsReader(MemoryConfig([place.file: text]), hostName: "a.test")
            outputs.append("\(try reader.origins())")
            do throws(ConfigErrors) { outputs.append("\(try reader.read())") } catch { outputs.append("\(error)") }
            for output in outputs {
                #expect(!output.contains(octets: "4narie") && !output.contains(octets: "Vogel"), "\(text)\n\(output)")
            }
        }
    }

    @Test func whatIsNoSecretIsShown() {
        let text =
            "[a]\nmx = b.test:25 auth_user=u auth_pass=geheim\nauth_type = plain\n[c]\nmx = d\nauth_user = u\n"
            + "auth_pass = @file:secrets/p\n"
        let diff = LineDiff.of("", text, file: "routes.ini")
        for shown in [
            "[a]", "mx = b.test:25 auth_user=u auth_pass=(secret)", "auth_pass = @file:secrets/p", "auth_type = plain",
        ] {
            #expect(diff.contains(octets: "+\(shown)\n"), "\(diff)")
        }
    }

    @Test func neighboursAreNotShown() {
        let old = "[a]\nmx = smtp://u:geheim@b.test\n[c]\nmx = d.test\n[e]\nmx = f.test\n"
        let diff = LineDiff.of(
            old,
            old.split(octet: "\n").map { $0 == "mx = d.test" ? "mx = g.test" : $0 }.joined(separator: "\n") + "\n",
            file: "routes.ini"
        )
        #expect(diff == "--- routes.ini\n+++ routes.ini\n@@ -4,1 +4,1 @@\n-mx = d.test\n+mx = g.test\n")
    }

    @Test(arguments: [
        ("[a]\nmx = b auth_user=u auth_pass=x\n", true), ("[a]\nmx = b\nauth_user = u\nauth_pass = x\n", true),
        ("[a]\nmx = smtp://u:x@b\n", true), ("[a]\nmx = lmtp://u:x@b\n", true), ("[a]\nmx = smtp://b\n", false),
        ("[a]\nmx = b auth_user=u auth_pass=@file:p\n", false),
    ])
    func aFileWithAPasswordIsASecretFile(text: String, isSecret: Bool) throws {
        var surroundings = Surroundings(MemoryConfig(["p": "x"]))
        _ = try Routes.read(INIDocument(parsing: text), in: &surroundings)
        #expect(surroundings.hasSecrets == isSecret)
    }
}

extension String {
    /// As it stands in a URL.
    fileprivate var replacingAt: String {
        utf8.map { $0 == 0x40 ? "%40" : String(decoding: [$0], as: UTF8.self) }.joined()
    }
}
