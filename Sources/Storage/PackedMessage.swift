// PackedMessage.swift — a message as one relay hands it to another: envelope, what became of it so far, its hold, its bytes. Pure.
//
//      "martlet message\n"
//      version              LEB128
//      id, acceptance       8 bytes each
//      head                 behind its length, as in the spool (``RecordHead``)
//      state                behind its length; empty: it was never tried
//      hold                 0, or 1 and since, until (0: until it is released), reason
//      prologue and body    as long as the head says
//      CRC32C               4 bytes, of everything before
//
// What is decoded makes sense as a whole, as everything does that the spool reads.

package import Files
package import Mail
import NIOCore

/// A message on its way to another relay.
package struct PackedMessage: Sendable {
    /// Why bytes are no message.
    package enum Fault: Error, Hashable, Sendable {
        case malformed
        /// It was made by a newer relay, in this version of the form.
        case newer(UInt64)
    }

    /// Of its form: what this program writes, and the newest that it reads.
    package static let version: UInt64 = 1
    /// The media type of its bytes.
    package static let mediaType = "application/vnd.martlet.message"

    private static let magic = Array("martlet message\n".utf8)
    private static let checksumLength = 4

    package let message: NewMessage
    package let state: DeliveryState
    package let hold: Hold?

    package init(_ message: NewMessage, _ state: DeliveryState, _ hold: Hold?) {
        (self.message, self.state, self.hold) = (message, state, hold)
    }

    /// Everything in front of the message's own bytes.
    package var front: [UInt8] {
        var bytes = Self.magic
        bytes.append(compact: Self.version)
        bytes.append(number: message.id.rawValue)
        bytes.append(time: message.acceptedAt)
        let head = SharedMail.head(of: message)
        bytes.append(compact: UInt64(head.count))
        bytes += head
        var known: [UInt8] = []
        if state != DeliveryState() { state.encode(to: &known) }
        bytes.append(compact: UInt64(known.count))
        bytes += known
        bytes.append(hold == nil ? 0 : 1)
        if let hold {
            bytes.append(time: hold.since.clamped)
            bytes.append(time: hold.until?.clamped ?? Timestamp(milliseconds: 0))
            bytes.append(string: hold.reason)
        }
        return bytes
    }

    /// Bytes of all of it.
    package func size(front: Int) -> Int { front + message.content.size + Self.checksumLength }

    /// What stands behind everything.
    package static func trailer(_ checksum: CRC32C) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(number: checksum.value)
        return bytes
    }

    /// What tells this message from every other one, wherever it is and whatever became of it: digest it.
    ///
    /// - Parameter visit: called with pieces in order.
    package func visitIdentity(_ visit: ([UInt8]) -> Void) throws(QueueError) {
        var bytes: [UInt8] = []
        bytes.append(number: message.id.rawValue)
        bytes.append(time: message.acceptedAt)
        message.envelope.encode(to: &bytes)
        visit(bytes)
        var offset = 0
        while offset < message.content.size {
            let piece = try message.content.read(at: offset, count: 256 << 10)
            guard !piece.isEmpty else { throw .damaged("message \(message.id) is shorter than it was") }
            visit(piece)
            offset += piece.count
        }
    }

    /// Reads a message, whose bytes are in memory then.
    package init(decoding bytes: [UInt8]) throws(Fault) {
        let found: Result<PackedMessage, Fault> = bytes.withUnsafeBytes { raw in
            do throws(Malformed) {
                return try Self.decode(raw, bytes)
            } catch {
                return .failure(.malformed)
            }
        }
        self = try found.get()
    }

    private static func decode(
        _ raw: UnsafeRawBufferPointer,
        _ bytes: [UInt8]
    ) throws(Malformed) -> Result<PackedMessage, Fault> {
        guard bytes.starts(with: magic) else { throw Malformed() }
        var reader = StoredReader(UnsafeRawBufferPointer(rebasing: raw[magic.count...]))
        let version = try reader.compact()
        guard version <= Self.version else { return .failure(.newer(version)) }
        let id = QueueID(rawValue: try reader.number())
        let acceptedAt = try reader.time()
        guard let head = SharedMail.head(decoding: Array(try reader.piece())), head.head.acceptedAt == acceptedAt,
            head.state == DeliveryState(), !head.envelope.recipients.isEmpty
        else { throw Malformed() }
        let known = try reader.piece()
        var state = DeliveryState()
        if !known.isEmpty {
            guard let stored = DeliveryState(stored: Array(known)[...]),
                stored.fits(recipients: head.envelope.recipients.count),
                !head.isFinished(stored)
            else { throw Malformed() }
            state = stored
        }
        let hold = try hold(&reader)
        let start = magic.count + reader.position
        guard reader.remaining == head.size + checksumLength else { throw Malformed() }
        var crc = CRC32C()
        crc.update(UnsafeRawBufferPointer(rebasing: raw[..<(start + head.size)]))
        let stored = UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: start + head.size, as: UInt32.self))
        guard stored == crc.value else { throw Malformed() }
        let prologue = bytes[start..<start + head.head.prologueLength]
        let body = bytes[prologue.endIndex..<start + head.size]
        let content = Content(
            prologue: ByteBuffer(bytes: prologue),
            body: .memory(ByteBuffer(bytes: body)),
            hasLeadingDots: head.head.flags & MessageHead.flagDots != 0,
            isEightBit: head.head.flags & MessageHead.flagEightBit != 0
        )
        let message = NewMessage(id: id, acceptedAt: acceptedAt, envelope: head.envelope, content: content)
        return .success(PackedMessage(message, state, hold))
    }

    private static func hold(_ reader: inout StoredReader) throws(Malformed) -> Hold? {
        switch try reader.byte() {
        case 0: return nil
        case 1:
            let since = try reader.time()
            let until = try reader.time()
            let reason = try reader.string()
            return Hold(since: since, until: until.milliseconds == 0 ? nil : until, reason: reason)
        default: throw Malformed()
        }
    }
}

extension NewMessage {
    /// The same under another name, and with its body elsewhere.
    package func renamed(_ id: QueueID, body: Content.Body? = nil) -> NewMessage {
        NewMessage(
            id: id,
            acceptedAt: acceptedAt,
            envelope: envelope,
            content: Content(
                prologue: content.prologue,
                body: body ?? content.body,
                hasLeadingDots: content.hasLeadingDots,
                isEightBit: content.isEightBit
            )
        )
    }
}
