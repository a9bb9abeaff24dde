// Pickup.swift — fetches what `sendmail` left in the drop while there was no relay, and hands it in by our own SMTP.
//
// On a thread of its own, because it waits for answers as any client does; one round at a time.

import Config
import Files
import Log
import Mail
import NIOPosix
import Operator
import Synchronization

/// Looks into the drop now and then.
final class Pickup: Sendable {
    /// Milliseconds between two looks, and after one that left something there.
    private static let (interval, pause): (Int64, Int64) = (3000, 60_000)

    private struct State {
        var isBusy = false
        var isStopped = false
        var due = Uptime(milliseconds: 0)
        var thread: NIOThreadPool?
    }

    private let drop: Drop
    private let log: LogSink
    private let state = Mutex(State())

    init(_ drop: Drop, log: LogSink) {
        (self.drop, self.log) = (drop, log)
    }

    /// Makes the drop; without one, `sendmail` tells its caller to try again.
    func prepare() {
        do throws(DiskError) { try drop.prepare() } catch {
            log.write(.warning, "sendmail cannot keep mail while the relay is down") { $0.add(.error, "\(error)") }
        }
    }

    /// Begins a round when one is due; returns at once.
    ///
    /// - Parameters:
    ///   - relay: where we listen.
    ///   - limit: the largest message, bytes.
    func look(_ relay: RunningRelay?, limit: Int, at now: Uptime) {
        guard let relay, let place = SubmissionPlace(listening: relay) else { return }
        let thread: NIOThreadPool? = state.withLock { state in
            guard !state.isBusy, !state.isStopped, now >= state.due else { return nil }
            state.isBusy = true
            if let thread = state.thread { return thread }
            let thread = NIOThreadPool(numberOfThreads: 1)
            thread.start()
            state.thread = thread
            return thread
        }
        thread?.submit { [self] _ in round(place, limit) }
    }

    /// Begins no more messages.
    func stop() {
        let thread = state.withLock { state in
            state.isStopped = true
            return state.thread
        }
        thread?.shutdownGracefully { _ in }
    }

    private func round(_ place: SubmissionPlace, _ limit: Int) {
        var found = Drop.Found()
        do throws(DiskError) {
            found = try drop.empty(into: place, limit: limit, now: Timestamp.now().milliseconds) {
                !state.withLock { $0.isStopped }
            }
        } catch {
            // There is no drop, which was said when it could not be made.
            found.left = 1
        }
        if found.taken > 0 { log.write(.notice, "mail of the drop handed in") { $0.add(.count, found.taken) } }
        for refused in found.refused {
            log.write(.error, "mail of the drop not taken, it is kept") { line in
                line.add(.path, refused.path)
                line.add(.reason, refused.reason)
            }
        }
        let wait = found.left > 0 ? Self.pause : found.hasMore ? 0 : Self.interval
        state.withLock { state in
            state.isBusy = false
            state.due = Uptime.now().adding(milliseconds: wait)
        }
    }
}
