// Scheduler+Rests.swift — a lane that cannot be reached is left alone, longer each time, and then tried by one session.

import HeapModule
package import Mail

extension Scheduler {
    /// An unreachable lane rests at least this long, whatever becomes due meanwhile: one second.
    private static let shortestRest: Int64 = 1000

    /// The lane could not be reached and is left alone for now.
    package func isResting(_ lane: Lane) -> Bool { laneIndex[lane].map { lanes[$0].restsUntil != nil } ?? false }

    /// A parcel's lane is left alone for now.
    func isResting(_ ticket: Ticket) -> Bool { lanes[tickets[ticket].lane].restsUntil != nil }

    /// The lane could not be reached: no new session for a second, then two, four … up to the limit, or until one of
    /// its parcels becomes due again (but at least a second).
    ///
    /// After that one session at a time tries, each for half a minute before it is another's turn as well.
    /// - Parameter said: what it said, or what was found; nil: what is known of it stays.
    package mutating func rest(_ lane: Lane, because said: String? = nil, at now: Uptime) {
        guard let number = laneIndex[lane] else { return }
        if let said { lanes[number].trouble = said.cut(octets: 512) }
        // Openings that failed together are one failure.
        if let end = lanes[number].restsUntil, end > now { return }
        let power = min(lanes[number].rests, 20)
        let length = min(max(limits.longestRest, Self.shortestRest), Self.shortestRest << Int64(power))
        if lanes[number].rests == 0 { lanes[number].restsSince = now }
        lanes[number].rests += 1
        lanes[number].isProven = false
        lanes[number].window = min(lanes[number].window, LaneState.firstWindow)
        lanes[number].mayProbe = now.adding(milliseconds: Self.shortestRest)
        setRest(number, until: now.adding(milliseconds: length))
    }

    /// The first of the rests and probes is over.
    mutating func endRest(at now: Uptime) {
        guard let timer = restTimers.popMin(), lanes[timer.lane].stamp == timer.stamp, timer.due <= now else {
            return
        }
        lanes[timer.lane].restsUntil = nil
        lanes[timer.lane].probesUntil = nil
        refresh(timer.lane)
    }

    /// A parcel of a resting lane has waited its own time: the lane may try, once the shortest rest is over.
    mutating func endRestEarly(_ number: LaneNumber, at now: Uptime) {
        guard let end = lanes[number].restsUntil, let probe = lanes[number].mayProbe, probe < end else {
            return
        }
        setRest(number, until: max(now, probe))
    }

    private mutating func setRest(_ number: LaneNumber, until end: Uptime) {
        lanes[number].restsUntil = end
        lanes[number].probesUntil = nil
        startTimer(number, until: end)
        refresh(number)
    }

    /// One session tries alone.
    mutating func startProbe(_ number: LaneNumber, at now: Uptime) {
        let end = now.adding(milliseconds: Self.probePatience)
        lanes[number].probesUntil = end
        startTimer(number, until: end)
    }

    /// The end of a lane's rest or of its probe: it has one of them at a time, and the newest timer counts.
    private mutating func startTimer(_ number: LaneNumber, until end: Uptime) {
        stamps &+= 1
        lanes[number].stamp = stamps
        restTimers.insert(RestTimer(due: end, lane: number, stamp: lanes[number].stamp))
    }
}

/// The end of a rest or of a probe.
struct RestTimer: Comparable, Sendable {
    let due: Uptime
    let lane: LaneNumber
    let stamp: UInt32

    static func < (a: RestTimer, b: RestTimer) -> Bool { a.due < b.due }
}
