// Verdicts.swift — the outcomes of one attempt sorted by what they mean for the queue. Pure.

import Mail
import Queue
import Storage

/// Recipients of a parcel by what became of them.
struct Verdicts: Sendable {
    /// One recipient that failed, for good or for now.
    struct Failed: Sendable {
        let recipient: UInt32
        let failure: Failure
        let reason: FailureReason
        /// It failed temporarily until no attempt was left.
        let wasDeferred: Bool

        /// - Parameter classes: tells the reason.
        init(
            recipient: UInt32,
            failure: Failure,
            by classes: ReplyClassifier = .shipped,
            wasDeferred: Bool = false
        ) {
            self.recipient = recipient
            self.failure = failure
            reason = FailureReason(failure, by: classes)
            self.wasDeferred = wasDeferred
        }

        /// For the queue and its lists.
        var reply: LastReply {
            LastReply(failure.reply.description, reason: reason, host: failure.remote ?? "")
        }
    }

    /// One that was delivered.
    struct Taken: Sendable {
        let recipient: UInt32
        let receipt: Receipt
    }

    private(set) var delivered: [Taken] = []
    private(set) var deferred: [Failed] = []
    private(set) var bounced: [Failed] = []
    /// Deferred ones that a plugin dropped: forgotten, and nobody is told.
    private(set) var dropped: [Failed] = []
    /// Those that bounced get nothing: nobody was asked.
    private(set) var areHeldBack = false
    /// A plugin wants no report about those that bounced.
    private(set) var isSuppressed = false
    /// There is no further attempt for those that failed for now.
    private let isLast: Bool
    /// Milliseconds until the deferred are tried again.
    private(set) var delay: Int64 = 0
    /// Who says so; nil: our own intervals.
    private(set) var rule: WaitRule?
    /// What the deferral means for the next attempts.
    private(set) var kind: Deferral.Kind
    /// The attempt came on top of the parcel's own.
    let isExtra: Bool

    /// - Parameters:
    ///   - parcel: the one that was attempted.
    ///   - outcomes: by position; nil was not tried and appears nowhere here.
    ///   - patience: decides whether a temporary failure was the last one.
    ///   - classes: tells the reasons.
    ///   - isBystander: it was not attempted, but waited behind one that was.
    ///   - now: tells whether the parcel's own time has come.
    init(
        _ parcel: Parcel,
        _ outcomes: [Outcome?],
        patience: Patience = Patience(),
        classes: ReplyClassifier = .shipped,
        isBystander: Bool = false,
        at wall: Timestamp = .now(),
        _ now: Uptime = .now()
    ) {
        let attempt = parcel.attempt
        if outcomes.contains(where: { $0?.isDelivered ?? false }) {
            kind = .progress
        } else if !patience.isUnreachableCounted,
            isBystander || outcomes.allSatisfy({ !($0?.isDeferredByAnswer ?? false) })
        {
            kind = .outOfReach
        } else {
            kind = .failure
        }
        isExtra = parcel.timeToOwn(at: now) != nil
        let delay = patience.delay(parcel, kind, at: wall, now)
        self.delay = delay ?? 0
        isLast = delay == nil
        for (recipient, outcome) in zip(parcel.recipients, outcomes) {
            switch outcome {
            case nil: break
            case .delivered(let receipt): delivered.append(Taken(recipient: recipient, receipt: receipt))
            case .bounced(let failure): bounced.append(Failed(recipient: recipient, failure: failure, by: classes))
            case .deferred(let failure) where delay != nil:
                deferred.append(Failed(recipient: recipient, failure: failure, by: classes))
            case .deferred(let failure):
                bounced.append(
                    Failed(
                        recipient: recipient,
                        failure: Self.expired(failure, attempt),
                        by: classes,
                        wasDeferred: true
                    )
                )
            }
        }
    }

    /// The last temporary failure, as the reason of a bounce (RFC 3463 §3.5, X.4.7).
    private static func expired(_ failure: Failure, _ attempt: Int) -> Failure {
        let text = "given up after \(attempt) attempts, the last one: \(failure.reply)"
        return Failure(
            failure.scope,
            at: failure.stage,
            Reply(failure.reply.code, EnhancedStatus(4, 4, 7), text),
            remote: failure.remote,
            mayBeDuplicate: failure.mayBeDuplicate
        )
    }

    /// Nothing failed for good and the sender asked for no word: the queue can be told at once.
    func needsReport(_ envelope: Envelope, delayIsDue: Bool) -> Bool {
        guard case .address = envelope.sender else { return false }
        return !failures(envelope).isEmpty || !successes(envelope).isEmpty || delayIsDue && !delays(envelope).isEmpty
    }

    /// Bounced recipients whose sender wants to know.
    func failures(_ envelope: Envelope) -> [Failed] {
        isSuppressed ? [] : bounced.filter { envelope.recipients[Int($0.recipient)].wantsFailureReport }
    }

    /// Deferred recipients with `NOTIFY=DELAY`.
    func delays(_ envelope: Envelope) -> [Failed] {
        deferred.filter { envelope.recipients[Int($0.recipient)].notify?.contains(.delay) ?? false }
    }

    /// Delivered recipients with `NOTIFY=SUCCESS` whose next hop makes no report of its own.
    func successes(_ envelope: Envelope) -> [Taken] {
        delivered.filter { taken in
            !taken.receipt.relaysDSN
                && envelope.recipients[Int(taken.recipient)].notify?.contains(.success) ?? false
        }
    }

    /// The attempt is one of the failures that a parcel has a number of.
    var countsAsFailure: Bool { kind == .failure && !isExtra }

    /// Some recipients failed, for good or for now: plugins may want to know.
    var hasFailures: Bool { !deferred.isEmpty || !bounced.isEmpty }

    /// A plugin wants to forget those that failed for now.
    mutating func dropDeferred() {
        dropped = deferred
        deferred = []
    }

    /// Those that a reaction gave up; nobody, where they would have bounced by themselves.
    var givenUp: [Failed] { isLast ? [] : bounced.filter { $0.failure.reaction != nil } }

    /// Those that a reaction gave up wait for the grace instead.
    mutating func spareGivenUp() {
        let spared = givenUp
        guard !spared.isEmpty else { return }
        bounced.removeAll { $0.failure.reaction != nil }
        deferred += spared
        if kind == .outOfReach { kind = .failure }
    }

    /// Those that bounced are on the list of those that get nothing.
    ///
    /// - Parameter isSilent: nobody is told.
    mutating func holdBack(isSilent: Bool) {
        areHeldBack = true
        guard isSilent else { return }
        dropped += bounced
        bounced = []
    }

    /// A plugin or a reaction wants another delay.
    mutating func setDelay(_ milliseconds: Int64, by rule: WaitRule?) { (delay, self.rule) = (milliseconds, rule) }

    /// A plugin wants no report.
    mutating func suppressReports() { isSuppressed = true }

    /// The failure report could not be stored: its recipients are tried again, since a bounce without one would be a loss.
    mutating func withdrawBounces(after milliseconds: Int64) {
        if deferred.isEmpty || delay > milliseconds { delay = milliseconds }
        if !bounced.isEmpty, kind == .outOfReach { kind = .failure }
        deferred += bounced
        bounced = []
    }
}

extension Outcome {
    /// Deferred by somebody who could be reached.
    fileprivate var isDeferredByAnswer: Bool {
        if case .deferred(let failure) = self { !failure.isOutOfReach } else { false }
    }
}
