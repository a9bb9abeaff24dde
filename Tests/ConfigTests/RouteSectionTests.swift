// RouteSectionTests.swift — the syntax of a section: what is refused rather than cut, and that what is written reads back.

import Mail
import TestSupport
import Testing

@testable import Config

@Suite struct RouteSectionTests {
    private static func error(_ text: String) -> String? {
        do throws(ConfigErrors) {
            _ = try Routes.read(INIDocument(parsing: text))
            return nil
        } catch { return error.description }
    }

    @Test(arguments: [
        "mx = b.test auth_user=u auth_pass=Tr0ub4dor,Secret9.tail", "mx = b.test auth_user=u auth_pass=Tr0ub4dor,",
        "mx = b.test auth_user=u auth_pass=Tr0ub4dor,9", "mx = b.test auth_user=u auth_pass=x Secret9.tail",
        "mx = b.test auth_user=u auth_pass=x ;tail", "mx = b.test auth_user=u auth_pass=x\t; tail",
        "mx = b.test auth_user=u auth_pass=x \n", "mx = smtp://u:12 ;x@b.test", "mx = smtp://u:1,2@b.test",
        "mx = b.test auth_user=a,b.test", "mx = b.test auth_user=u auth_pass=@file:a,b.test",
        "mx = b.test tls=verify c.test",
        "mx = /run/a b.test", "mx = /run/a,b", "mx = b.test oauth_scope=a,b.test",
        "mx = b.test\nauth_user = u\nauth_pass = x ;tail", "mx = b.test\nauth_user = u\nauth_pass = x\t;tail",
        "mx = b.test\nauth_user = u\nauth_pass =  x", "mx = b.test\nauth_user = u\nauth_pass = x ",
        "mx = b.test\nauth_user = u\nauth_pass = x \r", "mx = b.test\nauth_user = u\nauth_pass = \t x",
        "mx = b.test\nauth_user = u\noauth_refresh_token = x ;tail",
    ])
    func cutsNothingWithoutAWord(lines: String) throws {
        let error = try #require(Self.error("[a.test]\n\(lines)\n"))
        let line = lines.split(octet: "\n").count + 1
        #expect(
            error.starts(withOctets: "routes.ini:\(line): ") || error.starts(withOctets: "routes.ini:2: "),
            "\(error)"
        )
        for word in ["ecret9", "Tr0ub", "tail"] { #expect(!error.contains(octets: word), "\(error)") }
    }

    @Test(arguments: [
        "mx = b.test, c.test", "mx = b.test,c.test", "mx = b.test c.test", "mx = b.test:26 port=27,c.test",
        "mx = b.test auth_user=u auth_pass=x, c.test", "mx = b.test ; said why", "mx = b.test tls=verify ; said why",
        "mx = b.test\nauth_user = u\nauth_pass = a,b c;d", "mx = b.test\nauth_user = u\nauth_pass = @file:x ; said why",
        "mx = b.test\nauth_user = u\nauth_pass = x\r", "mx = b.test\nauth_user = u\nauth_pass=x", "mx = /run/a, b.test",
    ])
    func takesWhatIsClear(lines: String) {
        let config = MemoryConfig(["x": "s"])
        #expect(throws: Never.self) {
            var surroundings = Surroundings(config)
            _ = try Routes.read(INIDocument(parsing: "[a.test]\n\(lines)\n"), in: &surroundings)
        }
    }

    @Test func plainPasswordsOfUsersAreNotCut() {
        for line in ["u = a ;b", "u = a ", "u =  a"] {
            #expect(throws: ConfigErrors.self, "\(line)") {
                var warnings: [ConfigError] = []
                _ = try AuthSettings.read(INIDocument(parsing: "[users]\n\(line)\n"), warnings: &warnings)
            }
        }
    }

    // MARK: - Round trip

    private static let values: [RouteProperty: [String]] = [
        .port: ["26", "587"], .priority: ["1", "7"], .bind: ["127.0.0.1", "::1"], .bindHelo: ["x.test", "y.test"],
        .usingLMTP: ["true", "false"], .authUser: ["u", "u v", "ü"],
        .authPass: ["p", "p,q", "p q", "@file:secrets/p", "p;q"],
        .authType: ["plain", "login"], .onAuthUnavailable: ["defer", "bounce"], .tls: ["may", "verify"],
        .implicitTLS: ["true", "false"], .oauthScope: ["s", "s t"],
    ]

    private static func section(_ random: inout SeededRandom) -> RouteSection {
        var section = RouteSection()
        let places = ["b.test", "b.test:26", "[::1]:27", "192.0.2.1", "c.test"]
        let common = values.keys.sorted { $0.rawValue < $1.rawValue }.filter { _ in
            Int.random(in: 0..<3, using: &random) == 0
        }
        let shared = common.map { ($0, values[$0]?.randomElement(using: &random) ?? "") }
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            guard var host = RouteSection.Host(places.randomElement(using: &random) ?? "b.test") else { continue }
            for (property, value) in shared where Int.random(in: 0..<8, using: &random) > 0 {
                host.words[property] = value
            }
            for property in values.keys.sorted(by: { $0.rawValue < $1.rawValue })
            where Int.random(in: 0..<10, using: &random) == 0 {
                host.words[property] = values[property]?.randomElement(using: &random)
            }
            section.hosts.append(host)
        }
        return section
    }

    @Test func whatIsWrittenReadsBack() throws {
        var random = SeededRandom(seed: 10)
        var written = 0
        var document = INIDocument(
            parsing:
                "; by hand\n[a.test]\n; why\nmx = old.test:25\nauth_pass = @file:o ; there\n\n[z.test]\nmx = z.test\n"
        )
        for _ in 0..<2000 {
            let section = Self.section(&random)
            var next = document
            do throws(RouteSection.Unwritable) {
                try section.write(to: &next, section: "a.test")
            } catch {
                #expect(next == document)
                continue
            }
            written += 1
            let back = try #require(RouteSection.all(in: next)["a.test"]?.section)
            #expect(back.flattened == section.flattened, "\(next.text)")
            var again = next
            try back.write(to: &again, section: "a.test")
            #expect(again == next)
            #expect(
                next.text.starts(withOctets: "; by hand\n") && next.text.ends(withOctets: "[z.test]\nmx = z.test\n")
            )
            document = next
        }
        #expect(written > 500)
    }

    @Test func aLoginInAURLBecomesWords() throws {
        let text = "[a.test]\nmx = smtps://u:p%40ss@b.test\n"
        let section = try #require(RouteSection.all(in: INIDocument(parsing: text))["a.test"]?.section)
        #expect(section.flattened.hosts.first?.words == [.authUser: "u", .authPass: "p@ss", .implicitTLS: "true"])
        #expect(try section.hostsInOrder() == section.flattened.hostsInOrder())
    }

    @Test func aPasswordThatWouldBeAReferenceStaysInItsURL() throws {
        let text = "[a.test]\nmx = smtp://u:%40env:PATH@b.test\n"
        let section = try #require(RouteSection.all(in: INIDocument(parsing: text))["a.test"]?.section)
        #expect(section.flattened == section)
    }

    @Test func leavesOutWhatHoldsAnyway() throws {
        var section = RouteSection()
        section.hosts = [try #require(RouteSection.Host("b.test:465"))]
        section.hosts[0].words = [
            .usingLMTP: "false", .implicitTLS: "true", .onAuthUnavailable: "send_without", .priority: "0", .tls: "may",
        ]
        section.leaveOutDefaults { _, _ in true }
        #expect(section.hosts[0].words == [.tls: "may"])
    }
}
