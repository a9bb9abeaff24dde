// SpoolRecord.swift — the bytes of one record, pure encoding and decoding.
//
//      0  length    u32   the whole record, a multiple of 8
//      4  checksum  u32   CRC32C of bytes 8 ..< length - 4
//      8  kind      u8    then three zero bytes
//     12  mark      u32   CRC32C of offset, length and kind: tells a record from anything else without reading it
//     16  id        u64
//         payload         by kind, below
//         padding         zero bytes
//     -4  end mark  u32   the mark inverted: a record without it was cut off, one with it and a wrong checksum is damaged
//
// Every checksum starts from the seed of its segment (sequence and a random salt), and the mark holds the offset: bytes
// of an earlier life of the segment, of another one, or made up inside a message body are never taken for a record.
//
// Message and moved:  24 acceptedAt i64 · 32 body length u64 · 40 envelope length u32 · 44 state length u32 ·
//   48 prologue length u32 · 52 CRC32C of a large body u32 · 56 flags u8, three zero bytes ·
//   60 head checksum u32 (CRC32C of 16 ..< 60 and of envelope and state) · 64 envelope, state, prologue, body
// Attempt:            24 state length u32 · 28 facts length u32 · 32 state, facts
// Settled:            24 facts length u32 · 28 facts
// Facts:              the same; a record that changes nothing in the queue
//
// The highest bit of a facts length says that the facts may stand in an earlier record too.

import Files
import Mail
import NIOCore

/// What a record says.
enum SpoolKind: UInt8, Hashable, Sendable {
    case message = 1
    case attempt = 2
    case settled = 3
    /// A message copied out of an old segment, with its state.
    case moved = 4
    /// Facts for history alone.
    case facts = 5
}

/// The identity of one life of a segment: every checksum in it starts from ``seed``.
struct SegmentStamp: Hashable, Sendable {
    let sequence: UInt32
    let salt: UInt64
    let seed: UInt32

    init(sequence: UInt32, salt: UInt64) {
        self.sequence = sequence
        self.salt = salt
        var crc = CRC32C()
        crc.update(salt)
        crc.update(sequence)
        seed = crc.value
    }

    /// Of a segment whose headers are lost, and its salt with them: records give the seed away.
    init(sequence: UInt32, seed: UInt32) {
        self.sequence = sequence
        salt = 0
        self.seed = seed
    }

    func mark(offset: Int, length: Int, kind: UInt8) -> UInt32 {
        var crc = CRC32C(continuing: seed)
        crc.update(UInt64(UInt32(truncatingIfNeeded: offset)) | UInt64(UInt32(truncatingIfNeeded: length)) << 32)
        crc.update(UInt64(kind))
        return crc.value
    }

    /// The seed with which a record at that place has that mark.
    static func seed(of frame: SpoolRecord.Frame, at offset: Int) -> UInt32 {
        var marked: [UInt8] = []
        marked.append(number: UInt32(truncatingIfNeeded: offset))
        marked.append(number: UInt32(truncatingIfNeeded: frame.length))
        marked.append(number: UInt64(frame.kind))
        return CRC32C.start(leadingTo: frame.mark, over: marked)
    }
}

/// The fixed part of a message record, from byte 24 on.
struct MessageHead: Hashable, Sendable {
    static let flagDots: UInt8 = 1
    static let flagEightBit: UInt8 = 2
    static let flagLarge: UInt8 = 4

    /// Bytes from the start of a record to the envelope.
    static let end = 64
    /// Bytes of a body at most; no file system keeps a longer one, and sums of sizes stay far from overflowing.
    static let longestBody = 1 << 44

    var acceptedAt: Timestamp
    var bodyLength: Int
    var envelopeLength: Int
    var stateLength: Int
    var prologueLength: Int
    var bodyChecksum: UInt32
    var flags: UInt8

    var isLarge: Bool { flags & Self.flagLarge != 0 }

    /// Bytes of the body inside the record.
    var inlineBodyLength: Int { isLarge ? 0 : bodyLength }

    /// Reads bytes 24 ..< 64 of a record; `reader` stands at 24 and is left at 64.
    init(decoding reader: inout StoredReader) throws(Malformed) {
        acceptedAt = try reader.time()
        guard let body = Int(exactly: try reader.number(UInt64.self)), body <= Self.longestBody else {
            throw Malformed()
        }
        bodyLength = body
        envelopeLength = Int(try reader.number(UInt32.self))
        stateLength = Int(try reader.number(UInt32.self))
        prologueLength = Int(try reader.number(UInt32.self))
        bodyChecksum = try reader.number()
        flags = try reader.byte()
        for _ in 0..<3 { _ = try reader.byte() }
        _ = try reader.number(UInt32.self)
    }
}

enum SpoolRecord {
    static let headerSize = 16
    /// A settled record.
    static let minimumSize = 32

    static func aligned(_ size: Int) -> Int { (size + 7) & ~7 }

    /// A record's frame that lies inside `bytes` and whose mark is right, before its checksum is looked at.
    struct Frame: Hashable, Sendable {
        let length: Int
        let kind: UInt8
        let mark: UInt32
        let checksum: UInt32
    }

    /// Looks for a record's start in the first 16 of `bytes`.
    ///
    /// - Returns: nil when no record of this segment starts at this offset.
    static func frame(_ bytes: UnsafeRawBufferPointer, at offset: Int, in stamp: SegmentStamp) -> Frame? {
        guard let frame = unboundFrame(bytes),
            frame.mark == stamp.mark(offset: offset, length: frame.length, kind: frame.kind)
        else { return nil }
        return frame
    }

    /// What could be a record's start in some segment, whatever its mark.
    static func unboundFrame(_ bytes: UnsafeRawBufferPointer) -> Frame? {
        guard bytes.count >= headerSize else { return nil }
        let length = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self)))
        let kind = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
        guard length & 7 == 0, length >= minimumSize, (1...5).contains(kind) else { return nil }
        let mark = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self))
        let checksum = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        return Frame(length: length, kind: UInt8(kind), mark: mark, checksum: checksum)
    }

    /// What a whole record turned out to be.
    enum Verdict: Hashable, Sendable {
        case sound
        /// Its end never reached the disk.
        case torn
        case damaged
    }

    /// Verifies a whole record.
    static func verify(_ record: UnsafeRawBufferPointer, _ frame: Frame, in stamp: SegmentStamp) -> Verdict {
        guard record.count == frame.length else { return .torn }
        let end = UInt32(littleEndian: record.loadUnaligned(fromByteOffset: frame.length - 4, as: UInt32.self))
        var crc = CRC32C(continuing: stamp.seed)
        crc.update(UnsafeRawBufferPointer(rebasing: record[8..<frame.length - 4]))
        if crc.value == frame.checksum, end == ~frame.mark { return .sound }
        return end == ~frame.mark ? .damaged : .torn
    }
}

// MARK: - Writing

/// A record on its way into a segment: where its parts lie, before and after it has a place.
struct RecordPlan: Sendable {
    /// Where in the batch's buffer the header, the fixed part, envelope and state are.
    let head: Range<Int>
    /// Where in the batch's buffer the padding and the end mark are; they follow the head at once.
    let tail: Range<Int>
    let kind: SpoolKind
    /// Bytes of the whole record.
    let length: Int
    /// Bytes of this record's row in the index of the segment.
    let rowSize: Int
}

extension [UInt8] {
    /// Appends header, fixed part, envelope and state of a message, then padding and room for the end mark.
    mutating func appendRecord(_ message: NewMessage, state: DeliveryState?, bodyChecksum: UInt32) -> RecordPlan {
        let start = count
        let content = message.content
        append(contentsOf: repeatElement(0, count: SpoolRecord.headerSize))
        append(number: message.id.rawValue)
        append(time: message.acceptedAt)
        append(number: UInt64(content.bodySize))
        append(number: UInt64(0))  // envelope and state lengths, filled in below
        append(number: UInt32(content.prologue.readableBytes))
        append(number: bodyChecksum)
        var flags: UInt8 = 0
        if content.hasLeadingDots { flags |= MessageHead.flagDots }
        if content.isEightBit { flags |= MessageHead.flagEightBit }
        if case .file = content.body { flags |= MessageHead.flagLarge }
        append(number: UInt32(flags))
        append(number: UInt32(0))  // head checksum, filled in when the segment is known
        message.envelope.encode(to: &self)
        let envelopeLength = count - start - MessageHead.end
        state?.encode(to: &self)
        let stateLength = count - start - MessageHead.end - envelopeLength
        put(UInt32(truncatingIfNeeded: envelopeLength), at: start + 40)
        put(UInt32(truncatingIfNeeded: stateLength), at: start + 44)
        return close(start, kind: state == nil ? .message : .moved, outside: content.residentBytes)
    }

    mutating func appendRecord(_ state: DeliveryState, of id: QueueID, _ facts: Facts) -> RecordPlan {
        let start = count
        append(contentsOf: repeatElement(0, count: SpoolRecord.headerSize))
        append(number: id.rawValue)
        append(number: UInt32(0))
        append(number: facts.storedLength)
        state.encode(to: &self)
        let indexed = count - start
        put(UInt32(truncatingIfNeeded: indexed - 32), at: start + 24)
        append(contentsOf: facts.bytes)
        return close(start, kind: .attempt, indexed: indexed, outside: 0)
    }

    mutating func appendRecord(settled id: QueueID, _ facts: Facts) -> RecordPlan {
        appendRecord(facts, of: id, kind: .settled)
    }

    /// Facts alone, or with the end of a message.
    mutating func appendRecord(_ facts: Facts, of id: QueueID, kind: SpoolKind = .facts) -> RecordPlan {
        let start = count
        append(contentsOf: repeatElement(0, count: SpoolRecord.headerSize))
        append(number: id.rawValue)
        if !facts.isEmpty {
            append(number: facts.storedLength)
            append(contentsOf: facts.bytes)
        }
        return close(start, kind: kind, indexed: 24, outside: 0)
    }

    /// - Parameters:
    ///   - indexed: bytes from the start that the segment's index repeats; nil: all of them.
    ///   - outside: bytes of the record that stand between head and tail and are not copied here.
    private mutating func close(_ start: Int, kind: SpoolKind, indexed: Int? = nil, outside: Int) -> RecordPlan {
        let head = start..<count
        let length = SpoolRecord.aligned(head.count + outside + 4)
        append(contentsOf: repeatElement(0, count: length - head.count - outside))
        return RecordPlan(
            head: head,
            tail: head.upperBound..<count,
            kind: kind,
            length: length,
            rowSize: SpoolIndex.rowSize(kind: kind, headSize: indexed ?? head.count)
        )
    }

    /// Gives a planned record its place: fills in marks and checksums.
    mutating func seal(
        _ plan: RecordPlan,
        at offset: Int,
        in stamp: SegmentStamp,
        prologue: UnsafeRawBufferPointer,
        body: UnsafeRawBufferPointer
    ) {
        let start = plan.head.lowerBound
        let mark = stamp.mark(offset: offset, length: plan.length, kind: plan.kind.rawValue)
        put(UInt32(truncatingIfNeeded: plan.length), at: start)
        put(UInt32(plan.kind.rawValue), at: start + 8)
        put(mark, at: start + 12)
        put(~mark, at: plan.tail.upperBound - 4)
        if plan.kind == .message || plan.kind == .moved {
            put(headChecksum(plan.head, in: stamp), at: start + 60)
        }
        var crc = CRC32C(continuing: stamp.seed)
        withUnsafeBytes { bytes in
            crc.update(UnsafeRawBufferPointer(rebasing: bytes[(start + 8)..<plan.head.upperBound]))
            crc.update(prologue)
            crc.update(body)
            crc.update(UnsafeRawBufferPointer(rebasing: bytes[plan.tail.lowerBound..<plan.tail.upperBound - 4]))
        }
        put(crc.value, at: start + 4)
    }

    private func headChecksum(_ head: Range<Int>, in stamp: SegmentStamp) -> UInt32 {
        withUnsafeBytes { bytes in
            SpoolRecord.headChecksum(UnsafeRawBufferPointer(rebasing: bytes[head]), in: stamp)
        }
    }

    private mutating func put(_ number: UInt32, at index: Int) {
        withUnsafeMutableBytes { $0.storeBytes(of: number.littleEndian, toByteOffset: index, as: UInt32.self) }
    }
}

extension Facts {
    fileprivate static let again: UInt32 = 1 << 31

    /// Their length as a record has it.
    fileprivate var storedLength: UInt32 {
        UInt32(truncatingIfNeeded: bytes.count) | (mayBeThere ? Self.again : 0)
    }
}

// MARK: - Reading

extension SpoolRecord {
    /// The facts of a note.
    ///
    /// - Parameter record: whole and verified.
    static func facts(_ record: UnsafeRawBufferPointer, kind: SpoolKind) throws(Malformed) -> Facts {
        var reader = StoredReader(UnsafeRawBufferPointer(rebasing: record[24..<record.count - 4]))
        let start: Int
        let stored: UInt32
        switch kind {
        case .message, .moved: return .none
        case .attempt:
            let state = Int(try reader.number(UInt32.self))
            stored = try reader.number()
            start = 32 + state
        case .settled, .facts:
            // The shortest ones are padded with zeros here: no facts.
            guard reader.remaining >= 4 else { return .none }
            stored = try reader.number()
            start = 28
        }
        let length = Int(stored & ~Facts.again)
        guard start + length <= record.count - 4 else { throw Malformed() }
        let bytes = UnsafeRawBufferPointer(rebasing: record[start..<start + length])
        return Facts(Array(bytes), mayBeThere: stored & Facts.again != 0)
    }

    /// The checksum over everything of a message but prologue and body.
    ///
    /// - Parameter head: the record from its first byte to the end of the state.
    static func headChecksum(_ head: UnsafeRawBufferPointer, in stamp: SegmentStamp) -> UInt32 {
        var crc = CRC32C(continuing: stamp.seed)
        crc.update(UnsafeRawBufferPointer(rebasing: head[16..<60]))
        crc.update(UnsafeRawBufferPointer(rebasing: head[MessageHead.end...]))
        return crc.value
    }

    /// A message record taken apart; ranges are bytes of the record.
    struct Parts {
        let id: QueueID
        let head: MessageHead
        let envelope: Range<Int>
        let state: Range<Int>
        let prologue: Range<Int>
        let body: Range<Int>
    }

    /// Takes the fixed part of a message record apart and checks that its lengths fit the record.
    ///
    /// - Parameters:
    ///   - bytes: at least the first 64 bytes of the record.
    ///   - length: bytes of the whole record.
    static func parts(_ bytes: UnsafeRawBufferPointer, length: Int) throws(Malformed) -> Parts {
        guard bytes.count >= MessageHead.end else { throw Malformed() }
        var reader = StoredReader(UnsafeRawBufferPointer(rebasing: bytes[headerSize..<MessageHead.end]))
        let id = QueueID(rawValue: try reader.number())
        let head = try MessageHead(decoding: &reader)
        // Each of the first three is below 2^32, so the sum cannot overflow before the body is checked on its own.
        let fixed = MessageHead.end + head.envelopeLength + head.stateLength + head.prologueLength
        guard head.inlineBodyLength <= length, fixed + head.inlineBodyLength + 4 <= length else { throw Malformed() }
        let envelope = MessageHead.end..<MessageHead.end + head.envelopeLength
        let state = envelope.upperBound..<envelope.upperBound + head.stateLength
        let prologue = state.upperBound..<state.upperBound + head.prologueLength
        return Parts(
            id: id,
            head: head,
            envelope: envelope,
            state: state,
            prologue: prologue,
            body: prologue.upperBound..<prologue.upperBound + head.inlineBodyLength
        )
    }
}
