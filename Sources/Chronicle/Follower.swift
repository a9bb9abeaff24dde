// Follower.swift — the thread that follows the log: behind everybody else, in batches, asleep while nothing happens.

import CoreMetrics
import Glibc
package import History
import Mail
import Metrics
import NIOPosix
package import Storage
import Synchronization

/// Keeps the history up with the log.
package final class Follower: Sendable {
    /// Milliseconds that news gather before they are read; where there are many, longer, since a commit costs the same for few.
    private static let gathering: UInt32 = 100
    private static let gatheringMany: UInt32 = 250
    /// Bytes of the log at a time that are many.
    private static let many: UInt32 = 256 << 10
    /// Milliseconds until what could not be written is tried again.
    private static let pause = 1_000
    /// Milliseconds between looks at what is too old.
    private static let upkeep: Int64 = 60_000
    /// How much less the thread may have of a busy processor than those that carry mail.
    private static let niceness: Int32 = 5

    /// Seconds since everything that was on the disk was in the history, too.
    private static let lag = Meter(label: "martlet_history_lag_seconds")

    private let spool: any Journal
    private let book: HistoryBook
    private let names: PrivateNames
    private let tagHeader: String?
    private let report: @Sendable (String) -> Void
    private let thread = NIOThreadPool(numberOfThreads: 1)
    private let isStopping = Atomic<Bool>(false)

    /// - Parameter report: told what does not work, on the thread.
    package init(
        _ spool: any Journal,
        _ book: HistoryBook,
        names: PrivateNames,
        tagHeader: String?,
        report: @escaping @Sendable (String) -> Void
    ) {
        self.spool = spool
        self.book = book
        self.names = names
        self.tagHeader = tagHeader
        self.report = report
    }

    /// Begins to follow.
    package func start() {
        thread.start()
        thread.submit { state in
            guard case .active = state else { return }
            // Of this thread alone: on Linux that is what zero means.
            setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, Self.niceness)
            self.work()
        }
    }

    /// Reads what is on the disk, and ends.
    ///
    /// Blocks. The spool must still be open.
    package func stop() {
        isStopping.store(true, ordering: .relaxed)
        spool.stopFollowing()
        try? thread.syncShutdownGracefully()
    }

    private func work() {
        var reader = LogReader(spool, book, names: names, tagHeader: tagHeader, now: .now())
        var trouble: String?
        var lastUpkeep = Uptime(milliseconds: .min)
        var caughtUp = Uptime.now()
        Self.lag.set(0)
        while true {
            let isLast = isStopping.load(ordering: .relaxed)
            let start = reader.position
            do throws(HistoryError) {
                if Uptime.now().milliseconds(since: lastUpkeep) >= Self.upkeep {
                    lastUpkeep = .now()
                    try book.expire(now: .now())
                }
                spool.syncNotes()
                // What is left of the disk is for mail.
                guard spool.hasDisk(for: 4 << 20) else { throw .broken("the disk is too full to remember more") }
                var isAtEnd = false
                while !isAtEnd {
                    let step = try reader.step(now: .now())
                    isAtEnd = step.isAtEnd
                    if step.lostSegments > 0 { report("\(step.lostSegments) segments were gone before they were read") }
                }
                trouble = nil
                caughtUp = .now()
                Self.lag.set(0)
            } catch {
                Self.lag.set(Uptime.now().milliseconds(since: caughtUp) / 1_000)
                // Once, however long it lasts.
                if trouble != "\(error)" { report("\(error)") }
                trouble = "\(error)"
                if isLast { return }
                // Nobody is in a hurry, and the disk may need the time.
                spool.awaitNews(behind: .last, atMost: Self.pause)
                continue
            }
            if isLast { return }
            spool.awaitNews(behind: reader.position, atMost: 60_000)
            guard !isStopping.load(ordering: .relaxed) else { continue }
            let isBusy = reader.position.map { $0.isFar(from: start, atLeast: Self.many) } ?? false
            usleep((isBusy ? Self.gatheringMany : Self.gathering) * 1_000)
        }
    }
}

extension JournalPosition {
    /// Behind everything: who waits there waits for the time alone.
    fileprivate static var last: JournalPosition { JournalPosition(segment: .max, offset: .max, seed: 0) }

    /// In another segment, or so many bytes on.
    fileprivate func isFar(from start: JournalPosition?, atLeast bytes: UInt32) -> Bool {
        guard let start, start.segment == segment else { return true }
        return offset &- start.offset >= bytes
    }
}
