// FilterWordsTests.swift — short words of filters: the rows of `Tests/Tables/filters.table`, and what else may be sent.

import JSON
import Mail
import TestSupport
import Testing

@testable import Admin

@Suite struct FilterWordsTests {
    /// A row of the table.
    struct Row: CustomTestStringConvertible {
        let kind: FilterWords
        let text: String
        let meaning: String

        var testDescription: String { "\(kind) \(text)" }
    }

    private static let now = Timestamp(milliseconds: 1_800_000_000_000)

    private static func rows() throws -> [Row] {
        let lines = try TestFiles.text("\(TestFiles.root)/Tables/filters.table").split(separator: "\n")
        return try lines.filter { !$0.hasPrefix("#") }.map { line in
            let cells = line.split(separator: "|", omittingEmptySubsequences: false).map { String($0.trimmed) }
            try #require(cells.count == 3, "\(line)")
            let kind = try #require(["queue": FilterWords.queue, "history": .history][cells[0]])
            return Row(kind: kind, text: cells[1], meaning: cells[2])
        }
    }

    private static func meaning(_ row: Row) -> String {
        do throws(Problem) {
            return try row.kind.expand(row.text, now: now)
                .map { field in
                    let isFromNow = row.text.hasPrefix("age")
                    let value = isFromNow && row.kind == .history ? "*" : field.value
                    return "\(field.name)=\(value.split(octet: " ").joined(separator: "+"))"
                }
                .joined(separator: " ")
        } catch {
            return "!\(error.issues.first?.message ?? "")"
        }
    }

    @Test func everyRowMeansWhatItSays() throws {
        for row in try Self.rows() {
            let found = Self.meaning(row)
            if row.meaning.starts(withOctets: "!") {
                #expect(found.starts(withOctets: "\(row.meaning) means nothing here"), "\(row.text): \(found)")
            } else {
                #expect(found == row.meaning, "\(row.text)")
            }
        }
    }

    @Test func agesOfHistoryAreTimes() throws(Problem) {
        #expect(
            try FilterWords.history.expand("age<1d age>1h", now: Self.now) == [
                HeaderField("since", Self.now.adding(milliseconds: -86_400_000).rfc3339),
                HeaderField("before", Self.now.adding(milliseconds: -3_600_000).rfc3339),
            ]
        )
    }

    @Test func aTextHasAnEndAndAnythingMayStandInIt() {
        var generator = SeededRandom(seed: 20_261_131)
        let pieces = [
            "to:", "age>", "\"", " ", "@", "\u{301}", "\r\n", "a", "9999999999", ":", "<", "é", "\0", "status:",
        ]
        for _ in 0..<Effort.count(20_000) {
            let count = Int.random(in: 0..<40, using: &generator)
            let text = (0..<count).map { _ in pieces.randomElement(using: &generator) ?? "" }.joined()
            for kind in [FilterWords.queue, .history] { _ = try? kind.expand(text) }
        }
        #expect(throws: Problem.self) { try FilterWords.queue.expand(String(repeating: "to:a@b.c ", count: 1000)) }
    }
}
