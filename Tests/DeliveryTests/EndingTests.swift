// EndingTests.swift — routes that reject and discard, from the queue: what was taken before such a section stood there.

import Config
import Mail
import Storage
import TestSupport
import Testing

@testable import Delivery
@testable import Queue

@Suite(.timeLimit(.minutes(1))) struct EndingTests {
    @Test func discardsWithALineAndWithoutAReport() async throws {
        let house = try House { $0.routes.add(Routes.Entry(match: "y.test", way: .discard("load test"))) }
        let ids = [
            try await house.accept(to: ["b@y.test", "c@y.test"], notify: [.success, .failure]),
            try await house.accept(to: ["d@y.test"]),
        ]
        for id in ids { await house.settled(id) }
        let lines = house.logLines.filter { $0.contains(" discarded ") }
        #expect(lines.count == 3)
        #expect(lines.allSatisfy { $0.contains("lane=[y.test] reply=\"load test\"") })
        #expect(!house.logLines.contains { $0.contains(" delivered ") || $0.contains("unreachable") })
        #expect(house.reports.isEmpty)
        await house.stop()
    }

    @Test func rejectsWithAReportInItsWords() async throws {
        let peer = try await LoopbackPeer()
        let reply = Reply(550, EnhancedStatus(5, 1, 6), "moved away")
        let house = try House(routes: ["*": [peer.mx]]) {
            $0.routes.add(Routes.Entry(match: "sender x.test to y.test", way: .reject(reply)))
        }
        let id = try await house.accept(to: ["b@y.test", "c@z.test"])
        await house.settled(id)
        let report = try #require(house.reports.first)
        #expect(report.contains("Status: 5.1.6") && report.contains("moved away") && !report.contains("c@z.test"))
        await house.stop()
    }

    @Test func aTemporaryRejectionDefers() async throws {
        let reply = Reply(450, EnhancedStatus(4, 2, 0), "not yet")
        let house = try House { $0.routes.add(Routes.Entry(match: "y.test", way: .reject(reply))) }
        let id = try await house.accept(to: ["b@y.test"])
        #expect(await house.deferred(id)?.waiting.first?.reply?.text == "450 4.2.0 not yet")
        #expect(house.reports.isEmpty)
        await house.stop()
    }
}
