// SenderPolicyTests.swift — the table of Tests/Tables/spf.table, in a DNS that knows what it was told.

import DNS
import Mail
import TestSupport
import Testing

@testable import Doctor

struct SenderPolicyTests {
    static let rows: [TruthTable.Row] = (try? TruthTable.load("spf").rows) ?? []

    @Test func findsTheTable() throws { #expect(try TruthTable.load("spf").rows.count > 40) }

    @Test(arguments: rows)
    func holds(_ row: TruthTable.Row) async throws {
        let record = try row.cell("record")
        let texts =
            record == "-" ? [] : [record.split(separator: "_", omittingEmptySubsequences: false).joined(separator: " ")]
        let address = try #require(IPAddress(try row.cell("address")))
        var policy = SenderPolicy(Self.world(texts))
        let verdict = await policy.check(address, "x.test")
        #expect(verdict.word == (try row.cell("verdict")), "\(verdict)")
    }

    private static func world(_ texts: [String]) -> StaticResolver {
        let resolver = StaticResolver()
        resolver.setText("x.test", texts)
        resolver.setAddresses("x.test", ["192.0.2.30"])
        resolver.setAddresses("a.test", ["192.0.2.10", "2001:db8::10"])
        resolver.setMX("mail.test", ["10 mx1.test", "20 mx2.test"])
        resolver.setAddresses("mx2.test", ["192.0.2.20"])
        resolver.setText("inc.test", ["something else", "v=spf1 ip4:192.0.2.1 -all"])
        resolver.setText("soft.test", ["v=spf1 ~all"])
        resolver.setText("loop.test", ["v=spf1 include:loop.test -all"])
        resolver.setText("two.test", ["v=spf1 -all", "v=spf1 +all"])
        resolver.setText("nospf.test", ["hello"])
        resolver.fail("broken.test", .timedOut)
        return resolver
    }
}

extension SenderPolicy.Verdict {
    fileprivate var word: String {
        switch self {
        case .pass: "pass"
        case .fail: "fail"
        case .softFail: "softfail"
        case .neutral: "neutral"
        case .none: "none"
        case .unknown: "unknown"
        }
    }
}
