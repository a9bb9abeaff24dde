// SignalTimetable.swift — when the main thread has what to do: pure, so that a storm of SIGHUP can be tried without one.

/// Housekeeping once a second, and SIGHUPs that melt.
///
/// Times are milliseconds on a clock that never goes back.
struct SignalTimetable {
    /// Between two answers to SIGHUP; those in between wait and melt into one.
    static let hangUpPause: Int64 = 200
    static let tickPause: Int64 = 1000

    private var nextTick: Int64
    private var nextHangUp: Int64
    private var owesHangUp = false

    init(now: Int64) { (nextTick, nextHangUp) = (now, now) }

    /// A SIGHUP came.
    mutating func hangUpCame() { owesHangUp = true }

    /// Whether SIGHUP is to be answered now.
    mutating func takeHangUp(at now: Int64) -> Bool {
        guard owesHangUp, now >= nextHangUp else { return false }
        owesHangUp = false
        return true
    }

    /// SIGHUP was answered: the pause begins when that was done, however long it took.
    mutating func hangUpAnswered(at now: Int64) { nextHangUp = now + Self.hangUpPause }

    /// Whether housekeeping is due; seconds that were missed are not made up for.
    mutating func takeTick(at now: Int64) -> Bool {
        guard now >= nextTick else { return false }
        nextTick = max(nextTick + Self.tickPause, now)
        return true
    }

    /// How long to wait for the next signal.
    func pause(at now: Int64) -> Int64 {
        max(0, (owesHangUp ? min(nextTick, nextHangUp) : nextTick) - now)
    }
}
