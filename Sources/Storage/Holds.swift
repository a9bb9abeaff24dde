// Holds.swift — messages that are held back until somebody releases them or their time comes, kept over restarts in
// `queue/holds` and `queue/holds.log`.
//
// `holds` is text, one line per message: id, milliseconds since 1970, reason; `since..until` where it ends by itself; before the reason of one that bounces at its end
// stands a control character. What
// changed since it was written stands in `holds.log` (`HoldsLog.swift`). So a person can read both, and remove both to release
// everything at the next start.

import Files
package import Mail

/// Why, since when and until when a message is held.
package struct Hold: Hashable, Sendable {
    /// What becomes of the message at the end.
    package enum Kind: UInt8, Hashable, Sendable, CaseIterable {
        /// It goes on.
        case hold
        /// It bounces, unless somebody revives it.
        case dying
        /// The same of one that was held before: revived, it is held again.
        case dyingHeld
    }

    package let since: Timestamp
    /// In words, printable, at most 200 bytes; empty when none was given.
    package let reason: String
    /// When it goes on, or bounces, by itself; nil: when it is released.
    package let until: Timestamp?
    package let kind: Kind

    /// - Parameter reason: control characters become blanks, and it is cut to 200 bytes.
    package init(since: Timestamp, until: Timestamp? = nil, reason: String, _ kind: Kind = .hold) {
        self.since = since
        self.until = until
        self.kind = kind
        let bytes = LastReply(reason).text.utf8.map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: " ") : $0 }
        self.reason = String(decoding: bytes, as: UTF8.self)
    }
}

extension Hold {
    /// It bounces at its end.
    package var isDying: Bool { kind != .hold }

    /// The same of a message that was held before.
    package func continuing(_ known: Hold) -> Hold {
        switch kind {
        case .hold: Hold(since: known.since, until: until, reason: reason)
        case .dying, .dyingHeld: Hold(since: since, until: until, reason: reason, .dyingHeld)
        }
    }

    /// The reason as it is kept, behind a control character where the message is dying: none is in a reason.
    var written: String {
        switch kind {
        case .hold: reason
        case .dying: "\u{1}\(reason)"
        case .dyingHeld: "\u{2}\(reason)"
        }
    }

    /// - Parameter written: as ``written``.
    init(since: Timestamp, until: Timestamp?, written: some StringProtocol) {
        let kind: Kind =
            switch written.utf8.first {
            case 1: .dying
            case 2: .dyingHeld
            default: .hold
            }
        let reason = kind == .hold ? String(written) : String(decoding: written.utf8.dropFirst(), as: UTF8.self)
        self.init(since: since, until: until, reason: reason, kind)
    }
}

/// The text of the file.
///
/// Pure.
enum HoldsFile {
    /// Bytes that the file may have: a hundred for each of some millions of messages.
    static let longest = 512 << 20

    static func encoded(_ holds: [QueueID: Hold]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(holds.count * 32)
        for (id, hold) in holds.sorted(by: { $0.key < $1.key }) { bytes += line(id, hold).utf8 }
        return bytes
    }

    static func line(_ id: QueueID, _ hold: Hold) -> String {
        let end = hold.until.map { "..\($0.clamped.milliseconds)" } ?? ""
        return "\(id) \(hold.since.clamped.milliseconds)\(end) \(hold.written)\n"
    }

    /// What a line is taken for whose id is sound and nothing else: rather stopped than sent.
    private static let unread = Hold(since: Timestamp(milliseconds: 0), reason: "its line in queue/holds is damaged")

    /// Reads the file.
    ///
    /// - Returns: lines that make no sense as well, for a human; a message that such a line names is held all the same.
    static func decoded(_ bytes: [UInt8]) -> (holds: [QueueID: Hold], damaged: [UInt8]) {
        var holds: [QueueID: Hold] = [:]
        var damaged: [UInt8] = []
        for line in bytes.split(octet: "\n") {
            let fields = line.split(octet: " ", maxSplits: 2, omittingEmpty: false)
            let id = QueueID(String(decoding: fields[0], as: UTF8.self))
            if let id, fields.count >= 2, let times = times(fields[1]) {
                let reason = fields.count == 3 ? String(decoding: fields[2], as: UTF8.self) : ""
                holds[id] = Hold(since: times.since, until: times.until, written: reason)
            } else {
                damaged += line + [UInt8(ascii: "\n")]
                if let id, holds[id] == nil { holds[id] = unread }
            }
        }
        return (holds, damaged)
    }

    /// `SINCE` or `SINCE..UNTIL`.
    private static func times(_ text: ArraySlice<UInt8>) -> (since: Timestamp, until: Timestamp?)? {
        var numbers: [Timestamp] = []
        for part in text.split(octet: ".", omittingEmpty: false) where !part.isEmpty {
            guard let number = Int64(String(decoding: part, as: UTF8.self)) else { return nil }
            numbers.append(Timestamp(milliseconds: number))
        }
        let dots = text.count { $0 == UInt8(ascii: ".") }
        guard let since = numbers.first, numbers.allSatisfy(Timestamp.storable.contains) else { return nil }
        switch (numbers.count, dots) {
        case (1, 0): return (since, nil)
        case (2, 2): return (since, numbers[1])
        default: return nil
        }
    }
}
