// QueueState+Waiting.swift — what keeps a message from being delivered, put together for people: all of it but limits and pauses
// (`MailQueue+Destinations.swift`).

import Mail
import Storage

extension QueueState {
    /// Why a message is not being delivered, the most lasting reason first.
    func waitingReasons(of entry: MessageEntry, now: Uptime, wall: Timestamp) -> [WaitingReason] {
        var list = WaitingList(now: now, wall: wall, origins: options.origins)
        if entry.isHeld, let hold = holds[entry.id], hold.isDying {
            let words = hold.reason.isEmpty ? "it is to bounce then" : "it is to bounce then: \(hold.reason)"
            list.add(.dying, nil, until: hold.until, words, by: "bounce_grace", since: hold.since)
        } else if entry.isHeld, let hold = holds[entry.id] {
            list.add(.held, nil, until: hold.until, hold.sentence, by: "hold", in: Self.holdsOrigin, since: hold.since)
        }
        if options.isDisabled {
            let words = "delivery is switched off: disabled in outbound.ini"
            list.add(.disabled, nil, words, by: "disabled", since: disabledSince)
        }
        if leaseEnd < now {
            let words = "this relay may begin no delivery: its lease of the shared queue ran out"
            list.add(.lease, nil, words, by: "lease", in: "storage.ini", since: list.time(leaseEnd))
        }
        forEachParcel(of: entry) { ticket, parcel in add(ticket, parcel, of: entry, to: &list) }
        return list.reasons
    }

    /// Where holds stand: in the data directory, or in the table of that name.
    static let holdsOrigin = "queue/holds"

    private func add(_ ticket: Ticket, _ parcel: ParcelEntry, of entry: MessageEntry, to list: inout WaitingList) {
        let lane = scheduler.lane(of: ticket)
        let state = scheduler.state(of: ticket)
        let tried = Timestamp(milliseconds: Int64(parcel.attemptedAt) * 1000)
        let lastDone = max(entry.acceptedAt, tried)
        if let due = scheduler.due(ticket) {
            let words = "attempt \(parcel.attempts + 1) waits for its time"
            let until = list.time(due)
            let other = rules[ticket]
            let rule = other?.rule ?? "temp_fail_intervals"
            list.add(.retryTimer, lane, until: until, words, by: rule, in: other?.origin, since: lastDone)
        }
        guard state == .waiting || state == .tempFailed, let report = scheduler.report(on: lane) else { return }
        if let until = report.restsUntil {
            let since = scheduler.breaker(of: lane)?.since.map(list.time) ?? lastDone
            let words = "\(lane) could not be reached and is left alone until then"
            list.add(.laneRests, lane, until: list.time(until), words, by: "lane_rest_max", since: since)
        }
        guard state == .waiting else { return }
        let since = scheduler.readySince(ticket).map { max(lastDone, list.time($0)) } ?? lastDone
        if lane.isPreparation {
            let words = "plugins are to be asked where it goes, \(scheduler.preparing) others at the moment"
            list.add(.plugins, lane, words, by: "queue_outbound", in: "hooks.ini", since: since)
        } else if report.restsUntil == nil, report.sessions >= report.sessionLimit {
            let words = "\(lane) has \(report.sessions) sessions, \(Self.words(report.limitedBy))"
            list.add(.laneLimit, lane, words, by: Self.rule(report.limitedBy), since: since)
        } else if scheduler.sessions >= options.concurrencyMax {
            let words = "there are \(scheduler.sessions) sessions, as many as concurrency_max allows"
            list.add(.totalLimit, lane, words, by: "concurrency_max", since: since)
        } else if report.restsUntil == nil, !options.isDisabled {
            let words = "it waits for its turn in a session to \(lane)"
            list.add(.sessionSlot, lane, words, by: SessionLimit.perLane.rawValue, since: since)
        }
    }

    /// The key that a lane's number of sessions hangs on.
    private static func rule(_ limit: SessionLimit) -> String {
        switch limit {
        case .perLane, .grant, .unproven, .turnedAway: SessionLimit.perLane.rawValue
        case .unreachable: "lane_rest_max"
        }
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
}

extension Hold {
    /// For people.
    fileprivate var sentence: String {
        let end = until == nil ? "held until it is released" : "held until its time comes"
        return reason.isEmpty ? end : "\(end): \(reason)"
    }
}

/// Reasons, each once and not too many of them.
private struct WaitingList {
    let now: Uptime
    let wall: Timestamp
    let origins: [String: String]
    private(set) var reasons: [WaitingReason] = []

    init(now: Uptime, wall: Timestamp, origins: [String: String]) {
        (self.now, self.wall, self.origins) = (now, wall, origins)
    }

    func time(_ uptime: Uptime) -> Timestamp { wall.adding(milliseconds: uptime.milliseconds(since: now)) }

    /// - Parameter origin: nil: where the key `rule` of `outbound.ini` stands.
    mutating func add(
        _ code: WaitingReason.Code,
        _ lane: Lane?,
        until: Timestamp? = nil,
        _ text: String,
        by rule: String,
        in origin: String? = nil,
        since: Timestamp
    ) {
        let reason = WaitingReason(
            code: code,
            lane: lane,
            until: until,
            text: text,
            rule: rule,
            origin: origin ?? origins[rule] ?? "outbound.ini",
            since: min(since, wall)
        )
        if reasons.count < QueueRow.shown, !reasons.contains(reason) { reasons.append(reason) }
    }
}
