// DKIMRotationTests.swift — one key in the place of another: who signs when, and what the file says meanwhile.

import Mail
import OpenSSL
import TestSupport
import Testing

@testable import Config

struct DKIMRotationTests {
    private static let hour: Int64 = 3_600_000
    private static let now = Timestamp(milliseconds: 1_800_000_000_000)

    private static func keys(_ names: String) throws -> [DKIMSettings.Key] {
        try names.split(separator: ",").filter { $0 != "-" }.map { name in
            let key = try SigningKey.generate(name.hasPrefix("e") ? .ed25519 : .rsa(bits: 1024))
            return DKIMSettings.Key(selector: String(name), key: key, text: Secret(String(name)))
        }
    }

    @Test(arguments: try TruthTable.load("dkim_rotation").rows)
    func decides(_ row: TruthTable.Row) throws {
        var rotation = DKIMRotation()
        rotation.next = try Self.keys(try row.cell("next"))
        rotation.signFrom = Int64(try row.cell("from")).map { Self.now.adding(milliseconds: $0 * Self.hour) }
        rotation.keepDays = try #require(Int(try row.cell("keep")))
        let stage =
            switch rotation.stage(at: Self.now) {
            case .prepared: "prepared"
            case .scheduled: "scheduled"
            case .switched: "switched"
            case .over: "over"
            }
        #expect(stage == (try row.cell("stage")))
        let signing = rotation.keys(try Self.keys(try row.cell("old")), at: Self.now).map(\.selector)
        #expect((signing.isEmpty ? "-" : signing.joined(separator: ",")) == (try row.cell("signing")))
    }

    /// Through all steps there is a key that signs, at every time.
    @Test func signsWithoutAGap() throws {
        let domain = Domain(unchecked: "example.org")
        var document = INIDocument(parsing: "; mine\n[Example.org]\nselectors = r1 ; a remark\n")
        func settings() throws -> DKIMSettings {
            var dkim = DKIMSettings()
            for entry in document.entries { #expect(try dkim.take(entry)) }
            for (domain, names) in dkim.selectors { dkim.domains[domain] = try Self.keys(names.joined(separator: ",")) }
            for (domain, names) in dkim.nextSelectors {
                dkim.rotations[domain, default: DKIMRotation()].next = try Self.keys(names.joined(separator: ","))
            }
            return dkim
        }
        func signing(_ hours: Int64) throws -> [String] {
            let time = Self.now.adding(milliseconds: hours * Self.hour)
            return try #require(try settings().signing(for: Domain(unchecked: "mail.example.org"), at: time))
                .keys.map(\.selector)
        }
        #expect(try signing(0) == ["r1"])
        try DKIMTurn.prepare(domain, ["r2"], keepDays: 2, in: &document)
        #expect(try signing(0) == ["r1"] && signing(10_000) == ["r1"])
        try DKIMTurn.schedule(domain, from: Self.now.adding(milliseconds: Self.hour), keepDays: nil, in: &document)
        #expect(try signing(0) == ["r1"] && signing(1) == ["r2"] && signing(10_000) == ["r2"])
        #expect(try settings().rotations[domain]?.keepDays == 2)
        try DKIMTurn.finish(domain, ["r2"], in: &document)
        #expect(try signing(0) == ["r2"] && settings().rotations.isEmpty)
        #expect(
            document.text.hasPrefix("; mine\n[Example.org]\nselectors = r2") && !document.text.contains("keep_days")
        )
    }

    @Test(arguments: [
        ("v=DKIM1; k=ed25519; p=AAAA", true), ("v=DKIM1;k=ed25519;p=AA AA;", true), ("k=ed25519; p=AAAA", true),
        (" p = AAAA ; k=ed25519; s=email; t=y", true), ("v=DKIM1; p=AAAA", false), ("v=DKIM1; k=ed25519; p=", false),
        ("v=DKIM1; k=ed25519; p=AAAB", false), ("v=DKIM2; k=ed25519; p=AAAA", false), ("v=spf1 -all", false),
        ("", false),
    ])
    func knowsItsRecord(text: String, isSame: Bool) throws {
        let key = try SigningKey.generate(.ed25519)
        let record = DKIMRecord(Domain(unchecked: "example.org"), "e1", key)
        let data = try #require(record.value.split(separator: "=", maxSplits: 3).last.map(String.init))
        #expect(record.isSame(as: text.replacing("AAAA", with: data).replacing("AA AA", with: data)) == isSame)
    }

    @Test(arguments: [
        "[example.org]\nsign_from = tomorrow\n", "[example.org]\nkeep_days = 0\n", "[example.org]\nnext = A B\n",
        "[example.org]\nnexts = x\n", "[example.org]\nnext = r1\nnext = r2\n",
    ])
    func refuses(text: String) {
        #expect(throws: ValueError.self) {
            var dkim = DKIMSettings()
            for entry in INIDocument(parsing: text).entries { _ = try dkim.take(entry) }
        }
    }
}
