// Scheduler+Load.swift — how many sessions a lane has earned: it grows with answers and shrinks when the peer says so.
//
// The window doubles while messages are answered, up to where the lane was turned away before; from there on it grows by one
// session each ten seconds, longer after each refusal in a row.

package import Mail

extension Scheduler {
    /// Milliseconds after a refusal until one session more is tried.
    private static let climbPause: Int64 = 10_000
    /// Refusals within this many milliseconds are one: they met sessions that were there together.
    private static let oneRefusal: Int64 = 1000
    /// Milliseconds for which an answer shows that a lane delivers.
    private static let answerLife: Int64 = 60_000
    /// A message that takes longer, in milliseconds, makes its lane slow.
    private static let slowness: Int64 = 1000
    /// Sessions without a message that make somebody look.
    static let mostFruitless = 20

    /// The next hop answered to a parcel in flight, with whatever was no word about load.
    ///
    /// - Parameter isFinal: it took or refused it for good, so that the lane may have more sessions.
    package mutating func answered(_ ticket: Ticket, isFinal: Bool, at now: Uptime) {
        let took = now.milliseconds(since: tickets[ticket].due)
        answered(tickets[ticket].lane, isFinal: isFinal, took: took, at: now)
    }

    mutating func answered(_ number: LaneNumber, isFinal: Bool, took: Int64, at now: Uptime) {
        let (ring, window) = (lanes[number].slotClass, lanes[number].window)
        let wasTold = lanes[number].isProven && lanes[number].probesUntil == nil
        lanes[number].rests = 0
        lanes[number].probesUntil = nil
        lanes[number].isProven = true
        lanes[number].isSlow = took > Self.slowness
        lanes[number].answeredAt = now
        if isFinal { grow(number, at: now) }
        // Most answers say nothing new of the lane.
        guard !wasTold || ring != lanes[number].slotClass || window != lanes[number].window else { return }
        refresh(number)
    }

    private mutating func grow(_ number: LaneNumber, at now: Uptime) {
        guard lanes[number].window < limits.perLane else { return }
        if lanes[number].window < lanes[number].ceiling {
            lanes[number].window += 1
        } else if lanes[number].climbsAt <= now {
            lanes[number].window += 1
            lanes[number].ceiling = lanes[number].window
            lanes[number].refusals = max(0, lanes[number].refusals - 1)
            lanes[number].climbsAt = now.adding(milliseconds: Self.climbPause << lanes[number].refusals)
        }
    }

    /// A session that stood was turned away for load: 421 to a command, or what means the same.
    ///
    /// - Returns: whether the lane delivers all the same; then it has fewer sessions now, or rests a little, and the message
    ///   is due again. Else it cannot be reached at the moment.
    package mutating func turnedAway(_ lane: Lane, at now: Uptime) -> Bool {
        guard let number = laneIndex[lane] else { return false }
        if lanes[number].restsUntil != nil { return true }
        guard let answered = lanes[number].answeredAt, now.milliseconds(since: answered) < Self.answerLife else {
            return false
        }
        if lanes[number].standing > 1 {
            shrink(number, to: lanes[number].standing / 2, at: now)
            return true
        }
        // Refused again without an answer in between, it is no passing matter.
        if let refused = lanes[number].refusedAt, refused >= answered { return false }
        shrink(number, to: 1, at: now)
        rest(lane, at: now)
        return true
    }

    /// A session did not come to stand while the lane has others, or others that are on their way: no further one is tried for
    /// a while.
    ///
    /// - Returns: false when there is no other; then nothing has changed.
    package mutating func surplusRefused(_ lane: Lane, at now: Uptime) -> Bool {
        guard let number = laneIndex[lane], lanes[number].sessions > 0 else { return false }
        if lanes[number].standing > 0 {
            shrink(number, to: lanes[number].standing, at: now)
        } else {
            rest(lane, at: now)
        }
        return true
    }

    private mutating func shrink(_ number: LaneNumber, to sessions: Int, at now: Uptime) {
        if let last = lanes[number].refusedAt, now.milliseconds(since: last) < Self.oneRefusal { return }
        lanes[number].refusedAt = now
        lanes[number].window = max(1, min(lanes[number].window, sessions))
        lanes[number].ceiling = lanes[number].window
        lanes[number].climbsAt = now.adding(milliseconds: Self.climbPause << lanes[number].refusals)
        lanes[number].refusals = min(5, lanes[number].refusals + 1)
        trims = true
        refresh(number)
    }
}
