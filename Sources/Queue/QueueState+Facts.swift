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
        func time(_ uptime: Uptime?) -> Timestamp? {
            uptime.map { wall.adding(milliseconds: $0.milliseconds(since: now)) }
        }
        func add(
            _ code: WaitingReason.Code,
            _ lane: Lane?,
            _ until: Uptime?,
            _ text: String,
            by rule: String? = nil,
            since: Timestamp? = nil
        ) {
            var reason = WaitingReason(code: code, lane: lane, until: time(until), text: text)
            (reason.rule, reason.since) = (rule, since)
            if rule != nil, code != .held { reason.origin = "outbound.ini" }
            if reasons.count < QueueRow.shown, !reasons.contains(reason) { reasons.append(reason) }
        }
        if entry.isHeld {
            let end = holds[entry.id]?.until.map { now.adding(milliseconds: $0.milliseconds(since: wall)) }
            add(.held, nil, end, holdText(entry.id), by: "hold", since: holds[entry.id]?.since)
        }
        if options.isDisabled {
            add(.disabled, nil, nil, "delivery is switched off: disabled in outbound.ini", by: "disabled")
        }
        forEachParcel(of: entry) { ticket, parcel in
            let lane = scheduler.lane(of: ticket)
            let state = scheduler.state(of: ticket)
            if let due = scheduler.due(ticket) {
                let words = "attempt \(parcel.attempts + 1) waits for its time"
                let tried = Timestamp(milliseconds: Int64(parcel.attemptedAt) * 1000)
                let since = parcel.attemptedAt == 0 ? nil : tried
                add(.retryTimer, lane, due, words, by: "temp_fail_intervals", since: since)
            }
            guard state == .waiting || state == .tempFailed, let report = scheduler.report(on: lane) else { return }
            if let until = report.restsUntil {
                let words = "\(lane) could not be reached and is left alone until then"
                add(
                    .laneRests,
                    lane,
                    until,
                    words,
                    by: "lane_rest_max",
                    since: time(scheduler.breaker(of: lane)?.since)
                )
            }
            guard state == .waiting else { return }
            if report.restsUntil == nil, report.sessions >= report.sessionLimit {
                let reason = Self.words(report.limitedBy)
                let rule = report.limitedBy == .perLane ? report.limitedBy.rawValue : nil
                add(.laneLimit, lane, nil, "\(lane) has \(report.sessions) sessions, \(reason)", by: rule)
            } else if scheduler.sessions >= options.concurrencyMax {
                let words = "there are \(scheduler.sessions) sessions, as many as concurrency_max allows"
                add(.totalLimit, lane, nil, words, by: "concurrency_max")
            } else if report.restsUntil == nil, !options.isDisabled {
                add(.sessionSlot, lane, nil, "it waits for its turn in a session to \(lane)")
            }
        }
        return reasons
    }

    private static func words(_ limit: SessionLimit) -> String {
        switch limit {
        case .perLane: "as many as concurrency_per_lane allows"
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
