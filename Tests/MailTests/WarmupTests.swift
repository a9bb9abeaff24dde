// WarmupTests.swift — how much a new address of ours may send, day of sending by day of sending.

import TestSupport
import Testing

@testable import Mail

@Suite struct WarmupTests {
    private static let day: Int64 = 86_400_000

    @Test(arguments: try TruthTable.load("warmup_day").rows)
    func growsWithDaysOfSending(row: TruthTable.Row) throws {
        let warmup = try #require(Warmup([50, 100, 200]))
        var warmth = WarmthCount()
        for piece in try row.cell("sent").split(separator: ",") where piece != "-" {
            let parts = piece.split(separator: ":").compactMap { Int64($0) }
            for number in 0..<parts[1] {
                warmth.add(at: Timestamp(milliseconds: parts[0] * Self.day + number))
            }
        }
        let now = Timestamp(milliseconds: (Int64(try row.cell("day")) ?? 0) * Self.day + 3_600_000)
        #expect(warmth.most(warmup, at: now).map(String.init) ?? "-" == (try row.cell("most")))
        let opens = warmth.opens(warmup, at: now).map { "\($0.milliseconds / Self.day)" } ?? "now"
        #expect(opens == (try row.cell("opens")))
        let again = WarmthCount(last: warmth.last, count: warmth.count, days: warmth.days)
        #expect(again == warmth, "as it is written down")
    }

    @Test func refusesWhatIsNoWarmup() {
        #expect(Warmup([]) == nil && Warmup([0]) == nil && Warmup(Array(repeating: 1, count: 366)) == nil)
    }
}
