// Settler+Suppression.swift — recipients that get nothing: they are taken out of a parcel before it is offered to anybody.

import Config
import History
import Intake
import Loop
import Mail
import Queue
import Suppression

extension Settler {
    /// Settles those of a parcel that are on the list; the others are due again at once, without them.
    ///
    /// - Returns: whether there were any: the parcel is not this session's any more.
    func suppress(_ assignment: Assignment) -> Bool {
        guard let list = suppressions, !list.isEmpty else { return false }
        let settings = settings.ask { $0.suppressions }
        guard settings.check != .off, !settings.passes(assignment.envelope.sender) else { return false }
        let now = Timestamp.now()
        var isAny = false
        let outcomes = assignment.parcel.recipients.map { index -> Outcome? in
            let recipient = assignment.envelope.recipients[Int(index)].address
            let envelope = assignment.envelope
            guard
                let reason = list.reason(for: recipient, from: envelope.sender, tag: envelope.notes.tag, at: now)
            else { return nil }
            isAny = true
            return .bounced(Failure(.recipient, at: .route, Intake.suppressed(reason)))
        }
        guard isAny else { return false }
        settle(assignment, outcomes, suppressing: settings.check)
        return true
    }
}
