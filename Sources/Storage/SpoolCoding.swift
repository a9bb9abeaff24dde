// SpoolCoding.swift — envelopes and delivery states as bytes.
//
// Guarantees: decoding never reads outside its bytes, never traps, and takes memory in proportion to its input whatever
// the input says. What is decoded makes sense: addresses fit into a command, times into a calendar, recipients rise and
// stand in one place each. A right checksum proves none of that, so nobody reads a record but through these. Numbers are
// little-endian; lengths and small numbers are LEB128.

import Mail

/// The bytes do not say what they should.
struct Malformed: Error, Hashable, Sendable {}

/// Reads stored bytes from front to back.
struct SpoolReader {
    private let bytes: UnsafeRawBufferPointer
    private(set) var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var remaining: Int { bytes.count - position }

    mutating func byte() throws(Malformed) -> UInt8 {
        guard position < bytes.count else { throw Malformed() }
        defer { position += 1 }
        return bytes[position]
    }

    mutating func number<Number: FixedWidthInteger>(_: Number.Type = Number.self) throws(Malformed) -> Number {
        let size = MemoryLayout<Number>.size
        guard remaining >= size else { throw Malformed() }
        defer { position += size }
        return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: Number.self))
    }

    mutating func compact() throws(Malformed) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let next = try byte()
            guard shift < 63 || next <= 1 else { throw Malformed() }
            value |= UInt64(next & 0x7F) << shift
            if next < 0x80 { return value }
            shift += 7
        }
    }

    mutating func compact32() throws(Malformed) -> UInt32 {
        guard let value = UInt32(exactly: try compact()) else { throw Malformed() }
        return value
    }

    /// A number of things that take at least one byte each, so that no invented count makes us reserve memory.
    mutating func count() throws(Malformed) -> Int {
        guard let value = Int(exactly: try compact()), value <= remaining else { throw Malformed() }
        return value
    }

    /// Text as it was written: what is no UTF-8 never came from us.
    mutating func string() throws(Malformed) -> String {
        let text = UnsafeRawBufferPointer(rebasing: try piece())
        guard let string = String(validating: text, as: UTF8.self) else { throw Malformed() }
        return string
    }

    /// Text that may stand in a command: no line can end in it.
    mutating func plainText() throws(Malformed) -> String {
        let string = try string()
        guard string.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { throw Malformed() }
        return string
    }

    /// A domain, whose characters were checked when it came in: a command can go on behind none of them.
    mutating func domain() throws(Malformed) -> Domain {
        let name = try plainText()
        guard !name.utf8.contains(where: { $0 == 0x20 || $0 == UInt8(ascii: "<") || $0 == UInt8(ascii: ">") }) else {
            throw Malformed()
        }
        return Domain(stored: name)
    }

    mutating func time() throws(Malformed) -> Timestamp {
        let time = Timestamp(milliseconds: try number())
        guard Timestamp.storable.contains(time) else { throw Malformed() }
        return time
    }

    private mutating func piece() throws(Malformed) -> Slice<UnsafeRawBufferPointer> {
        let length = try count()
        defer { position += length }
        return bytes[position..<position + length]
    }
}

extension [UInt8] {
    mutating func append(number: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: number.littleEndian) { append(contentsOf: $0) }
    }

    mutating func append(compact number: UInt64) {
        var rest = number
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }

    /// A time that will be read again, whatever a clock or a plugin said.
    mutating func append(time: Timestamp) { append(number: time.clamped.milliseconds) }

    mutating func append(string: String) {
        var string = string
        string.withUTF8 { text in
            append(compact: UInt64(text.count))
            append(contentsOf: text)
        }
    }
}

/// Layout: version 1, flags, [RET], [ENVID], [user], [sender local, domain], count, recipients, [notes].
extension Envelope {
    private enum Flag {
        static let eightBit: UInt8 = 1
        static let utf8: UInt8 = 2
        static let returns: UInt8 = 4
        static let envelopeID: UInt8 = 8
        static let sender: UInt8 = 16
        static let notes: UInt8 = 64
        static let user: UInt8 = 32
        static let requiresTLS: UInt8 = 128
    }

    private enum RecipientFlag {
        static let notify: UInt8 = 1
        static let original: UInt8 = 2
        /// The domain is that of the recipient before; it is not written again.
        static let sameDomain: UInt8 = 4
    }

    func encode(to bytes: inout [UInt8]) {
        bytes.append(1)
        var flags: UInt8 = 0
        if isEightBit { flags |= Flag.eightBit }
        if needsUTF8 { flags |= Flag.utf8 }
        if returns != nil { flags |= Flag.returns }
        if envelopeID != nil { flags |= Flag.envelopeID }
        if case .address = sender { flags |= Flag.sender }
        if !notes.isEmpty { flags |= Flag.notes }
        if user != nil { flags |= Flag.user }
        if requiresTLS { flags |= Flag.requiresTLS }
        bytes.append(flags)
        if let returns { bytes.append(returns.rawValue) }
        if let envelopeID { bytes.append(string: envelopeID) }
        if let user { bytes.append(string: user) }
        if case .address(let address) = sender {
            bytes.append(string: address.local)
            bytes.append(string: address.domain.name)
        }
        bytes.append(compact: UInt64(recipients.count))
        var previous: Domain?
        for recipient in recipients {
            let domain = recipient.address.domain
            var flags: UInt8 = 0
            if recipient.notify != nil { flags |= RecipientFlag.notify }
            if recipient.original != nil { flags |= RecipientFlag.original }
            // Octet by octet: two names that look alike are two.
            let isSame = previous.map { $0.name.utf8.elementsEqual(domain.name.utf8) } ?? false
            if isSame { flags |= RecipientFlag.sameDomain }
            bytes.append(flags)
            if let notify = recipient.notify { bytes.append(notify.rawValue) }
            if let original = recipient.original { bytes.append(string: original) }
            bytes.append(string: recipient.address.local)
            if !isSame { bytes.append(string: domain.name) }
            previous = domain
        }
        if !notes.isEmpty { notes.encode(to: &bytes) }
    }

    init(decoding reader: inout SpoolReader) throws(Malformed) {
        guard try reader.byte() == 1 else { throw Malformed() }
        let flags = try reader.byte()
        var returns: ReturnContent?
        if flags & Flag.returns != 0 {
            guard let known = ReturnContent(rawValue: try reader.byte()) else { throw Malformed() }
            returns = known
        }
        let envelopeID = flags & Flag.envelopeID != 0 ? try reader.plainText() : nil
        let user = flags & Flag.user != 0 ? try reader.string() : nil
        var sender = ReversePath.null
        if flags & Flag.sender != 0 {
            let local = try reader.plainText()
            sender = .address(EmailAddress(local: local, domain: try reader.domain()))
        }
        let count = try reader.count()
        // Mail for nobody would stay for ever.
        guard count > 0 else { throw Malformed() }
        var recipients: [Recipient] = []
        // A recipient takes at least two bytes.
        recipients.reserveCapacity(min(count, reader.remaining / 2))
        for _ in 0..<count {
            recipients.append(try Self.recipient(from: &reader, after: recipients.last?.address.domain))
        }
        try self.init(
            sender: sender,
            recipients: recipients,
            isEightBit: flags & Flag.eightBit != 0,
            needsUTF8: flags & Flag.utf8 != 0,
            returns: returns,
            envelopeID: envelopeID,
            notes: flags & Flag.notes != 0 ? Notes(decoding: &reader) : Notes(),
            user: user,
            requiresTLS: flags & Flag.requiresTLS != 0
        )
    }

    private static func recipient(
        from reader: inout SpoolReader,
        after previous: Domain?
    ) throws(Malformed) -> Recipient {
        let flags = try reader.byte()
        let notify = flags & RecipientFlag.notify != 0 ? Notify(rawValue: try reader.byte()) : nil
        let original = flags & RecipientFlag.original != 0 ? try reader.plainText() : nil
        let local = try reader.plainText()
        let domain: Domain
        if flags & RecipientFlag.sameDomain != 0 {
            guard let previous else { throw Malformed() }
            domain = previous
        } else {
            domain = try reader.domain()
        }
        return Recipient(EmailAddress(local: local, domain: domain), notify: notify, original: original)
    }
}

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

    init(decoding reader: inout SpoolReader) throws(Malformed) {
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
            var reader = SpoolReader(raw)
            return try? DeliveryState(decoding: &reader)
        }
        guard let state else { return nil }
        self = state
    }

    /// Recipients rise; whoever reads a list relies on it.
    private static func recipients(from reader: inout SpoolReader) throws(Malformed) -> [UInt32] {
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
