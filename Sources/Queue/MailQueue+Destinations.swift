// MailQueue+Destinations.swift — one next hop, whole: what waits for it, its limits and pauses, its breaker.

package import Mail
import Storage
import Synchronization

/// A next hop as people look at it.
package struct DestinationReport: Hashable, Sendable {
    package let lane: Lane
    /// nil: nothing is bound for it now.
    package let report: LaneReport?
    package let breaker: LaneBreaker?
    package let standing: Standing
    /// The pool that its address is of.
    package let pool: PoolStanding?
    /// When the last message that is due now may be through, as far as limits tell; nil: nobody knows.
    package let estimatedEnd: Uptime?
}

extension MailQueue {
    /// Next hops looked at under one lock.
    private static let lanesAtOnce = 1024

    /// Lanes with that name: they differ in where mail leaves from and in the protection that it demands.
    ///
    /// - Parameter usual: the lane that is told of where there is none.
    package func destinations(named name: String, usual: Lane, at now: Uptime) -> [DestinationReport] {
        var lanes: [Lane] = []
        var start = 0
        while true {
            let (reports, isEnd) = state.withLock { $0.scheduler.reports(from: start, count: Self.lanesAtOnce) }
            lanes += reports.map(\.lane).filter { !$0.isPreparation && $0.name.isSame(octets: name) }
            if isEnd { break }
            start += Self.lanesAtOnce
        }
        if lanes.isEmpty { lanes = [usual] }
        return lanes.map { destination($0, at: now) }
    }

    /// One next hop.
    ///
    /// - Parameter hosts: where it leads, where that is known better than here.
    package func destination(_ lane: Lane, hosts: [String]? = nil, at now: Uptime) -> DestinationReport {
        state.withLock { state in
            let scheduler = state.scheduler
            let report = scheduler.report(on: lane)
            let standing = scheduler.standing(of: scheduler.scopes(of: lane, hosts: hosts), at: now)
            return DestinationReport(
                lane: lane,
                report: report,
                breaker: scheduler.breaker(of: lane),
                standing: standing,
                pool: scheduler.poolStanding(of: lane, hosts: hosts, at: now),
                estimatedEnd: report.flatMap { scheduler.end(of: $0.ready, standing, at: now) }
            )
        }
    }

    /// What limits and pauses say of mail to some recipients.
    package func standing(
        of envelope: Envelope,
        to recipients: [EmailAddress],
        in lane: Lane,
        hosts: [String],
        at now: Uptime
    ) -> Standing {
        state.withLock { state in
            let scopes =
                state.scheduler.scopes(of: lane, hosts: hosts)
                + state.scheduler.scopes(of: envelope, to: recipients, in: lane)
            return state.scheduler.standing(of: scopes, at: now)
        }
    }

    /// How a pool stands for a next hop with those hosts; nil: the lane is of none.
    package func poolStanding(of lane: Lane, hosts: [String], at now: Uptime) -> PoolStanding? {
        state.withLock { $0.scheduler.poolStanding(of: lane, hosts: hosts, at: now) }
    }

    /// Forgets what a scope has used of its limits.
    ///
    /// - Returns: false when nothing was counted there.
    package func resetUse(of scope: LimitScope, at now: Uptime) -> Bool {
        defer { wakeDispatcher() }
        return state.withLock { $0.scheduler.resetUse(of: scope, at: now) }
    }

    /// Closes the breaker of lanes of that name.
    ///
    /// - Returns: how many there were.
    package func reset(named name: String, at now: Uptime) -> Int {
        let lanes = destinations(named: name, usual: .route(name), at: now).map(\.lane)
        let count = state.withLock { state in lanes.count { state.scheduler.reset($0) } }
        wakeDispatcher()
        return count
    }
}

extension Scheduler {
    /// When so many messages may be through; nil where no rate says.
    func end(of count: Int, _ standing: Standing, at now: Uptime) -> Uptime? {
        guard standing.pauses.allSatisfy({ $0.until != nil }) else { return nil }
        let pauses = standing.pauses.compactMap { $0.until.map(book.uptime) }
        let begin = ([now] + pauses + [standing.keeps?.opens].compactMap(\.self)).max() ?? now
        let intervals = standing.limits.filter { $0.key == .rate && $0.applies }
            .compactMap { book.terms(for: $0.scope)?.rate?.interval }
        guard count > 0 else { return begin }
        guard let interval = intervals.max() else { return begin == now ? nil : begin }
        return begin.adding(milliseconds: Int64(count - 1) * interval / 1000)
    }
}

extension QueueState {
    /// What limits and pauses have to do with the waiting of a message.
    ///
    /// - Returns: the reasons, and when its last parcel may leave, as far as that is known.
    func limitReasons(
        of entry: MessageEntry,
        _ envelope: Envelope,
        now: Uptime,
        wall: Timestamp
    ) -> (reasons: [WaitingReason], estimate: Timestamp?) {
        var reasons: [WaitingReason] = []
        var estimate: Uptime? = now
        func time(_ uptime: Uptime?) -> Timestamp? {
            uptime.map { wall.adding(milliseconds: $0.milliseconds(since: now)) }
        }
        forEachParcel(of: entry) { ticket, _ in
            let state = scheduler.state(of: ticket)
            guard state == .waiting || state == .tempFailed else { return }
            let lane = scheduler.lane(of: ticket)
            let addresses = recipients(of: ticket).map { envelope.recipients[Int($0)].address }
            let scopes =
                (lane.isPreparation ? [] : scheduler.scopes(of: lane))
                + scheduler.scopes(of: envelope, to: addresses, in: lane)
            let standing = scheduler.standing(of: scopes, at: now)
            for pause in standing.pauses {
                reasons.append(
                    WaitingReason(
                        code: .paused,
                        lane: lane,
                        until: pause.until,
                        text: "\(pause.scope) is \(pause.words)",
                        rule: "pause \(pause.scope)",
                        origin: pause.origin ?? "pauses",
                        since: pause.since
                    )
                )
            }
            let limits = [
                (standing.keeps, "lets the next one on then"),
                (standing.keepsSession, "allows no further session now"),
            ]
            for case (let limit?, let effect) in limits where state == .waiting {
                reasons.append(
                    WaitingReason(
                        code: .limit,
                        lane: lane,
                        until: time(limit.opens),
                        text: "\(limit.words) \(effect)",
                        rule: "\(limit.key.rawValue) \(limit.text) of \(limit.scope)",
                        origin: limit.origin,
                        since: time(limit.since) ?? entry.acceptedAt
                    )
                )
            }
            let ahead = scheduler.position(of: ticket).map { $0 + 1 } ?? 0
            let end = scheduler.due(ticket) ?? scheduler.end(of: ahead, standing, at: now)
            let isKnown = state == .tempFailed || ahead > 0 && standing.pauses.allSatisfy { $0.until != nil }
            estimate = isKnown ? estimate.flatMap { known in end.map { max(known, $0) } } : nil
        }
        var seen: Set<WaitingReason> = []
        reasons = reasons.filter { seen.insert($0).inserted }
        if entry.isHeld && holds[entry.id]?.until == nil || options.isDisabled { estimate = nil }
        return (Array(reasons.prefix(QueueRow.shown)), estimate == now ? nil : time(estimate))
    }
}
