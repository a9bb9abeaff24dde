// Arrivals.swift — the messages that other relays handed over, by fingerprint: what came once is not taken again, delivered or not.
//
// Kept in `arrivals` in the data directory, a line each, synced before the other relay hears that its message is here. Bounded in
// age and in number: whoever was cut off comes again within a month, or somebody looks.

package import Files
package import Mail
import Synchronization

/// What came from other relays.
package final class Arrivals: Sendable {
    /// Milliseconds that an arrival is known: thirty days.
    private static let life: Int64 = 30 * 86_400_000
    /// Arrivals that are known; the oldest are forgotten first.
    private static let most = 500_000
    /// Bytes of the file at a start.
    private static let longest = 256 << 20

    private struct State {
        var known: [String: QueueID] = [:]
        /// Oldest first.
        var order: [(fingerprint: String, at: Int64)] = []
        var forgotten = 0
        var underWay: Set<String> = []
        var file: (any OpenFile)?
        var size = 0
    }

    private let path: String
    private let disk: any Disk
    private let state = Mutex(State())
    /// Held while a name is chosen and reserved.
    private let names = Mutex(())

    /// - Parameter path: of the file; it is made with the first arrival.
    package init(path: String, disk: any Disk, now: Timestamp) {
        self.path = path
        self.disk = disk
        guard let bytes = try? disk.contents(of: path, limit: Self.longest) else { return }
        state.withLock { state in
            for line in bytes.split(octet: "\n") {
                let fields = line.split(octet: " ").map { String(decoding: $0, as: UTF8.self) }
                guard fields.count == 3, let id = QueueID(fields[1]), let at = Int64(fields[2]),
                    at > now.milliseconds - Self.life, state.known[fields[0]] == nil
                else { continue }
                Self.remember(fields[0], id, at, &state)
            }
        }
    }

    private static func remember(_ fingerprint: String, _ id: QueueID, _ at: Int64, _ state: inout State) {
        state.known[fingerprint] = id
        state.order.append((fingerprint, at))
        guard state.known.count > most else { return }
        state.known[state.order[state.forgotten].fingerprint] = nil
        state.forgotten += 1
        guard state.forgotten > most / 4 else { return }
        state.order.removeFirst(state.forgotten)
        state.forgotten = 0
    }

    /// What a message is called here; nil: it never came.
    package subscript(fingerprint: String) -> QueueID? { state.withLock { $0.known[fingerprint] } }

    /// Runs `body` unless somebody else does for the same message: then nil.
    func alone<Value>(_ fingerprint: String, _ body: () throws(Problem) -> Value) throws(Problem) -> Value? {
        guard state.withLock({ $0.underWay.insert(fingerprint).inserted }) else { return nil }
        defer { state.withLock { _ = $0.underWay.remove(fingerprint) } }
        return try body()
    }

    /// One chooses a name at a time.
    func choosing<Value>(_ body: () throws(Problem) -> Value) throws(Problem) -> Value {
        try names.withLock { _ throws(Problem) in try body() }
    }

    /// Writes down that a message came.
    ///
    /// Blocks until it is durable.
    package func note(_ fingerprint: String, _ id: QueueID, at now: Timestamp) throws(DiskError) {
        try state.withLock { state throws(DiskError) in
            do throws(DiskError) {
                let line = Array(Self.line(fingerprint, id, now.milliseconds).utf8)
                let file = if let file = state.file { file } else { try begin(&state) }
                try file.write(line, at: state.size)
                try file.syncData()
                state.size += line.count
            } catch {
                // What may stand there in part is written anew.
                state.file = nil
                throw error
            }
            Self.remember(fingerprint, id, now.milliseconds, &state)
        }
    }

    /// The file without what is forgotten.
    private func begin(_ state: inout State) throws(DiskError) -> any OpenFile {
        var text: [UInt8] = []
        for (fingerprint, at) in state.order.dropFirst(state.forgotten) {
            if let id = state.known[fingerprint] { text += Self.line(fingerprint, id, at).utf8 }
        }
        try disk.replace(path, with: text)
        let file = try disk.open(path, .update, permissions: 0o600)
        (state.file, state.size) = (file, text.count)
        return file
    }

    private static func line(_ fingerprint: String, _ id: QueueID, _ at: Int64) -> String {
        "\(fingerprint) \(id) \(at)\n"
    }
}
