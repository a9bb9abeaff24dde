// MailQueue+Health.swift — what became of mail is counted for the address of ours that it was sent from.

package import Mail
import Metrics
import Synchronization

extension MailQueue {
    /// What a lane answered to a transaction, or to an opening: one answer to many recipients is one.
    ///
    /// Mail whose address the operating system chooses is counted nowhere.
    package func judge(_ outcomes: [Outcome?], from lane: Lane, at now: Uptime) {
        guard let source = lane.source, source.v4 != nil || source.v6 != nil, !lane.isPreparation else { return }
        var answers: [(answer: SourceRecord.Answer, failure: Failure?)] = []
        var isDelivered = false
        for outcome in outcomes.compactMap(\.self) {
            guard let failure = outcome.failure else {
                isDelivered = true
                continue
            }
            guard !answers.contains(where: { $0.failure?.reply == failure.reply }) else { continue }
            let kinds = reactor.withLock { $0.kinds }
            answers.append((SourceRecord.Answer(outcome, kinds: kinds(failure)), failure))
        }
        if isDelivered { answers.append((.delivered, nil)) }
        let isWorse = state.withLock { state in
            var isWorse = false
            for one in answers {
                let words = one.failure.map { "\($0.reply)" } ?? ""
                isWorse = state.scheduler.noteHealth(one.answer, words, from: lane, at: now) || isWorse
            }
            return isWorse
        }
        if isWorse { wakeDispatcher() }
    }

    /// How addresses of ours fare with each provider, those that are blocked first.
    ///
    /// - Returns: at most ``Scheduler/mostHealth``, and how many there are.
    package func sourceHealth(at now: Uptime) -> (items: [SourceHealth], total: Int) {
        state.withLock { $0.scheduler.healthReport(at: now) }
    }
}
