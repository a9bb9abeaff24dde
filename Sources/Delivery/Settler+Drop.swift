// Settler+Drop.swift — the report about a message that never came into the queue: its program was told that it was kept.

package import Mail
import NIOCore
import Queue
import Storage

extension Settler {
    /// Tells the sender of a message which recipients were refused.
    ///
    /// - Parameter bytes: the message, with CRLF line ends.
    /// - Returns: whether the report is on disk, or nobody wants it there.
    package func reportUntaken(
        _ recipients: [(address: EmailAddress, reply: Reply)],
        from sender: EmailAddress,
        _ bytes: [UInt8]
    ) async -> Bool {
        let now = Timestamp.now()
        let envelope = Envelope(
            sender: .address(sender),
            recipients: recipients.map { Recipient($0.address) },
            isEightBit: bytes.contains { $0 >= 0x80 },
            needsUTF8: recipients.contains { !$0.address.isASCII } || !sender.isASCII
        )
        let content = Content(
            prologue: ByteBuffer(),
            body: .memory(ByteBuffer(bytes: bytes)),
            hasLeadingDots: true,
            isEightBit: envelope.isEightBit
        )
        let parcel = Parcel(
            id: Parcel.ID(message: queue.makeID(at: now), ticket: Ticket(0)),
            lane: .route("drop"),
            recipients: recipients.indices.map { UInt32($0) },
            failures: 0,
            acceptedAt: now
        )
        let failed = recipients.enumerated().map { index, refused in
            Verdicts.Failed(recipient: UInt32(index), failure: Failure(.recipient, at: .recipient, refused.reply))
        }
        return await reports.writeFailure(
            failed,
            of: Assignment(parcel: parcel, envelope: envelope, content: content),
            into: nil
        )
    }
}
