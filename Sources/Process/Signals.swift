// Signals.swift — signals as calls on the main thread, which has nothing else to do.
//
// The signals are blocked everywhere and waited for in one place, so no handler ever interrupts other code. Those that
// come while one is handled melt into one, and a storm of SIGHUP is served a few times a second (reliability C7).

import Glibc

/// The signals of a daemon.
///
/// Make it before the first thread.
package struct Signals: Sendable {
    /// Why the relay should stop.
    package enum Stop: String, Sendable {
        case terminate = "SIGTERM"
        case interrupt = "SIGINT"
        /// Housekeeping asked for it.
        case own = "own decision"
    }

    package init() {
        signal(SIGPIPE, SIG_IGN)
        var set = Self.set([SIGTERM, SIGINT, SIGHUP])
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// Waits on this thread until the relay should stop.
    ///
    /// - Parameters:
    ///   - hangUp: called for SIGHUP.
    ///   - everySecond: housekeeping; false ends the wait.
    package func wait(hangUp: () -> Void, everySecond: () -> Bool) -> Stop {
        var timetable = SignalTimetable(now: Self.now())
        while true {
            if timetable.takeHangUp(at: Self.now()) {
                hangUp()
                timetable.hangUpAnswered(at: Self.now())
            }
            if timetable.takeTick(at: Self.now()), !everySecond() { return .own }
            // Also after a second that took longer than one: signals are looked at every time.
            switch Self.next(within: timetable.pause(at: Self.now())) {
            case SIGTERM: return .terminate
            case SIGINT: return .interrupt
            case SIGHUP: timetable.hangUpCame()
            default: break
            }
        }
    }

    /// The next signal, or -1 after so many milliseconds.
    private static func next(within milliseconds: Int64) -> Int32 {
        var set = set([SIGTERM, SIGINT, SIGHUP])
        var span = timespec(tv_sec: Int(milliseconds / 1000), tv_nsec: Int(milliseconds % 1000) * 1_000_000)
        return sigtimedwait(&set, nil, &span)
    }

    private static func set(_ signals: [Int32]) -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        return set
    }

    private static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
