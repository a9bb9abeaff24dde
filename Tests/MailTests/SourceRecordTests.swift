// SourceRecordTests.swift — whether an address of ours is well at a place, row by row in `Tests/Tables/source_health.table`.

import TestSupport
import Testing

@testable import Mail

@Suite struct SourceRecordTests {
    private func minute(_ text: some StringProtocol) -> Uptime {
        Uptime(milliseconds: (Int64(text) ?? 0) * 60_000)
    }

    @Test(arguments: try TruthTable.load("source_health").rows)
    func followsTheTable(row: TruthTable.Row) throws {
        var record = SourceRecord()
        for piece in try row.cell("answers").split(separator: ",") where piece != "-" {
            let parts = piece.split(separator: ":")
            let answer = try #require(
                ["d": SourceRecord.Answer.delivered, "t": .deferred, "r": .refused, "b": .blocked, "u": .unreached][
                    String(parts[1].suffix(1))
                ]
            )
            for _ in 0..<(Int(parts[1].dropLast()) ?? 0) { record.add(answer, "550 no\r\n", at: minute(parts[0])) }
        }
        let now = minute(try row.cell("minute"))
        let counts = record.counts(at: now)
        let shown = SourceRecord.Answer.allCases.map { "\(counts[$0])" }.joined(separator: "/")
        #expect(shown == (try row.cell("counted")))
        #expect(record.isUnwell(at: now) == (try row.cell("well") == "no"))
        let again = record.wellAgain(after: now).map { "\($0.milliseconds / 60_000)" } ?? "-"
        #expect(again == (try row.cell("again")))
        #expect(record.said.utf8.allSatisfy { $0 >= 0x20 })
    }

    @Test(arguments: [
        ("550 5.7.1 rejected", ["spam_block"], SourceRecord.Answer.blocked),
        ("550 5.7.1 not allowed from your IP", ["policy"], .blocked),
        ("550 5.7.1 your DKIM domain is not wanted", ["policy"], .refused),
        ("550 5.1.1 no such user", ["invalid_recipient"], .refused),
    ])
    func saysWhatAnAnswerIs(_ text: String, _ kinds: [String], _ answer: SourceRecord.Answer) {
        let reply = Reply(550, EnhancedStatus(5, 7, 1), text)
        let failure = Failure(.recipient, at: .recipient, reply)
        #expect(SourceRecord.Answer(.bounced(failure), kinds: kinds) == answer)
        let opening = SourceRecord.Answer(.deferred(failure), kinds: kinds, isOpening: true)
        #expect(opening == (answer == .blocked ? .blocked : .unreached))
    }
}
