// SharedExport.swift — a shared queue whose nodes are all stopped back into a spool: message by message, its end noted in the
// database once it is synced in the spool.
//
// Guarantees: whenever it is stopped, each message is in one of the two, or in both with the same id until it is run again, which
// passes over what the spool has. What cannot be read stays in the database.

import Database
package import Files
import Mail
import NIOCore
import Synchronization

/// Moves what waits in a database.
package struct SharedExport {
    /// Octets of a long body that are copied at once.
    private static let piece = 1 << 20

    /// What came of it.
    package typealias Report = SpoolImport.Report

    private let spool: Spool
    private let shared: SharedStore

    /// - Parameters:
    ///   - shared: not yet opened; no node of its queue may be alive.
    ///   - directory: `queue` of a data directory; no relay may use it.
    package init(from shared: SharedStore, to directory: String, disk: any Disk = LinuxDisk()) {
        spool = Spool(directory: directory, disk: disk) { _ in }
        self.shared = shared
    }

    /// Opens both, moves everything, and closes both.
    ///
    /// Blocks.
    package func run() throws(QueueError) -> Report {
        var known: Set<QueueID> = []
        let failed = Mutex<[QueueID: QueueError]>([:])
        try spool.recover { known.insert($0.id) }
        try spool.start { results in
            failed.withLock { failed in
                for case let entry in results {
                    if case .failure(let error) = entry.result { failed[entry.id] = error }
                }
            }
        }
        defer { spool.close() }
        var holds = spool.savedHolds()
        let allHolds = shared.savedHolds()
        // What an earlier run took over and did not finish.
        var own: [RecoveredMessage] = []
        try shared.recover { own.append($0) }
        try shared.start { _ in }
        defer { shared.close() }
        let others = try shared.peers().map(\.name)
        guard others.isEmpty else {
            throw .locked("stop these nodes first: \(others.joined(separator: ", "))")
        }
        var report = Report()
        while true {
            let found = own.isEmpty ? try shared.takeOver() : Array(own.prefix(200))
            own.removeFirst(min(own.count, found.count))
            if found.isEmpty { return report }
            var done: [RecoveredMessage] = []
            for message in found {
                if known.contains(message.id) {
                    report.known += 1
                } else {
                    do throws(QueueError) {
                        let whole = try copy(message)
                        if let hold = allHolds[message.id] { holds[message.id] = hold }
                        spool.append(whole)
                        if message.state != DeliveryState() { spool.append(message.state, of: message.id) }
                    } catch {
                        guard case .damaged = error else { throw error }
                        report.unread += 1
                        continue
                    }
                    report.moved += 1
                }
                done.append(message)
            }
            // A hold of nothing harms nobody; a message without its hold would leave.
            if found.contains(where: { allHolds[$0.id] != nil }) { try spool.save(holds) }
            spool.sync()
            if let error = failed.withLock({ $0.values.first }) { throw error }
            for message in done { shared.appendSettled(message.id, at: message.location) }
            shared.sync()
        }
    }

    /// The message as the spool wants it: a long body in a file of the spool's.
    private func copy(_ message: RecoveredMessage) throws(QueueError) -> NewMessage {
        let whole = try shared.read(message.id, at: message.location)
        guard case .file(let body) = whole.content.body else { return whole }
        let file = try spool.makeLargeBody(message.id)
        do throws(QueueError) {
            var offset = 0
            while offset < body.size {
                let bytes = try body.read(at: offset, count: Self.piece)
                guard bytes.readableBytes > 0 else { throw .damaged("the body of \(message.id) ends early") }
                try file.write(bytes)
                offset += bytes.readableBytes
            }
            try file.finish()
        } catch {
            file.discard()
            throw error
        }
        return NewMessage(
            id: whole.id,
            acceptedAt: whole.acceptedAt,
            envelope: whole.envelope,
            content: Content(
                prologue: whole.content.prologue,
                body: .file(file),
                hasLeadingDots: whole.content.hasLeadingDots,
                isEightBit: whole.content.isEightBit
            )
        )
    }
}

extension SharedStore {
    /// Messages of nodes that are gone, which are this one's from now on.
    ///
    /// Blocks.
    /// - Returns: none when nothing is left.
    func takeOver() throws(QueueError) -> [RecoveredMessage] {
        guard let own = incarnation else { throw .broken("this node is none of the queue's") }
        return try pool.use { connection throws(ServerError) in
            for owner in try SharedKeeper.orphaned(connection) {
                let found = try SharedKeeper.take(connection, from: owner, to: own, atMost: 200) { _ in }
                if !found.isEmpty { return found.map(\.message) }
            }
            return []
        }
    }

    /// Waits until everything appended so far is committed, or cannot be.
    ///
    /// Blocks.
    func sync() {
        let bell = SyncBell()
        if commits.submit(.sync(bell)) { _ = bell.wait() }
    }
}
