// Holds.swift — messages that are held back until somebody releases them or their time comes, kept over restarts in
// `queue/holds`.
//
// The file is text, one line per message: id, milliseconds since 1970, reason; `since..until` where it ends by itself. It
// is replaced whole and durably before a hold or a release is answered; so a person can read it, and remove it to release
// everything at the next start.

import Files
package import Mail

/// Why, since when and until when a message is held.
package struct Hold: Hashable, Sendable {
    package let since: Timestamp
    /// In words, printable, at most 200 bytes; empty when none was given.
    package let reason: String
    /// When it goes on by itself; nil: when it is released.
    package let until: Timestamp?

    /// - Parameter reason: control characters become blanks, and it is cut to 200 bytes.
    package init(since: Timestamp, until: Timestamp? = nil, reason: String) {
        self.since = since
        self.until = until
        let bytes = LastReply(reason).text.utf8.map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: " ") : $0 }
        self.reason = String(decoding: bytes, as: UTF8.self)
    }
}

/// The text of the file.
///
/// Pure.
enum HoldsFile {
    static func encoded(_ holds: [QueueID: Hold]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(holds.count * 32)
        for (id, hold) in holds.sorted(by: { $0.key < $1.key }) {
            let end = hold.until.map { "..\($0.milliseconds)" } ?? ""
            bytes += "\(id) \(hold.since.milliseconds)\(end) \(hold.reason)\n".utf8
        }
        return bytes
    }

    /// Lines that make no sense are left out.
    static func decoded(_ bytes: [UInt8]) -> [QueueID: Hold] {
        var holds: [QueueID: Hold] = [:]
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count >= 2, let id = QueueID(String(decoding: fields[0], as: UTF8.self)),
                let times = times(String(decoding: fields[1], as: UTF8.self))
            else { continue }
            let reason = fields.count == 3 ? String(decoding: fields[2], as: UTF8.self) : ""
            holds[id] = Hold(since: times.since, until: times.until, reason: reason)
        }
        return holds
    }

    private static func times(_ text: String) -> (since: Timestamp, until: Timestamp?)? {
        let numbers = text.split(separator: "..").map { Int64($0).map { Timestamp(milliseconds: $0) } }
        guard (1...2).contains(numbers.count), let since = numbers[0] else { return nil }
        guard numbers.count == 2 else { return (since, nil) }
        return numbers[1].map { (since, $0) }
    }
}

// MARK: - In the spool

extension Spool {
    package func save(_ holds: [QueueID: Hold]) throws(QueueError) {
        do throws(DiskError) {
            try context.disk.replace(context.path("holds"), with: HoldsFile.encoded(holds))
        } catch {
            throw QueueError(error)
        }
    }

    package func savedHolds() -> [QueueID: Hold] {
        let path = context.path("holds")
        do throws(DiskError) {
            guard let status = try context.disk.status(path, following: false), status.kind == .file else { return [:] }
            let file = try context.disk.open(path, .read, permissions: 0)
            return HoldsFile.decoded(try file.read(status.size, at: 0))
        } catch {
            context.report(.failed, "holds", "cannot be read, so nothing is held: \(error)")
            return [:]
        }
    }
}
