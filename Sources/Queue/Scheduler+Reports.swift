// Scheduler+Reports.swift — how things stand with lanes, for those who look.

package import Mail

/// How things stand with a lane.
package struct LaneReport: Hashable, Sendable {
    package let lane: Lane
    /// Parcels that name it.
    package let parcels: Int
    /// Those that are due.
    package let ready: Int
    package let inFlight: Int
    /// Those of messages that somebody holds back.
    package let held: Int
    /// Sessions, those being opened included.
    package let sessions: Int
    /// Sessions that it may have now.
    package let sessionLimit: Int
    /// Why not more.
    package let limitedBy: SessionLimit
    package let restsUntil: Uptime?
}

extension Scheduler {
    /// How things stand with a lane.
    package func report(on lane: Lane) -> LaneReport? {
        guard let number = laneIndex[lane] else { return nil }
        return report(number)
    }

    /// How things stand with the lanes of some numbers, for a walk through all of them.
    package func reports(from start: Int, count: Int) -> (reports: [LaneReport], isEnd: Bool) {
        let keys = lanes.keys(from: start, atMost: count)
        return (keys.filter { lanes[$0].members > 0 }.map { report($0) }, start + count >= lanes.count)
    }

    private func report(_ number: LaneNumber) -> LaneReport {
        let state = lanes[number]
        return LaneReport(
            lane: state.lane,
            parcels: state.members,
            ready: state.ready + state.parked,
            inFlight: state.inFlight,
            held: state.held,
            sessions: state.sessions,
            sessionLimit: state.rests > 0 ? 1 : state.allowed(limits.perLane),
            limitedBy: limit(of: state),
            restsUntil: state.restsUntil
        )
    }

    private func limit(of state: LaneState) -> SessionLimit {
        if state.rests > 0 { return .unreachable }
        if state.grant < min(limits.perLane, max(1, state.window)) { return .grant }
        if state.window >= limits.perLane { return .perLane }
        return state.window >= state.ceiling ? .turnedAway : .unproven
    }
}
