// Signals.swift — signals as calls on the main thread, which has nothing else to do.
//
// The signals are blocked everywhere and waited for in one place, so no handler ever interrupts other code. Those that
// come while one is handled melt into one, and a storm of SIGHUP is served a few times a second (reliability C7).

import Glibc

/// The signals of a daemon.
///
/// Make it before the first thread.
struct Signals {
    /// Milliseconds between two answers to SIGHUP; those in between wait and melt into one.
    private static let hangUpPause: Int64 = 200

    /// Why the relay should stop.
    enum Stop: String {
        case terminate = "SIGTERM"
        case interrupt = "SIGINT"
        /// Housekeeping asked for it.
        case own = "own decision"
    }

    init() {
        signal(SIGPIPE, SIG_IGN)
        var set = Self.set([SIGTERM, SIGINT, SIGHUP])
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// Waits on this thread until the relay should stop.
    ///
    /// - Parameters:
    ///   - hangUp: called for SIGHUP.
    ///   - everySecond: housekeeping; false ends the wait.
    func wait(hangUp: () -> Void, everySecond: () -> Bool) -> Stop {
        var nextTick = Self.now()
        var nextHangUp = nextTick
        var owesHangUp = false
        while true {
            var now = Self.now()
            if owesHangUp, now >= nextHangUp {
                owesHangUp = false
                hangUp()
                now = Self.now()
                nextHangUp = now + Self.hangUpPause
            }
            if now >= nextTick {
                guard everySecond() else { return .own }
                nextTick = max(nextTick + 1000, now)
                now = Self.now()
            }
            let wakeAt = owesHangUp ? min(nextTick, nextHangUp) : nextTick
            switch Self.next(within: max(0, wakeAt - now)) {
            case SIGTERM: return .terminate
            case SIGINT: return .interrupt
            case SIGHUP: owesHangUp = true
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
