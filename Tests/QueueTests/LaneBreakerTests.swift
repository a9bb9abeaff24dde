// LaneBreakerTests.swift — the breaker of a lane, row by row in `Tests/Tables/lane_breaker.table`.

import Mail
import TestSupport
import Testing

@testable import Queue

@Suite struct LaneBreakerTests {
    private let lane = Lane.domain(Domain(unchecked: "a.test"))

    private func time(_ text: some StringProtocol) -> Uptime { uptime(Int64((Double(text) ?? 0) * 1000)) }

    private func text(_ time: Uptime?) -> String {
        guard let time else { return "-" }
        let (seconds, rest) = time.milliseconds.quotientAndRemainder(dividingBy: 1000)
        return rest == 0 ? "\(seconds)" : "\(seconds).\(rest / 100)"
    }

    @Test(arguments: try TruthTable.load("lane_breaker").rows)
    func followsTheTable(row: TruthTable.Row) throws {
        var desk = Desk(.init(total: 100, perLane: 20, longestRest: 60_000))
        for ticket in tickets(0..<40) { desk.add(ticket, to: lane, due: uptime(0), at: uptime(0)) }
        let steps = try row.cell("steps").split(separator: ",").filter { $0 != "-" }.map { step in
            step.split(separator: ":").map(String.init)
        }
        for (number, step) in steps.enumerated() where step[1] == "due" {
            desk.add(Ticket(UInt32(100 + number)), to: lane, due: time(step[0]), at: uptime(0))
        }
        // Openings that are under way; the first has always one.
        var isTrying = false
        for step in steps {
            let now = time(step[0])
            switch step[1] {
            case "tries":
                #expect(desk.opens(at: now) == [lane])
                isTrying = true
            case "refused":
                if !isTrying { _ = desk.opens(at: now) }
                for _ in 0..<20 { desk.fails(lane) }
                desk.rest(lane, at: now)
                isTrying = false
            case "stands": desk.stands(lane, at: now)
            case "answers": desk.answered(lane, isFinal: true, took: 1, at: now)
            case "due": _ = desk.opens(at: now)
            case "flush": _ = desk.flush(lane, at: now)
            case "reset":
                let isReset = desk.scheduler.reset(lane)
                #expect(isReset)
            default: Issue.record("no step \(step[1])")
            }
        }
        let opened = desk.opens(at: time(try row.cell("at")))
        let breaker = try #require(desk.scheduler.breaker(of: lane))
        #expect(breaker.state.rawValue == (try row.cell("state")))
        #expect("\(breaker.rests)" == (try row.cell("failures")))
        #expect(text(breaker.since) == (try row.cell("since")))
        #expect(text(breaker.nextProbe) == (try row.cell("next")))
        #expect(!opened.isEmpty == (try row.cell("opens") == "yes"))
        if breaker.state == .closed { #expect(breaker.said.isEmpty) }
    }
}
