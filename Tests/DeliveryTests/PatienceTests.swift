// PatienceTests.swift — how long mail is tried, and which replies are words about load.

import Mail
import Queue
import Testing

@testable import Delivery

@Suite struct PatienceTests {
    private let day: Int64 = 86_400_000

    private func parcel(failures: Int = 0, unreached: Int = 0) -> Parcel {
        Parcel(
            id: Parcel.ID(message: QueueID(rawValue: 1), ticket: Ticket(1)),
            lane: .route("x"),
            recipients: [0],
            failures: failures,
            unreached: unreached,
            acceptedAt: Timestamp(milliseconds: 0)
        )
    }

    private func verdicts(
        _ failure: Failure,
        _ parcel: Parcel,
        after time: Int64,
        isBystander: Bool = false
    ) -> Verdicts {
        Verdicts(parcel, [.deferred(failure)], isBystander: isBystander, at: Timestamp(milliseconds: time))
    }

    private let away = Failure(.host, at: .connect, Reply(451, EnhancedStatus(4, 4, 1), "cannot connect"))
    private let busy = Failure(.message, at: .mail, Reply(451, EnhancedStatus(4, 3, 0), "later"))

    @Test func whoCannotBeReachedIsGivenUpByAge() {
        let known = parcel(failures: 12, unreached: 500)
        let waits = verdicts(away, known, after: 5 * day - 1)
        #expect(waits.kind == .outOfReach && waits.deferred.count == 1 && waits.delay == 4_096_000)
        #expect(verdicts(away, known, after: 5 * day).bounced.count == 1)
    }

    @Test func answersAreGivenUpByNumber() {
        #expect(verdicts(busy, parcel(failures: 12, unreached: 0), after: 1).bounced.count == 1)
        let waits = verdicts(busy, parcel(failures: 0, unreached: 500), after: 10 * day)
        #expect(waits.kind != .outOfReach && waits.deferred.count == 1 && waits.delay == 64_000)
    }

    @Test func whoOnlyWaitedBehindARefusalHasNotFailed() {
        let refused = Failure(.destination, at: .greeting, Reply(554, nil, "go away"))
        #expect(verdicts(refused, parcel(), after: 1).kind != .outOfReach)
        #expect(verdicts(refused, parcel(), after: 1, isBystander: true).kind == .outOfReach)
    }

    @Test func asInHarakaEveryAttemptCanBeAFailure() {
        var patience = Patience()
        patience.isUnreachableCounted = true
        let verdicts = Verdicts(
            parcel(failures: 12),
            [.deferred(away)],
            patience: patience,
            at: Timestamp(milliseconds: 1)
        )
        #expect(verdicts.bounced.count == 1 && verdicts.kind != .outOfReach)
    }

    @Test func wordsAboutLoadAreHeard() {
        func sign(_ code: UInt16, _ status: EnhancedStatus?, _ stage: Failure.Stage, _ scope: Failure.Scope) -> Bool {
            Failure(scope, at: stage, Reply(code, status, "x")).isLoadSign
        }
        for stage in [Failure.Stage.mail, .recipient, .data, .endOfData] {
            #expect(sign(421, EnhancedStatus(4, 7, 0), stage, .host))
            #expect(!sign(451, EnhancedStatus(4, 7, 1), stage, .message))
        }
        #expect(sign(432, EnhancedStatus(4, 3, 2), .data, .message) && sign(432, nil, .data, .message))
        #expect(sign(451, EnhancedStatus(4, 4, 5), .endOfData, .message))
        #expect(!sign(452, EnhancedStatus(4, 3, 2), .recipient, .recipient), "of a mailbox, not of the system")
        #expect(!sign(421, nil, .greeting, .host) && !sign(554, nil, .mail, .message))
    }
}
