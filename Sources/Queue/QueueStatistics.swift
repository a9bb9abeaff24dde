// QueueStatistics.swift — the queue in numbers. Counts cost the same whatever the queue holds; what needs a walk through the
// index (ages, destinations) is surveyed at most once in a while, in short slices of the lock, and shared by all who ask.

package import Mail
import Storage
import Synchronization

/// The queue in numbers.
package struct QueueStatistics: Sendable {
    /// A destination by what waits for it.
    package struct Destination: Hashable, Sendable {
        package let lane: Lane
        package let parcels: Int
        package let ready: Int
        package let inFlight: Int
        package let sessions: Int
        /// Sessions that it may have now.
        package let sessionLimit: Int
        /// Why not more.
        package let limitedBy: SessionLimit
        /// Left alone until then, because it could not be reached.
        package let restsUntil: Timestamp?
    }

    package let counts: QueueCounts
    /// Prologues and bodies of all messages, in bytes.
    package let bytes: Int
    /// The same by state, as the last survey found it.
    package let bytesByState: [QueuedState: Int]
    package let traffic: Traffic
    /// Seconds since the oldest message of each state was accepted; a state without messages is left out.
    package let oldest: [QueuedState: Int64]
    /// Messages by age: up to 5, 10, 20, 40, 80, 160, 320, 640, 1280 minutes, and older ones.
    package let ages: [Int]
    /// Parcels by route, as metrics call it; a route that had some once keeps its name.
    package let parcelsByRoute: [String: Int]
    /// Those with most parcels, at most ``QueueSurvey/mostDestinations``.
    package let destinations: [Destination]
    /// Lanes with mail.
    package let destinationCount: Int
    package let isDisabled: Bool
    package let memoryForMail: Int
    package let freeBytes: Int?
}

/// What a walk through the index found.
package struct QueueSurvey: Sendable {
    /// Destinations that are named.
    package static let mostDestinations = 100
    /// The upper bounds of the age classes, in seconds.
    package static let ageBounds: [Int64] = (0..<9).map { 300 << $0 }
    /// Routes with a name of their own; the rest is `other`.
    private static let mostRoutes = 20
    /// Milliseconds that a survey is good for, at least: one that took long is good for longer, so that it takes a fiftieth
    /// of a processor whatever is queued.
    static let life: Int64 = 5000
    private static let lifePerCost: Int64 = 50

    /// Milliseconds that the walk took.
    var cost: Int64 = 0
    var life: Int64 { max(Self.life, Self.lifePerCost * cost) }

    var at = Uptime(milliseconds: .min / 2)
    var oldest: [QueuedState: Timestamp] = [:]
    var bytes: [QueuedState: Int] = [:]
    /// Those that every relay has are there from the start.
    var parcelsByRoute = ["dns": 0, "*": 0]
    var ages = Array(repeating: 0, count: Self.ageBounds.count + 1)
    var lanes: [LaneReport] = []
    var laneCount = 0

    /// A survey that knows the routes of the last one, or a line in a diagram would end where it should fall to zero.
    init(after last: QueueSurvey? = nil) {
        if let last { parcelsByRoute = last.parcelsByRoute.mapValues { _ in 0 } }
    }

    mutating func count(_ report: LaneReport) {
        let label = report.lane.metricLabel
        let isKnown = parcelsByRoute[label] != nil || parcelsByRoute.count < Self.mostRoutes
        parcelsByRoute[isKnown ? label : "other", default: 0] += report.parcels
    }
}

extension QueueStatistics {
    /// The age, in seconds, that so many in a hundred messages do not pass: the end of its class, or the oldest's.
    package func age(ofHundred share: Int) -> Int64 {
        let total = ages.reduce(0, +)
        guard total > 0 else { return 0 }
        let eldest = oldest.values.max() ?? 0
        var count = 0
        for (index, members) in ages.enumerated() {
            count += members
            guard count * 100 < total * share else {
                return index < QueueSurvey.ageBounds.count ? min(QueueSurvey.ageBounds[index], eldest) : eldest
            }
        }
        return eldest
    }
}

extension MailQueue {
    /// The queue in numbers.
    ///
    /// Blocks, for a few milliseconds when the last survey is old.
    package func statistics(at now: Uptime = .now(), wall: Timestamp = .now()) -> QueueStatistics {
        let survey = currentSurvey(now, wall)
        let freeBytes = store.freeBytes
        return state.withLock { state in
            QueueStatistics(
                counts: counts(of: state),
                bytes: state.bytes,
                bytesByState: survey.bytes,
                traffic: state.traffic,
                oldest: survey.oldest.mapValues { max(0, wall.milliseconds(since: $0)) / 1000 },
                ages: survey.ages,
                parcelsByRoute: survey.parcelsByRoute,
                destinations: survey.lanes.map { report in
                    QueueStatistics.Destination(
                        lane: report.lane,
                        parcels: report.parcels,
                        ready: report.ready,
                        inFlight: report.inFlight,
                        sessions: report.sessions,
                        sessionLimit: report.sessionLimit,
                        limitedBy: report.limitedBy,
                        restsUntil: report.restsUntil.map {
                            wall.adding(milliseconds: $0.milliseconds(since: now))
                        }
                    )
                },
                destinationCount: survey.laneCount,
                isDisabled: state.options.isDisabled,
                memoryForMail: memory.used,
                freeBytes: freeBytes
            )
        }
    }

    private func currentSurvey(_ now: Uptime, _ wall: Timestamp) -> QueueSurvey {
        let last = survey.withLock { $0 }
        guard now.milliseconds(since: last.at) >= last.life else { return last }
        let began = Uptime.now()
        var fresh = makeSurvey(after: last, now, wall)
        fresh.cost = Uptime.now().milliseconds(since: began)
        survey.withLock { [fresh] in $0 = fresh }
        return fresh
    }

    private func makeSurvey(after last: QueueSurvey, _ now: Uptime, _ wall: Timestamp) -> QueueSurvey {
        var result = QueueSurvey(after: last)
        result.at = now
        walk(QueueFilter(), now: now, wall: wall) { state, slot in
            state[slot].map { (state: state.worst(of: $0), at: $0.acceptedAt, size: $0.size) }
        } visit: { messages in
            for message in messages {
                result.oldest[message.state] = result.oldest[message.state].map { min($0, message.at) } ?? message.at
                result.bytes[message.state, default: 0] += message.size
                let age = max(0, wall.milliseconds(since: message.at)) / 1000
                result.ages[QueueSurvey.ageBounds.firstIndex { age <= $0 } ?? QueueSurvey.ageBounds.count] += 1
            }
            return true
        }
        var start = 0
        while true {
            let (reports, isEnd) = state.withLock { $0.scheduler.reports(from: start, count: 1024) }
            result.laneCount += reports.count
            for report in reports { result.count(report) }
            result.lanes += reports
            if result.lanes.count > 8 * QueueSurvey.mostDestinations || isEnd {
                result.lanes.sort { $0.parcels > $1.parcels }
                result.lanes = Array(result.lanes.prefix(QueueSurvey.mostDestinations))
            }
            if isEnd { return result }
            start += 1024
        }
    }

    func counts(of state: borrowing QueueState) -> QueueCounts {
        QueueCounts(
            inProgress: state.scheduler.inFlightCount,
            waiting: state.scheduler.readyCount + state.scheduler.parkedCount,
            tempFailed: state.scheduler.waitingCount,
            held: state.scheduler.heldCount,
            dying: state.holds.dyingCount,
            messages: state.messageCount
        )
    }
}

extension QueueState {
    /// The state of a message: that of its parcel that is furthest.
    fileprivate func worst(of entry: MessageEntry) -> QueuedState {
        var found = QueuedState.tempFailed
        forEachParcel(of: entry) { ticket, _ in
            let state = self.state(of: ticket, entry)
            if Self.rank(state) < Self.rank(found) { found = state }
        }
        return found
    }

    private static func rank(_ state: QueuedState) -> Int {
        switch state {
        case .inProgress: 0
        case .held, .dying: 1
        case .waiting: 2
        case .tempFailed: 3
        }
    }
}
