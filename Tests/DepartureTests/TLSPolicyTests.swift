// TLSPolicyTests.swift — the table of Tests/Tables/tls_policy.table, and what holds for every row one could write.

import Mail
import TestSupport
import Testing

@testable import Departure

struct TLSPolicyTests {
    static let rows: [TruthTable.Row] = (try? TruthTable.load("tls_policy").rows) ?? []

    @Test func findsTheTable() throws { #expect(try TruthTable.load("tls_policy").rows.count > 40) }

    @Test(arguments: rows)
    func holds(_ row: TruthTable.Row) throws {
        var facts = TLSFacts()
        facts.isEnabled = try row.cell("on") == "yes"
        facts.level = TLSLevel(name: try row.cell("route"))
        facts.demand = TLSLevel(name: try row.cell("demand"))
        facts.isImplicit = try row.cell("implicit") == "yes"
        facts.hasLogin = try row.cell("login") == "yes"
        facts.dane = try #require(Self.dane[try row.cell("dane")])
        facts.sts = try #require(Self.sts[try row.cell("sts")])
        facts.hasFailedRecently = try ["yes", "clear"].contains(row.cell("broken"))
        facts.refusesClear = try row.cell("broken") == "clear"
        facts.isSocket = try row.cell("socket") == "yes"
        let decision = decideTLS(facts)
        #expect(Self.words(decision) == (try row.cell("decision")))
        #expect(Self.cause(decision) == (try row.cell("because")))
    }

    @Test func whatWasDemandedIsNeverGivenUp() {
        for facts in Self.allFacts {
            guard case .connect(let level, let mayFallBack, _) = decideTLS(facts) else { continue }
            if let demand = facts.demand { #expect(level >= demand, "\(facts)") }
            if let route = facts.level, route > .may { #expect(level >= route, "\(facts)") }
            if mayFallBack {
                #expect(level == .may && !facts.refusesClear && !facts.hasLogin && facts.demand == nil, "\(facts)")
            }
            if level == .off {
                let isWanted = facts.level == .off || facts.level == nil && !facts.isEnabled
                #expect(
                    isWanted
                        || facts.hasFailedRecently && !facts.refusesClear && facts.dane == .absent
                            && facts.sts == .absent,
                    "\(facts)"
                )
            }
        }
    }

    private static let dane: [String: TLSFacts.DANE] = [
        "absent": .absent, "usable": .usable, "unusable": .unusable, "failed": .failed("x"),
    ]
    private static let sts: [String: TLSFacts.STS] = ["absent": .absent, "match": .match, "mismatch": .mismatch]

    private static var allFacts: [TLSFacts] {
        var all: [TLSFacts] = []
        let levels: [TLSLevel?] = [nil] + TLSLevel.allCases.map { $0 }
        for level in levels {
            for demand in [nil, TLSLevel.require, .verify] {
                for dane in Self.dane.values {
                    for sts in Self.sts.values {
                        for bits in 0..<32 {
                            var facts = TLSFacts()
                            (facts.level, facts.demand, facts.dane, facts.sts) = (level, demand, dane, sts)
                            facts.isEnabled = bits & 1 != 0
                            facts.isImplicit = bits & 2 != 0
                            facts.hasLogin = bits & 4 != 0
                            facts.hasFailedRecently = bits & 8 != 0
                            facts.refusesClear = bits & 16 != 0
                            all.append(facts)
                        }
                    }
                }
            }
        }
        return all
    }

    private static func words(_ decision: TLSDecision) -> String {
        switch decision {
        case .connect(let level, let mayFallBack, _): "\(level)\(mayFallBack ? "+" : "")"
        case .refuse: "refuse"
        }
    }

    private static func cause(_ decision: TLSDecision) -> String {
        switch decision {
        case .connect(_, _, let cause), .refuse(_, let cause): cause.rawValue
        }
    }
}
