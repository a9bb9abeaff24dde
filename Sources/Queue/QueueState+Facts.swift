// QueueState+Facts.swift — what the index knows of a message, put together for those who look.

import Mail
import Storage

extension MessageReport {
    /// What the index knows of one recipient.
    struct RecipientFacts: Sendable {
        var state = RecipientReport.State.queued(.waiting)
        var lane: Lane?
        var attempts = 0
        var due: Uptime?
        var attemptedAt: UInt32 = 0
        var reply: LastReply?

        func report(on recipient: Recipient, now: Uptime, wall: Timestamp) -> RecipientReport {
            RecipientReport(
                recipient: recipient,
                state: state,
                lane: lane,
                attempts: attempts,
                nextAttempt: due.map { wall.adding(milliseconds: $0.milliseconds(since: now)) },
                lastAttempt: attemptedAt == 0 ? nil : Timestamp(milliseconds: Int64(attemptedAt) * 1000),
                reply: reply
            )
        }
    }
}

extension QueueState {
    /// Whether a message satisfies what a filter asks of the index.
    func accepts(_ entry: MessageEntry, _ filter: PreparedFilter) -> Bool {
        guard filter.accepts(acceptedAt: entry.acceptedAt) else { return false }
        guard filter.looksAtParcels else { return true }
        var isAccepted = false
        forEachParcel(of: entry) { ticket, parcel in
            isAccepted =
                isAccepted
                || filter.accepts(
                    state: state(of: ticket, entry),
                    failures: parcel.attempts,
                    reply: parcel.reply,
                    due: scheduler.due(ticket),
                    lane: { scheduler.lane(of: ticket) }
                )
        }
        return isAccepted
    }

    /// When the first of its waiting parcels is due; nil when one is due already.
    func nextDue(of entry: MessageEntry) -> Uptime? {
        var next: Uptime?
        var isDue = false
        forEachParcel(of: entry) { ticket, _ in
            guard let due = scheduler.due(ticket) else {
                isDue = true
                return
            }
            next = next.map { min($0, due) } ?? due
        }
        return isDue ? nil : next
    }

    /// - Parameter lanes: how many to name.
    func facts(of slot: Slot, lanes most: Int = QueueRow.shown) -> RowFacts? {
        guard let entry = self[slot] else { return nil }
        var lanes: [Lane] = []
        var seen: Set<QueuedState> = []
        var attempts = 0
        var (latest, reply): (UInt32, ReplyPool.Number) = (0, 0)
        forEachParcel(of: entry) { ticket, parcel in
            let lane = scheduler.lane(of: ticket)
            if lanes.count < most, !lanes.contains(lane) { lanes.append(lane) }
            seen.insert(self.state(of: ticket, entry))
            attempts = max(attempts, parcel.attempts)
            if parcel.reply != 0, parcel.attemptedAt >= latest { (latest, reply) = (parcel.attemptedAt, parcel.reply) }
        }
        let state = [QueuedState.inProgress, .dying, .held, .waiting].first(where: seen.contains) ?? .tempFailed
        return RowFacts(
            entry: entry,
            state: state,
            attempts: attempts,
            due: nextDue(of: entry),
            attemptedAt: latest,
            lanes: lanes,
            reply: replies[reply],
            hold: entry.isHeld ? holds[entry.id] : nil
        )
    }

    func recipientFacts(of entry: MessageEntry) -> [MessageReport.RecipientFacts] {
        var facts = Array(repeating: MessageReport.RecipientFacts(), count: Int(entry.recipientCount))
        let progress = slot(of: entry.id).map { self.progress(of: $0) } ?? Progress()
        for recipient in progress.done where Int(recipient) < facts.count { facts[Int(recipient)].state = .delivered }
        for recipient in progress.bounced where Int(recipient) < facts.count { facts[Int(recipient)].state = .bounced }
        forEachParcel(of: entry) { ticket, parcel in
            for recipient in recipients(of: ticket) where Int(recipient) < facts.count {
                facts[Int(recipient)] = MessageReport.RecipientFacts(
                    state: .queued(state(of: ticket, entry)),
                    lane: scheduler.lane(of: ticket),
                    attempts: parcel.attempts,
                    due: scheduler.due(ticket),
                    attemptedAt: parcel.attemptedAt,
                    reply: reply(to: recipient, of: ticket)
                )
            }
        }
        return facts
    }
}
