// SpoolImport.swift — a stopped relay's spool into a shared queue: message by message, its end noted in the spool once it is
// committed there.
//
// Guarantees: whenever it is stopped, each message is in one of the two, or in both with the same id until it is run again,
// which passes over what the database has. Mail of the relay that is not readable stays in the spool.

package import Files
import Mail

/// Moves what waits in a spool.
package struct SpoolImport {
    /// Messages and bytes on their way at once.
    private static let most = 200
    private static let mostBytes = 16 << 20

    /// What came of a move, whichever way.
    package struct Report: Hashable, Sendable {
        package var moved = 0
        /// Where they go had them from an earlier run.
        package var known = 0
        /// They stay where they are.
        package var unread = 0
    }

    private let spool: Spool
    private let shared: SharedStore

    /// - Parameters:
    ///   - directory: `queue` of a data directory; no relay may use it.
    ///   - shared: not yet opened.
    package init(from directory: String, disk: any Disk = LinuxDisk(), to shared: SharedStore) {
        spool = Spool(directory: directory, disk: disk) { _ in }
        self.shared = shared
    }

    /// Opens both, moves everything, and closes both.
    ///
    /// Blocks.
    package func run() throws(QueueError) -> Report {
        var found: [(id: QueueID, location: Location, state: DeliveryState, size: Int)] = []
        try spool.recover { found.append(($0.id, $0.location, $0.state, $0.size)) }
        try spool.start { _ in }
        defer { spool.close() }
        let holds = spool.savedHolds()
        try shared.recover { _ in }
        try shared.start { _ in }
        defer { shared.close() }
        var report = Report()
        var rest = found[...]
        while !rest.isEmpty {
            var bytes = 0
            let part = rest.prefix(Self.most).prefix { entry in
                defer { bytes += entry.size }
                return bytes <= Self.mostBytes
            }
            rest = rest.dropFirst(part.count)
            let known = try shared.known(part.map(\.id))
            var moving: [(message: NewMessage, state: DeliveryState)] = []
            var held: [QueueID: Hold] = [:]
            for entry in part where !known.contains(entry.id) {
                guard let message = try? spool.read(entry.id, at: entry.location, settingAside: false) else {
                    report.unread += 1
                    continue
                }
                moving.append((message, entry.state))
                if let hold = holds[entry.id] { held[entry.id] = hold }
            }
            // A hold of nothing harms nobody; a message without its hold would leave.
            if !held.isEmpty { try shared.add(held) }
            try shared.bring(moving)
            let done = known.union(moving.map(\.message.id))
            for entry in part where done.contains(entry.id) { spool.appendSettled(entry.id, at: entry.location) }
            spool.sync()
            report.moved += moving.count
            report.known += known.count
        }
        return report
    }
}
