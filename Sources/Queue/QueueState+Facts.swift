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
                    state: scheduler.state(of: ticket),
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
            seen.insert(scheduler.state(of: ticket))
            attempts = max(attempts, parcel.attempts)
            if parcel.reply != 0, parcel.attemptedAt >= latest { (latest, reply) = (parcel.attemptedAt, parcel.reply) }
        }
        let state = [QueuedState.inProgress, .held, .waiting].first(where: seen.contains) ?? .tempFailed
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
                    state: .queued(scheduler.state(of: ticket)),
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

    /// Why a message is not being delivered, the most lasting reason first.
    func waitingReasons(of entry: MessageEntry, now: Uptime, wall: Timestamp) -> [WaitingReason] {
        var reasons: [WaitingReason] = []
        func add(_ code: WaitingReason.Code, _ lane: Lane?, _ until: Uptime?, _ text: String) {
            let until = until.map { wall.adding(milliseconds: $0.milliseconds(since: now)) }
            let reason = WaitingReason(code: code, lane: lane, until: until, text: text)
            if reasons.count < QueueRow.shown, !reasons.contains(reason) { reasons.append(reason) }
        }
        if entry.isHeld {
            let end = holds[entry.id]?.until.map { now.adding(milliseconds: $0.milliseconds(since: wall)) }
            add(.held, nil, end, holdText(entry.id))
        }
        if options.isDisabled { add(.disabled, nil, nil, "delivery is switched off: disabled in outbound.ini") }
        forEachParcel(of: entry) { ticket, parcel in
            let lane = scheduler.lane(of: ticket)
            let state = scheduler.state(of: ticket)
            if let due = scheduler.due(ticket) {
                add(.retryTimer, lane, due, "attempt \(parcel.attempts + 1) waits for its time")
            }
            guard state == .waiting || state == .tempFailed, let report = scheduler.report(on: lane) else { return }
            if let until = report.restsUntil {
                add(.laneRests, lane, until, "\(lane) could not be reached and is left alone until then")
            }
            guard state == .waiting else { return }
            if report.restsUntil == nil, report.sessions >= report.sessionLimit {
                let reason = Self.words(report.limitedBy)
                add(.laneLimit, lane, nil, "\(lane) has \(report.sessions) sessions, \(reason)")
            } else if scheduler.sessions >= options.concurrencyMax {
                add(
                    .totalLimit,
                    lane,
                    nil,
                    "there are \(scheduler.sessions) sessions, as many as concurrency_max allows"
                )
            } else if report.restsUntil == nil, !options.isDisabled {
                add(.sessionSlot, lane, nil, "it waits for its turn in a session to \(lane)")
            }
        }
        return reasons
    }

    private static func words(_ limit: SessionLimit) -> String {
        switch limit {
        case .perLane: "as many as concurrency_per_lane allows"
        case .grant: "as many as other nodes leave of concurrency_per_lane"
        case .unproven: "and gets more as it answers"
        case .turnedAway: "and takes no more at the moment"
        case .unreachable: "and is tried by one, since it could not be reached"
        }
    }

    private func holdText(_ id: QueueID) -> String {
        guard let hold = holds[id] else { return "held until it is released" }
        let end = hold.until == nil ? "held until it is released" : "held until its time comes"
        return hold.reason.isEmpty ? end : "\(end): \(hold.reason)"
    }
}
