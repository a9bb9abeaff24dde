// DepartureTests.swift — the table of Tests/Tables/departure.table, and which mechanisms a login may use.

import Config
import Mail
import OpenSSL
import TestSupport
import Testing

@testable import Departure

struct DepartureTests {
    static let rows: [TruthTable.Row] = (try? TruthTable.load("departure").rows) ?? []

    @Test func findsTheTable() throws { #expect(try TruthTable.load("departure").rows.count > 15) }

    @Test(arguments: rows)
    func followsTheTable(_ row: TruthTable.Row) throws {
        func text(_ column: String) throws -> String? { try row.cell(column) == "-" ? nil : row.cell(column) }
        let settings = try SettingsFiles.read([
            "outbound_ip.ini": "[user a]\nip = 127.0.0.4\nhelo = out4.test\n[user b]\nip = ::1\nhelo = six.test\n"
        ])
        let isSocket = try row.cell("to") == "socket"
        var mx = MX(isSocket ? "/run/lmtp.sock" : "mx.test", bind: try text("bind").flatMap { IPAddress($0) })
        mx.bindHelo = try text("bind_helo").flatMap { Domain($0) }
        mx.tls = try text("tls").flatMap { TLSLevel(name: $0) }
        mx.implicitTLS = try row.cell("implicit") == "yes"
        if try row.cell("login") == "yes" { mx.auth = Credentials(user: "u", password: "p") }
        let addresses = (try text("source") ?? "").split(separator: ",").compactMap { IPAddress($0) }
        let source = Source(addresses, helo: try text("helo").flatMap { Domain($0) })
        let lane = Lane(.route("x"), from: source, tls: try text("demand").flatMap { TLSLevel(name: $0) })
        let departure = Departure(
            to: isSocket ? nil : IPAddress(try row.cell("to")),
            of: mx,
            in: lane,
            try Self.trust(in: mx, lane, sts: row.cell("sts")),
            try Self.trouble(row.cell("broken")),
            settings
        )
        #expect(departure.bind?.description == (try text("from")))
        #expect("\(departure.bindBecause)" == (try row.cell("from_because")))
        #expect(departure.helo.name == (try row.cell("name")))
        #expect("\(departure.heloBecause)" == (try row.cell("name_because")))
        let last = departure.lastResort.map { "/\($0.level)" } ?? ""
        let tries =
            departure.refusal == nil ? departure.tries.map(\.level.description).joined(separator: ",") + last : "!"
        #expect(tries == (try row.cell("tries")))
        #expect((departure.first?.because ?? departure.refusal?.because)?.rawValue == (try row.cell("because")))
        let check = try text("check").map { PeerCheck.names([$0]) } ?? .none
        #expect(departure.tries.first?.check ?? .none == check)
    }

    private static func trouble(_ word: String) -> TLSTrouble? {
        guard word != "no" else { return nil }
        let now = Timestamp(milliseconds: 0)
        var trouble = TLSTrouble(since: now, until: now, words: "451 x")
        trouble.isLasting = word == "yes"
        trouble.refusesClear = word == "clear"
        return trouble
    }

    private static func trust(in mx: MX, _ lane: Lane, sts: String) -> HostTrust {
        var facts = TLSFacts()
        (facts.isEnabled, facts.level, facts.demand) = (false, mx.tls, lane.tls)
        (facts.isImplicit, facts.hasLogin, facts.isSocket) = (mx.implicitTLS, mx.auth != nil, mx.isSocket)
        if sts == "match" { facts.sts = .match }
        var trust = HostTrust(facts: facts)
        trust.isUnderTest = sts == "testing"
        return trust
    }

    @Test(arguments: [
        ("192.0.2.1", nil, true, ["PLAIN", "LOGIN", "CRAM-MD5"]), ("192.0.2.1", nil, false, ["CRAM-MD5"]),
        ("127.0.0.1", nil, false, ["PLAIN", "LOGIN", "CRAM-MD5"]),
        ("192.0.2.1", TLSLevel.off, false, ["PLAIN", "LOGIN", "CRAM-MD5"]),
    ])
    func saysNoPasswordWhereOthersListen(to: String, tls: TLSLevel?, isEncrypted: Bool, wanted: [String]) throws {
        var mx = MX("mx.test")
        mx.tls = tls
        let credentials = Credentials(user: "u", password: "p")
        let departure = Departure(
            to: IPAddress(to),
            of: mx,
            in: .route("x"),
            HostTrust(facts: TLSFacts()),
            nil,
            Settings(me: Domain(unchecked: "relay.test"))
        )
        #expect(departure.mechanisms(credentials, isEncrypted: isEncrypted).map(\.rawValue) == wanted)
    }
}
