// RouteNamesTests.swift — names in routes.ini: the hosts file, the search list, and the order of asking.

import Glibc
import Mail
import TestSupport
import Testing

@testable import DNS

struct RouteNamesTests {
    private static func domain(_ text: String) -> Domain { Domain(unchecked: text) }

    private static func addresses(_ name: String, in text: String) -> [String] {
        HostsFile(parsing: Array(text.utf8)).addresses(of: domain(name)).map(\.description)
    }

    @Test(arguments: [
        ("10.0.0.5 relay\n", ["10.0.0.5"]), ("  10.0.0.5\tother RELAY. # comment\r\n", ["10.0.0.5"]),
        ("2001:db8::5 relay\n10.0.0.5 relay\n10.0.0.5 relay", ["10.0.0.5", "2001:db8::5"]),
        ("# 10.0.0.5 relay\n", []), ("10.0.0.5 #relay\n", []), ("10.0.0 relay\nfe80::1%eth0 relay\n", []),
        ("10.0.0.5\n\n\u{0} relay\n", []), ("10.0.0.5 relay.example.org\n", []),
        ("::ffff:10.0.0.5 relay\n", ["10.0.0.5"]),
        ("10.0.0.5 \u{FF}\u{301} relay\n", ["10.0.0.5"]),
    ])
    func readsHosts(text: String, wanted: [String]) { #expect(Self.addresses("relay", in: text) == wanted) }

    @Test func readsNoMoreOfAHostsFileThanItUses() {
        let text = (0..<40).map { "10.0.0.\($0) relay\n" }.joined()
        #expect(Self.addresses("relay", in: text).count == 16)
    }

    @Test(arguments: [
        ("search a.example b.example\n", ["a.example", "b.example"], 1),
        ("domain a.example\nsearch b.example # c.example\n", ["b.example"], 1),
        ("search a.example\noptions ndots:5 edns0\ndomain b.example c.example\n", ["b.example"], 5),
        ("options ndots:99\nsearch . a..b [1.2.3.4] C.example.\n", ["c.example"], 15),
        ("options ndots:x\nnameserver 10.0.0.1\n", [], 1), ("options ndots:0", [], 0),
    ])
    func readsResolvConf(text: String, domains: [String], dots: Int) {
        let list = SearchList(parsing: Array(text.utf8))
        #expect(list.domains.map(\.name) == domains)
        #expect(list.dots == dots)
    }

    @Test(arguments: [
        ("relay", 1, ["relay.a.example", "relay.b.example", "relay"]),
        ("relay", 0, ["relay", "relay.a.example", "relay.b.example"]), ("smtp.mail", 1, ["smtp.mail"]),
        ("smtp.mail", 5, ["smtp.mail", "smtp.mail.a.example", "smtp.mail.b.example"]),
    ])
    func asksInOrder(name: String, dots: Int, wanted: [String]) {
        let list = SearchList(domains: ["a.example", "b.example"].map(Self.domain), dots: dots)
        #expect(list.meanings(of: Self.domain(name)).map(\.name.name) == wanted)
    }

    private static func ask(
        _ names: RouteNames,
        _ host: String,
        file: String? = nil,
        search: [String] = [],
        _ resolver: StaticResolver
    ) async -> String {
        do throws(DNSError) {
            let answer = try await names.addresses(
                of: domain(host),
                hosts: file,
                search: SearchList(domains: search.map(domain)),
                by: resolver,
                preference: .any
            )
            return "\(answer.value.map(\.description).joined(separator: ",")) \(answer.rule)"
        } catch {
            return "\(error)"
        }
    }

    @Test func saysWhichRuleFoundAName() async {
        let resolver = StaticResolver()
        resolver.setAddresses("relay.b.example", ["192.0.2.2"])
        resolver.setAddresses("relay", ["192.0.2.1"])
        let names = RouteNames()
        #expect(await Self.ask(names, "192.0.2.9", resolver) == "192.0.2.9 an address")
        #expect(await Self.ask(names, "relay", resolver) == "192.0.2.1 the DNS")
        let searched = await Self.ask(names, "relay", search: ["a.example", "b.example"], resolver)
        #expect(searched == "192.0.2.2 the DNS, with b.example of the search list behind it")
        #expect(await Self.ask(names, "nobody", search: ["a.example"], resolver) == "\(DNSError.noSuchName)")
    }

    @Test func readsAHostsFileAgainWhenItChanges() async throws {
        let path = "/tmp/martlet-hosts-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        defer { unlink(path) }
        let (names, resolver) = (RouteNames(), StaticResolver())
        resolver.setAddresses("relay", ["192.0.2.1"])
        #expect(await Self.ask(names, "relay", file: path, resolver) == "192.0.2.1 the DNS")
        func write(_ text: String) throws {
            let file = try #require(fopen(path, "w"))
            fputs(text, file)
            fclose(file)
        }
        try write("10.0.0.5 relay\n")
        #expect(await Self.ask(names, "relay", file: path, resolver) == "10.0.0.5 \(path)")
        try write("10.0.0.66 relay\n")
        #expect(await Self.ask(names, "relay", file: path, resolver) == "10.0.0.66 \(path)")
        unlink(path)
        #expect(await Self.ask(names, "relay", file: path, resolver) == "192.0.2.1 the DNS")
        #expect(await Self.ask(names, "relay", file: "/dev/zero", resolver) == "192.0.2.1 the DNS")
    }
}
