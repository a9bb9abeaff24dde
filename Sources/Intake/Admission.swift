// Admission.swift — what becomes of a message that is handed in, and what is said of it: the same by every way in.

package import Mail
package import SMTP
package import Storage

/// The end of a message's way in.
package enum Admission: Hashable, Sendable {
    /// It is durable; `others`: the further messages of one that was split.
    case queued(QueueID, others: [QueueID] = [])
    /// A plugin has seen to it; nothing was queued.
    case taken(QueueID)
    case refused(Refusal)
}

/// Why a message was not taken, and what SMTP says then.
package struct Refusal: Error, Hashable, Sendable {
    package let reason: Rejection
    /// A reply of 4xx or 5xx with printable text.
    package let reply: Reply
    /// When it is worth trying again, where that is known.
    package var waits: Timestamp?
    /// It is more than a limit allows, or of a login that is parked.
    package var isLimit: Bool { reason == .limited }

    init(_ reason: Rejection, _ reply: Reply) { (self.reason, self.reply) = (reason, reply) }

    package init(_ reason: Rejection) {
        self.reason = reason
        reply = reason.answer
    }

    /// By a plugin, in its own words.
    init(byPlugin reply: Reply) {
        reason = .plugin
        self.reply = reply
    }

    /// By a milter, in its own words.
    init(byMilter reply: Reply) {
        reason = .milter
        self.reply = reply
    }

    /// Because it is no report.
    init(unreported sentence: String) {
        reason = .report
        reply = Reply(550, EnhancedStatus(5, 7, 1), sentence)
    }

    /// By a section of the route table, in its words.
    init(byRoute reply: Reply) {
        reason = .route
        self.reply = reply
    }

    /// The one place where trouble with storage becomes an answer.
    package init(because error: QueueError) {
        self.init(Rejection(error))
    }
}

extension Rejection {
    init(_ error: QueueError) {
        self =
            switch error {
            case .full: .noRoom
            case .closing: .closing
            case .broken, .damaged, .locked: .storageFailed
            }
    }
}
