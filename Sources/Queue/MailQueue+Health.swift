// MailQueue+Health.swift — what became of mail is counted for the address of ours that it was sent from.

package import Mail
import Metrics
import Synchronization

extension MailQueue {
    /// What a lane answered to a transaction, or to an opening: one answer to many recipients is one.
    ///
    /// Mail whose address the operating system chooses is counted nowhere.
    /// - Parameter isOpening: no session came to stand.
    package func judge(_ outcomes: [Outcome?], from lane: Lane, isOpening: Bool = false, at now: Uptime) {
        guard let source = lane.source, source.v4 != nil || source.v6 != nil, !lane.isPreparation else { return }
        let isDelivered = outcomes.contains { $0.map { $0.failure == nil } ?? false }
        let failures = failures(outcomes, isOpening: isOpening)
        let isWorse = state.withLock { state in
            if isDelivered { _ = state.scheduler.noteHealth(.delivered, "", from: lane, at: now) }
            var isWorse = false
            for one in failures {
                isWorse = state.scheduler.noteHealth(one.answer, "\(one.reply)", from: lane, at: now) || isWorse
            }
            return isWorse
        }
        if isWorse { wakeDispatcher() }
    }

    /// Each reply once; what was delivered costs nothing here.
    private func failures(
        _ outcomes: [Outcome?],
        isOpening: Bool
    ) -> [(answer: SourceRecord.Answer, reply: Reply)] {
        var failures: [(answer: SourceRecord.Answer, reply: Reply)] = []
        for case let outcome? in outcomes {
            guard let failure = outcome.failure, !failures.contains(where: { $0.reply == failure.reply }) else {
                continue
            }
            let kinds = reactor.withLock { $0.kinds }
            let answer = SourceRecord.Answer(outcome, kinds: kinds(failure), isOpening: isOpening)
            failures.append((answer, failure.reply))
        }
        return failures
    }

    /// How addresses of ours fare with each provider, those that are blocked first.
    ///
    /// - Returns: at most ``Scheduler/mostHealth``, and how many there are.
    package func sourceHealth(at now: Uptime) -> (items: [SourceHealth], total: Int) {
        state.withLock { $0.scheduler.healthReport(at: now) }
    }
}
