// WebhookStepTests.swift — the table of Tests/Tables/webhook_steps.table.

import TestSupport
import Testing

@testable import Webhooks

struct WebhookStepTests {
    static let rows: [TruthTable.Row] = (try? TruthTable.load("webhook_steps").rows) ?? []

    @Test func findsTheTable() throws { #expect(try TruthTable.load("webhook_steps").rows.count > 40) }

    @Test(arguments: rows)
    func holds(_ row: TruthTable.Row) throws {
        var terms = WebhookTerms()
        terms.events = try #require(Int(row.cell("events")))
        terms.tries = try #require(Int(row.cell("tries")))
        terms.isOrdered = try row.cell("ordered") == "yes"
        terms.hasTakenOthers = try row.cell("others") == "yes"
        let answer = try #require(Self.answer(row.cell("answer")))
        #expect(Self.words(webhookStep(after: answer, terms)) == (try row.cell("step")))
    }

    private static func answer(_ text: String) -> WebhookAnswer? {
        if let silence = WebhookAnswer.Silence(rawValue: text) { return .silence(silence) }
        let parts = text.split(separator: "/")
        return Int(parts[0]).map { .status($0, retryAfter: parts.count > 1 ? Int64(parts[1]) : nil) }
    }

    private static func words(_ step: WebhookStep) -> String {
        switch step {
        case .taken: "taken"
        case .dropped: "dropped"
        case .divided(let size): "divided/\(size)"
        case .waits(let delay, let reach): "wait/\(delay / 1000)/\(reach)"
        case .disabled: "disabled"
        }
    }

    @Test func theKeysOfASectionBendTheLadder() {
        var terms = WebhookTerms()
        (terms.retryFirst, terms.retryMax) = (1, 10)
        let delays = (1...5).map { tries in
            terms.tries = tries
            return terms.delay(retryAfter: nil)
        }
        #expect(delays == [1000, 6000, 10_000, 10_000, 10_000])
    }
}
