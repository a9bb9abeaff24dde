// NextStepTests.swift — the table of Tests/Tables/next_step.table.

import Mail
import TestSupport
import Testing

@testable import Delivery

struct NextStepTests {
    static let rows: [TruthTable.Row] = (try? TruthTable.load("next_step").rows) ?? []

    @Test func findsTheTable() throws { #expect(try TruthTable.load("next_step").rows.count > 30) }

    @Test(arguments: rows)
    func holds(_ row: TruthTable.Row) throws {
        let failure = Failure(
            try #require(Self.scope(row.cell("scope"))),
            at: try #require(Self.stage(Self.name(row))),
            Reply(
                try #require(UInt16(row.cell("code"))),
                EnhancedStatus(leading: Substring(try row.cell("status")).utf8),
                "x"
            ),
            mayBeDuplicate: try row.cell("dup") == "yes"
        )
        let company = try #require(Self.company(row.cell("company")))
        let left = try #require(Int(row.cell("left")))
        let lacksTLS = try row.cell("stage") != Self.name(row)
        let step = nextStep(after: failure, hostsLeft: left, in: company, lacksTLS: lacksTLS)
        #expect(Self.words(step) == (try row.cell("step")))
    }

    /// Without the mark behind it.
    private static func name(_ row: TruthTable.Row) throws -> String {
        let stage = try row.cell("stage")
        return stage.last == "~" ? String(stage.dropLast()) : stage
    }

    private static func words(_ step: NextStep) -> String {
        switch step {
        case .tryNextHost: "next"
        case .nextTransaction: "again"
        case .settle(.deferred(let failure)): "deferred/\(failure.scope)"
        case .settle(.bounced(let failure)): "bounced/\(failure.scope)"
        case .settle(.delivered): "delivered"
        }
    }

    private static func company(_ name: String) -> Company? {
        [Company.nobody, .others, .othersBefore, .otherDomain, .together].first { "\($0)" == name }
    }

    private static func scope(_ name: String) -> Failure.Scope? {
        [Failure.Scope.recipient, .message, .host, .destination].first { "\($0)" == name }
    }

    private static func stage(_ name: String) -> Failure.Stage? {
        [
            Failure.Stage.route, .connect, .greeting, .hello, .tls, .auth, .mail, .recipient, .data, .body,
            .endOfData,
        ].first { "\($0)" == name }
    }
}
