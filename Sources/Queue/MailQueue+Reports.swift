// MailQueue+Reports.swift — what others ask about a message or a lane.

package import Mail
import Synchronization

extension MailQueue {
    /// Whether the sender was told already that this message is late; there is only one such report.
    package func isDelayReported(_ id: QueueID) -> Bool {
        state.withLock { state in state.slot(of: id).flatMap { state[$0]?.delayReported } ?? true }
    }

    /// How things stand with a lane; nil: nothing is queued for it, and nobody goes there.
    package func report(on lane: Lane) -> LaneReport? { state.withLock { $0.scheduler.report(on: lane) } }
}
