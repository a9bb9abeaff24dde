// SpoolCoding.swift — delivery states as bytes.
//
// Guarantees: those of `Mail/StoredBytes.swift`. What is decoded makes sense: recipients rise and stand in one place each.

import Mail

/// Layout: version 3, flags, time of the note, done recipients, bounced recipients, distinct replies, groups, [reach].
///
/// What follows the groups is left alone by those that do not know it: for each group, twice the attempts that did not
/// reach the next hop, and one more where the group waits only for that. A list is its count and its items. Groups name their reply by its place in the list, from 1 on: what was said to
/// hundreds of recipients of one message is written once.
extension DeliveryState {
    private enum Flag {
        static let delayReported: UInt8 = 1
        static let reach: UInt8 = 2
    }

    func encode(to bytes: inout [UInt8]) {
        bytes.append(3)
        let tellsReach = waiting.contains { $0.unreached > 0 || $0.isOutOfReach }
        bytes.append((delayReported ? Flag.delayReported : 0) | (tellsReach ? Flag.reach : 0))
        bytes.append(time: notedAt)
        bytes.append(list: done)
        bytes.append(list: bounced)
        var places: [LastReply: Int] = [:]
        var replies: [LastReply] = []
        for case let reply? in waiting.lazy.map(\.reply) where places[reply] == nil {
            replies.append(reply)
            places[reply] = replies.count
        }
        bytes.append(compact: UInt64(replies.count))
        for reply in replies {
            bytes.append(reply.reason.rawValue)
            bytes.append(string: reply.host)
            bytes.append(string: reply.text)
        }
        bytes.append(compact: UInt64(waiting.count))
        for group in waiting {
            bytes.append(compact: UInt64(group.failures))
            bytes.append(time: group.due)
            bytes.append(time: group.attemptedAt)
            bytes.append(compact: UInt64(group.reply.flatMap { places[$0] } ?? 0))
            bytes.append(list: group.recipients)
        }
        guard tellsReach else { return }
        for group in waiting { bytes.append(compact: UInt64(group.unreached) << 1 | (group.isOutOfReach ? 1 : 0)) }
    }

    init(decoding reader: inout StoredReader) throws(Malformed) {
        guard try reader.byte() == 3 else { throw Malformed() }
        let flags = try reader.byte()
        let notedAt = try reader.time()
        let done = try Self.recipients(from: &reader)
        let bounced = try Self.recipients(from: &reader)
        var replies: [LastReply] = []
        for _ in 0..<(try reader.count()) {
            let reason = FailureReason(rawValue: try reader.byte()) ?? .other
            let host = try reader.string()
            replies.append(LastReply(try reader.string(), reason: reason, host: host))
        }
        var waiting: [Group] = []
        for _ in 0..<(try reader.count()) {
            guard let failures = UInt16(exactly: try reader.compact()) else { throw Malformed() }
            let due = try reader.time()
            let attemptedAt = try reader.time()
            let place = try reader.compact()
            guard place <= replies.count else { throw Malformed() }
            waiting.append(
                Group(
                    recipients: try Self.recipients(from: &reader),
                    failures: failures,
                    due: due,
                    reply: place == 0 ? nil : replies[Int(place) - 1],
                    attemptedAt: attemptedAt
                )
            )
        }
        if flags & Flag.reach != 0 {
            for place in waiting.indices {
                let reach = try reader.compact()
                guard let unreached = UInt16(exactly: reach >> 1) else { throw Malformed() }
                waiting[place].unreached = unreached
                waiting[place].isOutOfReach = reach & 1 != 0
            }
        }
        self.init(
            waiting: waiting,
            done: done,
            bounced: bounced,
            delayReported: flags & Flag.delayReported != 0,
            notedAt: notedAt
        )
        guard isConsistent else { throw Malformed() }
    }

    /// Reads what an attempt noted; nil when it does not make sense.
    init?(stored bytes: ArraySlice<UInt8>) {
        let state = bytes.withUnsafeBytes { raw in
            var reader = StoredReader(raw)
            return try? DeliveryState(decoding: &reader)
        }
        guard let state else { return nil }
        self = state
    }

    /// Recipients rise; whoever reads a list relies on it.
    private static func recipients(from reader: inout StoredReader) throws(Malformed) -> [UInt32] {
        let count = try reader.count()
        var recipients: [UInt32] = []
        recipients.reserveCapacity(count)
        for _ in 0..<count {
            let next = try reader.compact32()
            guard recipients.last.map({ $0 < next }) ?? true else { throw Malformed() }
            recipients.append(next)
        }
        return recipients
    }
}

extension [UInt8] {
    fileprivate mutating func append(list: [UInt32]) {
        append(compact: UInt64(list.count))
        for number in list { append(compact: UInt64(number)) }
    }
}
