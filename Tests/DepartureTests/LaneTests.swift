// LaneTests.swift — the table of Tests/Tables/lanes.table.

import Config
import Departure
import Mail
import TestSupport
import Testing

struct LaneTests {
    private static let routes = """
        [routed.test]
        mx = 127.0.0.1:2501
        [*.routed.test]
        mx = 127.0.0.1:2502
        [mx.test]
        direct = true
        [sender vip@x.test]
        mx = 127.0.0.1:2503
        [pooled.test]
        mx = 127.0.0.1:2504
        """
    private static let sources = """
        [*]
        ip = 127.0.0.9
        [user shop]
        ip = 127.0.0.5, ::1
        [recipient named.test]
        ip = 127.0.0.4
        helo = out4.test
        [route pooled.test]
        pool = main
        [recipient news.test]
        pool = main
        [pool main]
        address = 127.0.0.6
        address = 127.0.0.8 weight 3
        """

    static let rows: [TruthTable.Row] = (try? TruthTable.load("lanes").rows) ?? []

    @Test func findsTheTable() throws { #expect(try TruthTable.load("lanes").rows.count > 10) }

    @Test(arguments: rows)
    func followsTheTable(_ row: TruthTable.Row) throws {
        let sender = try row.cell("sender")
        let isFree = sender.hasSuffix("@free.test")
        let settings = try SettingsFiles.read([
            "routes.ini": Self.routes, "outbound_ip.ini": isFree ? "" : Self.sources,
        ])
        let path: ReversePath = sender == "<>" ? .null : .address(try #require(EmailAddress(sender)))
        var envelope = Envelope(sender: path, recipients: [])
        envelope.user = try row.cell("user") == "-" ? nil : row.cell("user")
        envelope.notes.outboundIP = IPAddress(try row.cell("note_ip"))
        envelope.notes.outboundHelo = try row.cell("note_helo") == "-" ? nil : Domain(try row.cell("note_helo"))
        envelope.notes.forceTLS = try row.cell("demand") == "force_tls"
        envelope.requiresTLS = try row.cell("demand") == "requiretls"
        let recipient = try #require(EmailAddress(try row.cell("recipient")))
        let lane = settings.lane(for: recipient, of: envelope).description
        #expect(lane.split(separator: " ").joined(separator: "_") == (try row.cell("lane")))
        #expect(settings.source(for: recipient, of: envelope).because.rawValue == (try row.cell("because")))
    }
}
