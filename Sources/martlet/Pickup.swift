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

    /// Tells the sender of a message what was refused; true when that is on disk.
    ///
    /// Blocks.
    typealias Reporter = @Sendable (Drop.Refusal, SubmissionPlace) -> Bool

    private struct State {
        var isBusy = false
        /// What was said last of whether anybody may put mail there; nil: nothing yet.
        var isOpen: Bool?
        var isStopped = false
        var due = Uptime(milliseconds: 0)
        var thread: NIOThreadPool?
    }

    private let drop: Drop
    private let log: LogSink
    private let report: Reporter
    private let state = Mutex(State())

    init(_ drop: Drop, log: LogSink, report: @escaping Reporter) {
        (self.drop, self.log, self.report) = (drop, log, report)
    }

    /// Opens the drop or shuts it; without one, `sendmail` tells its caller to try again.
    func prepare(isOpen: Bool) {
        state.withLock { $0.isOpen = isOpen }
        do throws(DiskError) { try drop.prepare(isOpen: isOpen) } catch {
            log.write(.warning, "sendmail cannot keep mail while the relay is down") { $0.add(.error, "\(error)") }
        }
    }

    /// Begins a round when one is due; returns at once.
    ///
    /// - Parameters:
    ///   - relay: where we listen.
    ///   - settings: whether there is to be a drop, and the largest message.
    func look(_ relay: RunningRelay?, _ settings: ListenerSettings, at now: Uptime) {
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
        let (limit, isOn) = (settings.messageBytes, settings.drop)
        thread?.submit { [self] _ in round(place, limit, isOn) }
    }

    /// Begins no more messages.
    func stop() {
        let thread = state.withLock { state in
            state.isStopped = true
            return state.thread
        }
        thread?.shutdownGracefully { _ in }
    }

    private func round(_ place: SubmissionPlace, _ limit: Int, _ isOn: Bool) {
        var found = Drop.Found()
        do throws(DiskError) {
            found = try drop.empty(into: place, limit: limit, now: Timestamp.now().milliseconds) {
                !state.withLock { $0.isStopped }
            } report: {
                report($0, place)
            }
        } catch {
            // There is no drop, which was said when it could not be made.
            found.left = 1
        }
        if found.taken > 0 { log.write(.notice, "mail of the drop handed in") { $0.add(.count, found.taken) } }
        for refused in found.refused {
            let event: StaticString =
                refused.isKept ? "mail of the drop not taken, it is kept" : "mail of the drop not taken"
            log.write(refused.isKept ? .error : .notice, event) { line in
                if refused.isKept { line.add(.path, refused.path) }
                line.add(.reason, refused.reason)
            }
        }
        openOrShut(isOn, found.total)
        let wait = found.left > 0 ? Self.pause : found.hasMore ? 0 : Self.interval
        state.withLock { state in
            state.isBusy = false
            state.due = Uptime.now().adding(milliseconds: wait)
        }
    }

    /// Nobody puts more there while too much lies there: the disk is the relay's, and who is told to wait tries again.
    private func openOrShut(_ isOn: Bool, _ total: Int) {
        let wasOpen = state.withLock { $0.isOpen } ?? true
        let isOpen = isOn && Drop.isOpen(with: total, wasOpen)
        guard isOpen != wasOpen else { return }
        if isOn, !isOpen {
            log.write(.warning, "too much lies in the drop, sendmail keeps no more there") { $0.add(.count, total) }
        }
        prepare(isOpen: isOpen)
    }
}
