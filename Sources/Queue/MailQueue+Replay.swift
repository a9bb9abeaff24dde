// MailQueue+Replay.swift — a replay with the words and the sessions of the relay that runs.

package import Mail
import Synchronization

extension MailQueue {
    /// What rules would have made of attempts.
    ///
    /// - Parameter end: what has not left by then has not left.
    package func replay(_ reader: ReplayReader, under rules: LimitRules, until end: Timestamp) -> ReplayReport {
        let kinds = reactor.withLock { $0.kinds }
        let limits = state.withLock { $0.scheduler.limits }
        var replay = Replay(reader.attempts, reader.pauses, under: rules, limits, kinds: kinds)
        return replay.run(until: end)
    }
}
