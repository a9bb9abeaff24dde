// SharedHealthTests.swift — what the answers of a shared database's server mean for mail.

import Testing

@testable import Storage

@Suite struct SharedHealthTests {
    private func judge(_ change: (inout SharedHealth.Answers) -> Void) -> [SharedHealth.Sign] {
        var answers = SharedHealth.Answers()
        answers.schema = SharedSchema.version
        change(&answers)
        return SharedHealth.judge(answers).filter { !$0.remedy.isEmpty }
    }

    @Test func whatIsUsualNeedsNothing() {
        #expect(judge { _ in }.isEmpty)
        #expect(judge { ($0.standbys, $0.synchronous) = (1, 1) }.isEmpty)
    }

    @Test func whatLosesMailIsBad() {
        #expect(judge { $0.synchronousCommit = "off" }.map(\.isBad) == [true])
        #expect(judge { ($0.synchronousCommit, $0.standbys, $0.synchronous) = ("local", 1, 1) }.map(\.isBad) == [true])
        #expect(judge { $0.standbys = 2 }.map(\.isBad) == [false])
    }

    @Test func whatKeepsDeadRowsIsNamed() {
        #expect(judge { ($0.horizon, $0.holder) = (400, "pg_dump") }.first?.detail.contains("pg_dump") == true)
        #expect(judge { $0.idleSlots = 1 }.map(\.name) == ["horizon"])
        #expect(judge { $0.prepared = 1 }.map(\.name) == ["horizon"])
        #expect(judge { $0.isAutovacuumOn = false }.map(\.isBad) == [true])
        #expect(judge { $0.horizon = 299 }.isEmpty)
    }

    @Test func versionTablesClockAndConnectionsAreLookedAt() {
        #expect(judge { $0.version = 130_012 }.map(\.isBad) == [true])
        #expect(judge { $0.schema = 0 }.map(\.name) == ["tables"])
        #expect(judge { $0.ahead = -5_000 }.map(\.name) == ["clock"])
        #expect(judge { ($0.connections, $0.mostConnections) = (90, 100) }.map(\.name) == ["connections"])
    }
}
