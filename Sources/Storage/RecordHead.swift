// RecordHead.swift — everything of a message record but its bytes, decoded and looked through; the one way to read it.
//
// Guarantees: what decodes makes sense as a whole. Lengths agree with what stands there, the state is about recipients
// that the envelope has, and the sizes can be added up. Recovery, delivery, listings and the tools all read through this.

import Files
import Mail

/// A message record's fixed part, envelope and state.
struct RecordHead {
    let head: MessageHead
    let envelope: Envelope
    let state: DeliveryState

    /// Decodes a record from byte 24 on.
    init(decoding reader: inout StoredReader) throws(Malformed) {
        head = try MessageHead(decoding: &reader)
        let start = reader.remaining
        envelope = try Envelope(decoding: &reader)
        guard start - reader.remaining == head.envelopeLength else { throw Malformed() }
        state = head.stateLength > 0 ? try DeliveryState(decoding: &reader) : DeliveryState()
        guard start - reader.remaining == head.envelopeLength + head.stateLength,
            state.fits(recipients: envelope.recipients.count)
        else { throw Malformed() }
    }

    /// Prologue and body, in bytes.
    var size: Int { head.prologueLength + head.bodyLength }

    /// What is known of the message in the end.
    ///
    /// - Parameter note: the newest one about it; it counts instead of what the record was written with.
    /// - Returns: nil when the note is about recipients that the message does not have.
    func state(after note: DeliveryState?) -> DeliveryState? {
        guard let note else { return state }
        return note.fits(recipients: envelope.recipients.count) ? note : nil
    }

    /// Every recipient is done: only the record that says so is missing.
    func isFinished(_ state: DeliveryState) -> Bool { state.done.count == envelope.recipients.count }

    /// Reads and verifies the head of a record without its body; nil when anything is wrong.
    init?(_ id: QueueID, at location: Location, in context: SpoolContext) {
        guard let (stamp, file) = try? context.segment(location.segment),
            var bytes = try? file.read(min(Int(location.length), 1024), at: Int(location.offset)),
            let parts = Self.parts(bytes, location, stamp), parts.id == id
        else { return nil }
        if parts.state.upperBound > bytes.count {
            guard let more = try? file.read(parts.state.upperBound, at: Int(location.offset)),
                more.count == parts.state.upperBound
            else { return nil }
            bytes = more
        }
        let head: RecordHead? = bytes.withUnsafeBytes { raw in
            let stored = UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 60, as: UInt32.self))
            let head = UnsafeRawBufferPointer(rebasing: raw[..<parts.state.upperBound])
            guard SpoolRecord.headChecksum(head, in: stamp) == stored else { return nil }
            var reader = StoredReader(UnsafeRawBufferPointer(rebasing: raw[24..<parts.state.upperBound]))
            return try? RecordHead(decoding: &reader)
        }
        guard let head else { return nil }
        self = head
    }

    private static func parts(_ bytes: [UInt8], _ location: Location, _ stamp: SegmentStamp) -> SpoolRecord.Parts? {
        bytes.withUnsafeBytes { raw in
            guard SpoolRecord.frame(raw, at: Int(location.offset), in: stamp) != nil else { return nil }
            return try? SpoolRecord.parts(raw, length: Int(location.length))
        }
    }
}
