// RoutesTests.swift — routes.ini against its table, its errors, and a big one.

import Glibc
import Mail
import TestSupport
import Testing

@testable import Config

@Suite struct RoutesTests {
    private static let text = """
        [example.com]
        mx = mx1.example.net
        mx = mx2.example.net:2525
        [*.Example.com]
        mx = 10.0.0.1
        [*.deep.example.com]
        mx = lmtp.example using_lmtp=true
        [[192.0.2.9]]
        mx = 192.0.2.10
        [list.example]
        mx = a.example b.example:26, [::1]:27
        [weighted.example]
        mx = first.example priority=10
        mx = second.example priority=5
        mx = third.example priority=5
        [shared.example]
        priority = 7
        port = 2500
        mx = one.example
        mx = two.example:26
        [mixed.example]
        mx = low.example priority=3
        mx = next.example
        [items.example]
        mx = a.example, b.example port=99 priority=9
        [lmtp.example]
        using_lmtp = true
        mx = a.example
        mx = b.example using_lmtp=false
        mx = c.example:2003
        [*]
        mx = smart.example:587
        """

    @Test(arguments: try TruthTable.load("routes").rows)
    func followsTheTable(row: TruthTable.Row) throws {
        let routes = try Routes.read(INIDocument(parsing: Self.text))
        let recipient = try #require(EmailAddress(try row.cell("recipient")))
        let route = try #require(routes.route(for: recipient, from: .null))
        #expect(route.match == (try row.cell("section")))
        let hosts = route.hosts.map { "\($0)/\($0.priority)\($0.usingLMTP ? "!lmtp" : "")" }.joined(separator: ",")
        #expect(hosts == (try row.cell("hosts")))
        #expect(routes.route(named: route.match) == route)
    }

    @Test func askTheDNSWithoutASection() throws {
        let routes = try Routes.read(INIDocument(parsing: "[example.com]\nmx = a.example\n"))
        let recipient = try #require(EmailAddress("a@example.org"))
        #expect(routes.route(for: recipient, from: .null) == nil)
    }

    @Test func readsBindAndHelo() throws {
        let text = """
            [a.example]
            bind = 192.0.2.10
            bind_helo = Out.example.org
            mx = one.example
            mx = two.example bind=2001:db8::1 bind_helo=six.example.org
            """
        let routes = try Routes.read(INIDocument(parsing: text))
        let hosts = try #require(routes.route(named: "a.example")).hosts
        #expect(hosts.map { $0.bind?.description } == ["192.0.2.10", "2001:db8::1"])
        #expect(hosts.map { $0.bindHelo?.name } == ["out.example.org", "six.example.org"])
    }

    @Test(arguments: [
        ("mx = a.example", "routes.ini:1: mx stands before any [domain]"),
        ("[a]\n[b]\nmx = c", "routes.ini:1: [a] has no mx"),
        ("[a]\nmx =", "routes.ini:2: mx names no host"),
        ("[a]\nmx = b:0", "routes.ini:2: \"b:0\" is not host"),
        ("[a]\nmx = b:65536", "routes.ini:2: \"b:65536\" is not host"),
        ("[a]\nmx = b_!", "routes.ini:2: \"b_!\" is not host"),
        ("[a]\nmx = b tls=must", "routes.ini:2: tls: \"must\" is none of off, may, require, verify, dane"),
        ("[a]\nmx = b\nauth_user = x", "routes.ini:1: [a] auth_user stands without auth_pass"),
        ("[a]\nmx = b\nauth_pass = x", "routes.ini:1: [a] auth_pass stands without auth_user"),
        ("[a]\nmx = b\nauth_type = ntlm", "routes.ini:3: auth_type: \"ntlm\" is none of plain, login"),
        ("[a]\nmx = b\non_auth_unavailable = x", "routes.ini:3: on_auth_unavailable: \"x\" is none of send_without"),
        ("[a]\nmx = b implicit_tls=true tls=off", "routes.ini:1: [a] implicit_tls and tls = off contradict"),
        ("[a]\nmx = b\nauth_user = u\nauth_pass = @file:none", "routes.ini:4: auth_pass: there is no file none"),
        ("[a]\nmx = b\nauth_user = u\nauth_pass = @env:NO_SUCH_", "routes.ini:4: auth_pass: the environment has no"),
        ("[a]\nmx = b\noauth_token_url = ftp://x", "routes.ini:3: oauth_token_url: is not an https URL"),
        ("[a]\nmx = b\ndirect = yes", "routes.ini:1: [a] has mx and says direct"),
        ("[a]\ndirect = no", "routes.ini:1: [a] has no mx"),
        ("[a]\nmx = /run/x bind=127.0.0.1", "routes.ini:1: [a] bind: a Unix socket has no source address"),
        ("[@a]\nmx = b", "routes.ini:1: [@a] is not an address, a domain"),
        ("[<>]\nmx = b", "routes.ini:1: [<>] is not an address, a domain"),
        ("[sender *]\nmx = b", "routes.ini:1: [sender *] is not an address, a domain"),
        ("[sender a b]\nmx = b", "routes.ini:1: [sender a b] is not an address"),
        ("[.a]\nmx = b", "routes.ini:1: [.a] is not an address, a domain"),
        ("[*a]\nmx = b", "routes.ini:1: [*a] is not an address, a domain"),
        ("[a b]\nmx = b", "routes.ini:1: [a b] is not an address, a domain"),
        ("[a]\nmx = b\n[A]\nmx = c", "routes.ini:3: [a] began in line 1 already"),
        (
            "[b\u{FC}cher.example]\nmx = b\n[xn--bcher-kva.example]\nmx = c",
            "routes.ini:3: [xn--bcher-kva.example] began in line 1 already"
        ),
        (
            "[sender *.B\u{DC}CHER.example]\nmx = b\n[sender *.bu\u{308}cher.example.]\nmx = c",
            "routes.ini:3: [sender *.xn--bcher-kva.example] began in line 1 already"
        ),
        ("[a]\nmx = b\nreject = gone", "routes.ini:1: [a] has mx and says reject"),
        ("[a]\ndirect = yes\ndiscard = x", "routes.ini:1: [a] says direct and discard"),
        ("[a]\nreject = x\ndiscard = x", "routes.ini:3: says reject and discard"),
        ("[a]\nreject = 250 fine", "routes.ini:2: reject: 250 is no reply that refuses"),
        ("[a]\nreject = 550 4.1.1 x", "routes.ini:2: reject: 4.1.1 and 550 contradict each other"),
        ("[a]\nreject = \u{FC}", "routes.ini:2: reject: holds more than 400 octets, or others than printable ASCII"),
        ("[a]\nreject = no", "routes.ini:1: [a] has no mx"),
        ("[sender * to a]\nmx = b", "routes.ini:1: [sender * to a] is not an address"),
        ("[sender a to <>]\nmx = b", "routes.ini:1: [sender a to <>] is not an address"),
        ("[sender a to *]\nmx = b\n[sender a]\nmx = c", "routes.ini:3: [sender a] began in line 1 already"),
        ("[a]\nmx = b # no", "routes.ini:2: \"#\" is not host"),
        ("[a]\nmx = priority=1 b", "routes.ini:2: priority=1 comes before its host"),
        ("[a]\nmx = b priority=70000", "routes.ini:2: \"70000\" is not a number"),
        ("[a]\nmx = b\nbnd = 1", "routes.ini:3: unknown key bnd; did you mean bind?"),
        ("[a]\nmx = b tsl=x", "routes.ini:2: unknown key tsl"),
        ("[a]\nmx = b\nbind = host", "routes.ini:3: bind: \"host\" is not an IP address"),
        ("[a]\nmx = b\nbind_helo = a b", "routes.ini:3: bind_helo: \"a b\" is not a host name"),
        ("[a]\nmx = b\nusing_lmtp = perhaps", "routes.ini:3: \"perhaps\" is neither true nor false"),
        ("[a]\nmx = b\nport = 0", "routes.ini:3: \"0\" is not a number"),
        ("[a\nmx = b", "routes.ini:1: neither a [section]"),
    ])
    func saysFileLineAndReason(text: String, start: String) {
        let found = errors(["routes.ini": text])
        #expect(found.first?.hasPrefix(start) == true, "\(found)")
    }

    @Test func oneBrokenLineSpoilsTheWholeTable() {
        #expect(errors(["routes.ini": "[a]\nmx = b\n[c]\nmx = d tls=nope\n"]).count == 1)
    }

    @Test func aHundredThousandRoutesAreFoundByNameAndSuffix() throws {
        let count = 100_000
        let text = (0..<count).map { number in
            (number % 10 == 0 ? "[*.d\(number).example]" : "[d\(number).example]")
                + "\nmx = mx\(number).example.net:2525\n"
        }
        .joined()
        let clock = ContinuousClock()
        var routes = Routes()
        let load = try clock.measure { routes = try Routes.read(INIDocument(parsing: text)) }
        let addresses = try (0..<count).map {
            try #require(EmailAddress("a@\($0 % 10 == 0 ? "x.y." : "")d\($0).example"))
        }
        var wrong = 0
        let search = clock.measure {
            for (number, address) in addresses.enumerated() {
                let host = routes.route(for: address, from: .null)?.hosts.first?.exchange
                if host != "mx\(number).example.net" { wrong += 1 }
            }
        }
        #expect(wrong == 0)
        #expect(routes.route(for: try #require(EmailAddress("a@d10000.example")), from: .null) == nil)
        // Far from a measurement, which is for release builds; only what is not linear fails here.
        #expect(load < .seconds(60) && search < .seconds(60))
        if getenv("MARTLET_BENCH") != nil { print("100 000 routes: load \(load), a lookup \(search / count)") }
    }
}
