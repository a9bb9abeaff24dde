// Follower.swift — the thread that follows the log: behind everybody else, in batches, asleep while nothing happens.

import Glibc
package import History
import Mail
import NIOPosix
package import Storage
import Synchronization

/// Keeps the history up with the log.
package final class Follower: Sendable {
    /// Milliseconds that news gather before they are read.
    private static let gathering: UInt32 = 100
    /// Milliseconds until what could not be written is tried again.
    private static let pause = 1_000
    /// Milliseconds between looks at what is too old.
    private static let upkeep: Int64 = 60_000
    /// How much less the thread may have of a busy processor than those that carry mail.
    private static let niceness: Int32 = 5

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
        while true {
            let isLast = isStopping.load(ordering: .relaxed)
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
            } catch {
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
            if !isStopping.load(ordering: .relaxed) { usleep(Self.gathering * 1_000) }
        }
    }
}

extension JournalPosition {
    /// Behind everything: who waits there waits for the time alone.
    fileprivate static var last: JournalPosition { JournalPosition(segment: .max, offset: .max, seed: 0) }
}
