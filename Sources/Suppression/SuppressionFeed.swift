// SuppressionFeed.swift — what bounces teach the list: read from the history, each once, with the place in one transaction.
//
// Guarantees: a bounce that was made durable is learnt from, also over kills, as long as history keeps it; mail never waits.

import Database
package import History
package import Log
import Mail
import NIOPosix
import Synchronization

extension SuppressionList {
    private static let pageSize = 500

    /// Learns from events behind the last that were read.
    ///
    /// Blocks.
    ///
    /// - Parameter epoch: of the history; a new one begins anew.
    /// - Returns: how many events were looked at; zero: there are none.
    package func learn(from reader: any EventReader, epoch: String, days: Int) throws(SuppressionError) -> Int {
        let known = try write { database throws(DatabaseError) in try Self.place(database) }
        let start = known.epoch.isSame(octets: epoch) ? known.seq : 0
        var filter = EventFilter()
        filter.types = [.bounced, .bouncedLate, .complained]
        let page: EventPage
        do throws(HistoryError) {
            page = try reader.events(after: start, matching: filter, atMost: Self.pageSize)
        } catch .tooOld(let oldest) {
            // What is gone is gone; go on with what is left.
            try write { database throws(DatabaseError) in try Self.keep(oldest &- 1, epoch, database) }
            return 1
        } catch {
            throw SuppressionError("\(error)")
        }
        guard page.last > start || !page.events.isEmpty else { return 0 }
        try write { database throws(DatabaseError) in
            for event in page.events { try self.learn(event, days, database) }
            try Self.keep(page.last, epoch, database)
        }
        return page.isAtEnd && page.events.isEmpty ? 0 : max(1, page.events.count)
    }

    private func learn(_ event: Event, _ days: Int, _ database: Database) throws(DatabaseError) {
        guard let recipient = event.data.recipient.flatMap({ Suppression.target($0) }), recipient.contains(octet: "@")
        else { return }
        if event.type == .complained { return try complained(recipient, event, database) }
        guard let replyClass = event.data.reason?.replyClass, let code = event.data.smtp?.code
        else { return }
        let now = SuppressionEvidence(host: event.data.mx?.host ?? "", time: event.time)
        let select = try database.statement("SELECT reason, expires, host, seen FROM entry WHERE digest = ?")
        select.bind(1, digest(recipient, .everybody))
        var (first, isForEver): (SuppressionEvidence?, Bool) = (nil, false)
        if try select.step() {
            // What somebody decided stays, and so does what is for ever.
            isForEver =
                !select.text(0).isSame(octets: Suppression.Reason.hardBounce.rawValue) || select.integer(1) == .max
            first = SuppressionEvidence(host: select.text(2), time: Timestamp(milliseconds: select.integer(3)))
        }
        select.reset()
        guard !isForEver, total < SuppressionList.most else { return }
        let step = SuppressionStep(replyClass, code: code, by: now, after: first, days: days)
        var line = Suppression(recipient, reason: .hardBounce, source: event.id, created: event.time)
        switch step {
        case .none: return
        case .until(let time): line.expires = time
        case .forEver: break
        }
        _ = try put(line, first ?? now, database)
    }

    /// Whoever complains of somebody's mail gets none of it any more; others' mail is not concerned.
    private func complained(
        _ recipient: String,
        _ event: Event,
        _ database: Database
    ) throws(DatabaseError) {
        let sender = event.data.sender.flatMap { EmailAddress($0)?.domain }
        let scope = sender.map { Suppression.Scope.sender($0) } ?? .everybody
        let select = try database.statement("SELECT reason FROM entry WHERE digest = ?")
        select.bind(1, digest(recipient, scope))
        let known = try select.step() ? Suppression.Reason(rawValue: select.text(0)) : nil
        select.reset()
        // A bounce may end; what somebody decided stays.
        guard known == nil || known == .hardBounce, total < SuppressionList.most else { return }
        let line = Suppression(recipient, scope, reason: .complaint, source: event.id, created: event.time)
        _ = try put(line, nil, database)
    }

    private static func place(_ database: Database) throws(DatabaseError) -> (epoch: String, seq: UInt64) {
        let select = try database.statement("SELECT value FROM meta WHERE key = 'place'")
        defer { select.reset() }
        guard try select.step() else { return ("", 0) }
        let parts = select.text(0).split(octet: " ").map(String.init)
        return (parts.first ?? "", parts.count == 2 ? UInt64(parts[1]) ?? 0 : 0)
    }

    private static func keep(_ seq: UInt64, _ epoch: String, _ database: Database) throws(DatabaseError) {
        let insert = try database.statement("INSERT OR REPLACE INTO meta VALUES ('place', ?)")
        insert.bind(1, "\(epoch) \(seq)")
        try insert.run()
    }
}

/// Follows the history on a thread of its own.
package final class SuppressionFeed: Sendable {
    /// Milliseconds between two looks at whether it should end.
    private static let pause = 1000

    private let thread = NIOThreadPool(numberOfThreads: 1)
    private let isStopped = Atomic<Bool>(false)
    private let list: SuppressionList
    private let reader: any EventReader
    private let epoch: String
    private let log: LogSink

    package init(_ list: SuppressionList, _ reader: any EventReader, epoch: String, log: LogSink) {
        (self.list, self.reader, self.epoch, self.log) = (list, reader, epoch, log)
    }

    /// Begins.
    ///
    /// - Parameter days: how long one bounce counts; nil: nothing is learnt now.
    package func start(days: @escaping @Sendable () -> Int?) {
        thread.start()
        thread.submit { [self] _ in
            var isTold = false
            while !isStopped.load(ordering: .relaxed) {
                var looked = 0
                if let days = days() {
                    do throws(SuppressionError) {
                        looked = try list.learn(from: reader, epoch: epoch, days: days)
                        isTold = false
                    } catch {
                        if !isTold {
                            log.write(.error, "the suppression list does not learn") { $0.add(.reason, "\(error)") }
                        }
                        isTold = true
                    }
                }
                if looked == 0 { _ = reader.wait(behind: reader.span.newest, atMost: Self.pause) }
            }
        }
    }

    /// Ends soon.
    ///
    /// Blocks for a second at most.
    package func stop() {
        isStopped.store(true, ordering: .relaxed)
        thread.shutdownGracefully { _ in }
    }
}
