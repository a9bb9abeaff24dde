// PatienceTests.swift — how long mail is tried, and which replies are words about load.

import Config
import Mail
import Queue
import Testing

@testable import Delivery

@Suite struct PatienceTests {
    private let day: Int64 = 86_400_000

    private func parcel(failures: Int = 0, unreached: Int = 0, own: Int64? = nil) -> Parcel {
        Parcel(
            id: Parcel.ID(message: QueueID(rawValue: 1), ticket: Ticket(1)),
            lane: .route("x"),
            recipients: [0],
            failures: failures,
            unreached: unreached,
            acceptedAt: Timestamp(milliseconds: 0),
            ownTime: own.map { Uptime(milliseconds: $0) }
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

    /// An attempt that somebody asked for, a minute before the parcel's own: nothing counts, and the own one stays.
    @Test func whatIsAskedForComesOnTop() {
        let (asked, now) = (parcel(failures: 12, unreached: 3, own: 100_000), Uptime(milliseconds: 40_000))
        for failure in [busy, away] {
            let verdicts = Verdicts(asked, [.deferred(failure)], at: Timestamp(milliseconds: 99 * day), now)
            #expect(verdicts.isExtra && verdicts.deferred.count == 1 && verdicts.delay == 60_000)
            #expect(!verdicts.countsAsFailure)
        }
        let late = Verdicts(asked, [.deferred(busy)], at: Timestamp(milliseconds: 1), Uptime(milliseconds: 100_000))
        #expect(!late.isExtra && late.bounced.count == 1, "its own time has come meanwhile")
        let refused = Failure(.recipient, at: .recipient, Reply(550, EnhancedStatus(5, 1, 1), "nobody"))
        #expect(Verdicts(asked, [.bounced(refused)], at: Timestamp(milliseconds: 1), now).bounced.count == 1)
    }

    /// What `outbound.ini` names, and when mail that was refused for now, or whose hop is away, is given up.
    @Test(
        arguments: [
            // number, intervals, age of the unreachable, life time: failures that are one too many, days of an answer and of a hop
            (nil, nil, nil, nil, 13, nil, 5),
            (3, nil, nil, nil, 3, nil, 5),
            (nil, [60, 300], nil, nil, 3, nil, 5),
            (nil, nil, 2, nil, 13, nil, 2),
            (nil, nil, nil, 7, nil, 7, 7),
            (nil, [60, 300], nil, 1, nil, 1, 1),
            (20, nil, nil, 3, 20, 3, 3),
            (20, [60, 300], nil, 3, 20, 3, 3),
            (nil, nil, 2, 7, nil, 7, 2),
            (nil, nil, 9, 7, nil, 7, 7),
            (nil, [], nil, 7, 1, 7, 0),
        ] as [(Int?, [Int]?, Int?, Int?, Int?, Int?, Int)]
    )
    func theFileNamesANumberOrAnAge(
        number: Int?,
        intervals: [Int]?,
        unreachable: Int?,
        lifetime: Int?,
        last: Int?,
        answered: Int?,
        away days: Int
    ) {
        var outbound = OutboundSettings()
        outbound.maxTempFailures = number
        outbound.tempFailIntervals = intervals
        outbound.unreachableMaxAge = unreachable.map { $0 * 86_400 }
        outbound.queueLifetime = lifetime.map { $0 * 86_400 }
        let patience = Patience(outbound)
        func waits(_ kind: Deferral.Kind, failures: Int, at time: Int64) -> Bool {
            let wall = Timestamp(milliseconds: time)
            return patience.delay(parcel(failures: failures), kind, at: wall, Uptime(milliseconds: 0)) != nil
        }
        for failures in 0..<(last ?? 100) - 1 { #expect(waits(.failure, failures: failures, at: 1)) }
        #expect(waits(.failure, failures: (last ?? 60_000) - 1, at: 1) == (last == nil))
        if last != 1 {
            #expect(waits(.failure, failures: 0, at: Int64(answered ?? 1000) * day) == (answered == nil))
            #expect(waits(.failure, failures: 0, at: Int64(answered ?? 1000) * day - 1))
            #expect(waits(.outOfReach, failures: 0, at: Int64(days) * day - 1))
        }
        #expect(!waits(.outOfReach, failures: 0, at: Int64(days) * day))
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
