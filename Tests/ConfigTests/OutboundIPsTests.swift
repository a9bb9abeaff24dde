// OutboundIPsTests.swift — outbound_ip.ini: which binding fits, what is wrong with one, how one is written.

import Mail
import TestSupport
import Testing

@testable import Config

@Suite struct OutboundIPsTests {
    private static let text = """
        [*]
        ip = 127.0.0.9
        [sender news@Example.org]
        ip = 127.0.0.2, ::1
        helo = news.example.org
        [sender example.org]
        ip = 127.0.0.3
        [sender *.example.org]
        ip = 127.0.0.4
        [sender <>]
        ip = 127.0.0.10
        [user shop]
        ip = 127.0.0.5
        [client 10.0.0.0/8]
        ip = 127.0.0.6
        [client 10.1.0.0/16]
        ip = 127.0.0.7
        [recipient *.example.com]
        ip = 127.0.0.8
        """

    @Test(arguments: try TruthTable.load("outbound_ips").rows)
    func followsTheTable(row: TruthTable.Row) throws {
        let table = try OutboundIPs.read(INIDocument(parsing: Self.text))
        let sender = try row.cell("sender")
        let path: ReversePath = sender == "<>" ? .null : .address(try #require(EmailAddress(sender)))
        var envelope = Envelope(sender: path, recipients: [])
        envelope.user = try row.cell("user") == "-" ? nil : row.cell("user")
        envelope.notes.client = IPAddress(try row.cell("client"))
        let recipient = try #require(EmailAddress(try row.cell("recipient")))
        #expect(
            table.binding(for: recipient, of: envelope)?.match.split(separator: " ").joined(separator: "_")
                == (try row.cell("binding"))
        )
    }

    @Test func aNameGoesWithItsAddresses() throws {
        let table = try OutboundIPs.read(INIDocument(parsing: Self.text))
        #expect(try #require(IPAddress("127.0.0.2").flatMap { table.name(of: $0) }).name == "news.example.org")
        #expect(try #require(IPAddress("::1").flatMap { table.name(of: $0) }).name == "news.example.org")
        #expect(IPAddress("127.0.0.3").flatMap { table.name(of: $0) } == nil)
    }

    @Test(arguments: [
        ("ip = 127.0.0.1", "outbound_ip.ini:1: ip stands before any [sender …]"),
        (
            "[example.org]\nip = 127.0.0.1",
            "outbound_ip.ini:1: [example.org] is not sender, user, client, recipient, route or pool"
        ),
        ("[sender *]\nip = 127.0.0.1", "outbound_ip.ini:1: [sender *] is not sender"),
        ("[client x]\nip = 127.0.0.1", "outbound_ip.ini:1: [client x] is not sender"),
        ("[recipient <>]\nip = 127.0.0.1", "outbound_ip.ini:1: [recipient <>] is not sender"),
        ("[*]\nhelo = a.example", "outbound_ip.ini:1: [*] has no ip"),
        ("[*]\nip = 127.0.0.1 127.0.0.2", "outbound_ip.ini:1: [*] has more than one address of a family"),
        ("[*]\nip = host", "outbound_ip.ini:2: \"host\" is not an IP address"),
        ("[*]\nip = 0.0.0.0", "outbound_ip.ini:2: \"0.0.0.0\" is not an IP address"),
        ("[*]\nip = 192.0.2.77", "outbound_ip.ini:2: 192.0.2.77 is not an address of this machine"),
        ("[*]\nip = 127.0.0.1\nhelo = a b", "outbound_ip.ini:3: helo: \"a b\" is not a host name"),
        ("[*]\nip = 127.0.0.1\nhelp = a", "outbound_ip.ini:3: unknown key help; did you mean helo?"),
        ("[*]\npool = x", "outbound_ip.ini:2: there is no [pool x]"),
        (
            "[*]\npool = man\n[pool main]\naddress = 127.0.0.1",
            "outbound_ip.ini:2: there is no [pool man]; did you mean main?"
        ),
        ("[*]\nip = 127.0.0.1\npool = a\n[pool a]\naddress = 127.0.0.1", "outbound_ip.ini:1: [*] has both ip and pool"),
        ("[pool a b]\naddress = 127.0.0.1", "outbound_ip.ini:1: [pool a b] is not sender"),
        ("[pool a]", "outbound_ip.ini:1: [pool a] has no address"),
        ("[pool a]\naddress = 192.0.2.77", "outbound_ip.ini:2: 192.0.2.77 is not an address of this machine"),
        ("[pool a]\naddress = 127.0.0.1\naddress = 127.0.0.1", "outbound_ip.ini:3: 127.0.0.1 is in the pool twice"),
        ("[pool a]\naddress = 127.0.0.1, 127.0.0.2", "outbound_ip.ini:2: more than one address of a family"),
        ("[pool a]\naddress = 127.0.0.1 weight 0", "outbound_ip.ini:2: \"0\" is not"),
        ("[pool a]\naddress = 127.0.0.1 weight", "outbound_ip.ini:2: weight stands without a value"),
        ("[pool a]\naddress = weight 3", "outbound_ip.ini:2: address names no address"),
        ("[pool a]\nip = 127.0.0.1", "outbound_ip.ini:2: unknown key ip"),
        ("[route a b]\nip = 127.0.0.1", "outbound_ip.ini:1: [route a b] is not sender"),
        ("[*]\nip = 127.0.0.1\n[*]\nip = 127.0.0.2", "outbound_ip.ini:3: [*] began in line 1 already"),
    ])
    func saysFileLineAndReason(text: String, start: String) {
        let found = errors(["outbound_ip.ini": text])
        #expect(found.first?.hasPrefix(start) == true, "\(found)")
    }

    @Test func aPoolIsReadAndWritten() throws {
        let text =
            "[pool main]\naddress = 127.0.0.2, ::1 weight 3 helo two.test\naddress = 127.0.0.3\n[route b.test]\npool = main\n"
        var document = INIDocument(parsing: text)
        let table = try OutboundIPs.read(document)
        let pool = try #require(table.pools["main"])
        #expect(pool.members.map(\.text) == ["127.0.0.2, ::1 weight 3 helo two.test", "127.0.0.3"])
        #expect(
            pool.origin == "outbound_ip.ini:1" && IPAddress("::1").flatMap { table.name(of: $0) }?.name == "two.test"
        )
        let entries = OutboundIPs.entries(in: document)
        #expect(entries.map(\.match) == ["pool main", "route b.test"] && entries == table.entries)
        for entry in entries { try OutboundIPs.put(entry, in: &document) }
        #expect(document.text == text)
        try OutboundIPs.put(OutboundIPEntry(match: "sender a.test", pool: "main"), in: &document)
        #expect(document.text.hasSuffix("[sender a.test]\npool = main\n"))
    }

    @Test func aBindThatIsNotOursIsAnError() {
        let found = errors(["routes.ini": "[a]\nmx = b bind=192.0.2.77\n"])
        #expect(found == ["routes.ini:2: bind: 192.0.2.77 is not an address of this machine"])
    }

    @Test func isWrittenAsItIsRead() throws {
        var document = INIDocument(parsing: Self.text)
        let entries = OutboundIPs.entries(in: document)
        #expect(entries.count == 9)
        for entry in entries { try OutboundIPs.put(entry, in: &document) }
        #expect(document.text == Self.text)
        try OutboundIPs.put(
            OutboundIPEntry(match: "user  new", addresses: entries[1].addresses, helo: nil),
            in: &document
        )
        #expect(document.text.hasSuffix("[user new]\nip = 127.0.0.2, ::1\n"))
        #expect(OutboundIPs.remove("sender EXAMPLE.org", in: &document))
        #expect(!OutboundIPs.entries(in: document).contains { $0.match == "sender example.org" })
        #expect(!OutboundIPs.remove("user nobody", in: &document))
    }
}
