// MailQueue+Reports.swift — what the writer of reports asks.

package import Mail
import Synchronization

extension MailQueue {
    /// Whether the sender was told already that this message is late; there is only one such report.
    package func isDelayReported(_ id: QueueID) -> Bool {
        state.withLock { state in state.slot(of: id).flatMap { state[$0]?.delayReported } ?? true }
    }
}
