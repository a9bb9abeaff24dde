// LimitSettingsTests.swift — limits.ini: what it says, what is wrong with it, which limit counts, how a section is written.

import Mail
import TestSupport
import Testing

@testable import Config

@Suite struct LimitSettingsTests {
    private static let text = """
        [provider big]
        mx = *.Big.test, mx.other.test
        connections = 3
        [lane *]
        rate = 100/m
        connections = 2
        [lane A.test]
        rate = 20/m
        connections = 10
        [lane free.test]
        rate = none
        [domain a.test]
        rate = 5/m
        recipients_per_transaction = 10
        [sender s.test]
        rate = 1/s
        [user *]
        daily = 500
        [user app]
        daily = 50
        """

    @Test(arguments: try TruthTable.load("effective_limit").rows)
    func theSmallestCounts(row: TruthTable.Row) throws {
        let rules = try LimitSettings.read(INIDocument(parsing: Self.text))
        let scopes = try row.cell("scopes").split(separator: ",").compactMap { word in
            LimitScope(String(word).split(separator: "_", maxSplits: 1).joined(separator: " "))
        }
        let key = try #require(LimitTerms.Key(rawValue: try row.cell("key")))
        var limits = scopes.compactMap { scope in
            rules.terms(for: scope).flatMap { LimitInForce(key, of: $0, in: scope) }
        }
        limits.choose()
        let found = limits.first(where: \.applies)
        #expect(found?.text ?? "-" == (try row.cell("value")))
        let scope = try row.cell("scope").split(separator: "_", maxSplits: 1).joined(separator: " ")
        #expect(found?.scope.description ?? "-" == scope)
    }

    @Test func knowsWhereEachKeyIsSaid() throws {
        let rules = try LimitSettings.read(INIDocument(parsing: Self.text))
        #expect(rules.terms(for: .lane("a.test"))?.origins[.rate] == "limits.ini:8")
        #expect(rules.terms(for: .lane("x.test"))?.origins[.rate] == "limits.ini:5")
        #expect(rules.terms(for: .lane("free.test"))?.rate == nil)
    }

    @Test(arguments: [
        (["gmail-smtp-in.l.big.test"], "big"), (["big.test"], "-"), (["notbig.test"], "-"), (["mx.other.test"], "big"),
        (["a.mx.other.test"], "-"), (["x.test", "a.big.test"], "big"), ([], "-"),
    ])
    func aProviderIsKnownByItsHosts(_ hosts: [String], _ name: String) throws {
        let rules = try LimitSettings.read(INIDocument(parsing: Self.text))
        #expect(rules.provider(of: hosts) ?? "-" == name)
    }

    @Test(arguments: [
        ("rate = 5/m", "limits.ini:1: rate stands before any [lane …]"),
        ("[example.org]\nrate = 1/m", "limits.ini:1: [example.org] is not provider"),
        ("[all]\nrate = 1/m", "limits.ini:1: [all] is not provider"),
        ("[source nobody]\nrate = 1/m", "limits.ini:1: [source nobody] is not provider"),
        ("[provider *]\nmx = a.test", "limits.ini:1: [provider *] is not provider"),
        ("[provider x]\nrate = 1/m", "limits.ini:1: [provider x] has no mx"),
        ("[provider x]\nmx = a*.test", "limits.ini:2: \"a*.test\" is neither a host"),
        ("[lane *]\nrate = 5", "limits.ini:2: \"5\" is not a rate"),
        ("[lane *]\nrate = 0/m", "limits.ini:2: \"0/m\" is not a rate"),
        ("[lane *]\nrate = 5/w", "limits.ini:2: \"5/w\" is not a rate"),
        ("[lane *]\nrate = 5/m burst", "limits.ini:2: \"5/m burst\" is not a rate"),
        ("[lane *]\nrate = 5/m/m", "limits.ini:2: \"5/m/m\" is not a rate"),
        ("[lane *]\nrates = 5/m", "limits.ini:2: unknown key rates; did you mean rate?"),
        ("[sender a.test]\nconnections = 5", "limits.ini:2: connections says nothing in [sender …]"),
        ("[lane *]\nconnections = 0", "limits.ini:2: \"0\" is not a number from 1"),
        ("[lane *]\ndaily = 99999999999m", "limits.ini:2: \"99999999999m\" is not a number"),
        ("[reaction r]\ndo = pause 1h", "limits.ini:1: [reaction r] has no when"),
        ("[reaction r]\nwhen = 421", "limits.ini:1: [reaction r] has no do"),
        ("[reaction r]\nwhen = rate_limit", "limits.ini:2: \"rate_limit\" is no pattern"),
        ("[reaction r]\nthreshold = 3", "limits.ini:2: \"3\" is not so many replies"),
        ("[reaction r]\ndo = slower", "limits.ini:2: \"slower\" is not what a reaction does"),
        ("[reaction r]\ndo = slow 50", "limits.ini:2: \"50\" is not from 1% to 99%"),
        ("[reaction r]\ndo = slow 50% floor", "limits.ini:2: slow 50% is followed by floor"),
        ("[reaction r]\ndo = slow 50% roof 1/m", "limits.ini:2: \"roof\" is not floor, recover, every"),
        ("[reaction r]\ndo = bounce 1h", "limits.ini:2: \"bounce 1h\" is not what a reaction does"),
        ("[reaction r]\nabout = moon", "limits.ini:2: \"moon\" is none of reply, lane"),
        ("[reaction r]\nwhen = /a", "limits.ini:2: a regular expression ends with /"),
        ("[reaction r]\nwhen = /(/", "limits.ini:2: /(/ has a ( without its )"),
        ("[reaction r]\nwhen = /a/ 421", "limits.ini:2: \"421\" stands behind a pattern"),
        ("[lane a]\nwarmup = 50", "limits.ini:2: warmup says nothing in [lane …]"),
        ("[source 192.0.2.1]\nwarmup = 50, many", "limits.ini:2: \"many\" is not a number"),
        ("[source 192.0.2.1]\nwarmup = 50\nper = moon", "limits.ini:3: \"moon\" is neither provider nor all"),
        ("[source 192.0.2.1]\nper = all", "limits.ini:1: [source 192.0.2.1] has per, and no warmup"),
        ("[warmup all from 192.0.2.1]\nrate = 1/m", "limits.ini:1: [warmup all from 192.0.2.1] is not provider"),
        ("[reaction r]\nif = 421", "limits.ini:2: unknown key if"),
        ("[lane a]\nrate = 1/m\n[lane A]\nrate = 2/m", "limits.ini:3: [lane a] began in line 1 already"),
        ("[lane a.test]\noverflow = pool\n", "limits.ini:2: overflow says nothing in [lane …]"),
        ("[source *]\noverflow = never\n", "limits.ini:2: \"never\" is neither pool nor wait"),
        ("[source *]\nother_source = x\n", "limits.ini:2: unknown key other_source"),
        ("[reaction r]\nwhen = 421\ndo = other_source\nabout = user\n", "limits.ini:1: [reaction r] does other_source"),
        ("[reaction r]\nwhen = 421\ndo = other_source soon\n", "limits.ini:3: \"soon\""),
    ])
    func saysWhatIsWrongAndWhere(_ text: String, _ complaint: String) throws {
        let error = #expect(throws: ConfigErrors.self) { try LimitSettings.read(INIDocument(parsing: text)) }
        let words = error.map { $0.errors.map { "\($0)" } } ?? []
        #expect(words.contains { $0.hasPrefix(complaint) }, "\(words)")
    }

    @Test(arguments: [
        ("20/m", 20, Int64(60_000), 1), ("1k/h", 1000, 3_600_000, 1), ("100/10s", 100, 10_000, 5),
        ("5/s burst 9", 5, 1000, 9), ("2/D", 2, 86_400_000, 1),
    ])
    func readsRates(_ text: String, _ count: Int, _ period: Int64, _ burst: Int) throws {
        let rate = try LimitSettings.rate(text)
        #expect(rate.count == count && rate.period == period && rate.burst == burst)
        #expect(try LimitSettings.rate(rate.description) == rate)
    }

    @Test(arguments: [
        ("warmup = 50, 100, 1k\n", [50, 100, 1000], Warmup.Per.provider),
        ("per = all\nwarmup = 50,100/day\n", [50, 100], .all), ("warmup = 5/day\nper = provider\n", [5], .provider),
    ])
    func readsWarmups(_ text: String, _ steps: [Int], _ per: Warmup.Per) throws {
        let rules = try LimitSettings.read(INIDocument(parsing: "[source 192.0.2.1]\n\(text)"))
        #expect(rules.terms(for: .source("192.0.2.1"))?.warmup == Warmup(steps, per: per))
    }

    @Test func readsWhatBecomesOfASpentDay() throws {
        let text = "[source *]\nwarmup = 5\noverflow = wait\n[source 192.0.2.1]\noverflow = pool\n"
        let rules = try LimitSettings.read(INIDocument(parsing: text))
        #expect(rules.terms(for: .source("192.0.2.1"))?.overflow == .pool)
        #expect(rules.terms(for: .source("192.0.2.1"))?.warmup == Warmup([5]))
        #expect(rules.terms(for: .source("192.0.2.2"))?.overflow == .wait)
        let entries = LimitSettings.entries(in: INIDocument(parsing: text))
        #expect(
            entries[0].values[.overflow] == "wait"
                && LimitSettings.entries(of: rules).contains { $0.values[.overflow] == "pool" }
        )
    }

    @Test(arguments: [
        ("other_source", Int64(3_600_000), "lane"), ("other_source 30m", 1_800_000, "provider"),
        ("other_source 2h", 7_200_000, "reply"),
    ])
    func readsAReactionThatLeavesAnAddress(_ text: String, _ time: Int64, _ about: String) throws {
        let rules = try LimitSettings.read(
            INIDocument(parsing: "[reaction r]\nwhen = spam_block\nabout = \(about)\ndo = \(text)\n")
        )
        #expect(rules.reactions.map(\.deed) == [.otherSource(time)] && !rules.measures)
    }

    @Test func readsReactions() throws {
        let text = "[reaction busy]\nwhen = 421, 4.7.*, /a,{2}\\/b/, rate_limited\nthreshold = 3/10m\ndo = pause 30m\n"
        let found = try LimitSettings.read(INIDocument(parsing: text)).reactions
        let reaction = Reaction(
            name: "busy",
            when: [
                .code([4, 2, 1]), .enhanced(4, 7, nil), .text(try BytePattern("a,{2}\\/b")), .kind("rate_limited"),
            ],
            count: 3,
            window: 600_000,
            deed: .pause(1_800_000),
            origin: "limits.ini:1"
        )
        #expect(found == [reaction])
    }

    @Test(arguments: [
        ("slow 50%", Deed.slow(Slope())),
        (
            "slow 80% floor 2/m recover 5% every 1m",
            .slow(Slope(left: 80, floor: 120, step: 5, every: 60_000))
        ),
        ("connections 1", .connections(1, Slope())), ("connections 3 every 5m", .connections(3, Slope(every: 300_000))),
        ("pause 1h", .pause(3_600_000)), ("park_sender", .parkSender(nil)), ("park_sender 2h", .parkSender(7_200_000)),
        ("bounce", .bounce), ("defer 1h", .delay(3_600_000)),
    ])
    func readsWhatAReactionDoes(_ text: String, _ deed: Deed) throws {
        let rules = try LimitSettings.read(
            INIDocument(parsing: "[reaction r]\nwhen = 421\nabout = sender\ndo = \(text)\n")
        )
        #expect(rules.reactions.map(\.deed) == [deed] && rules.reactions.map(\.about) == [.sender])
        #expect(rules.measures == deed.hasSteps)
    }

    @Test func writesASectionAndKeepsTheRest() throws {
        var document = INIDocument(parsing: "; mine\n[lane a.test]\n; why\nrate = 1/m\n[user app]\ndaily = 5\n")
        try LimitSettings.put(
            LimitEntry(scope: .lane("a.test"), values: [.rate: "2/m", .connections: "3"]),
            in: &document
        )
        #expect(document.text.contains("; why") && document.text.contains("rate = 2/m"))
        #expect(document.text.contains("connections = 3") && document.text.contains("; mine"))
        #expect(LimitSettings.remove(.user("app"), in: &document))
        #expect(!document.text.contains("daily"))
        #expect(LimitSettings.entries(in: document).map(\.scope) == [.lane("a.test")])
    }
}
