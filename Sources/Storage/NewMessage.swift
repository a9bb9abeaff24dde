// NewMessage.swift — a message at the moment the queue gets it, and its bytes.

package import Mail
package import NIOCore

/// A received message, complete, on its way to the disk; then its bytes in memory, until its first attempt ends or memory is short.
///
/// One reference from the door to the sessions: nothing of it ever changes, and envelopes are dear to copy.
package final class NewMessage: Sendable {
    package let id: QueueID
    package let acceptedAt: Timestamp
    package let envelope: Envelope
    package let content: Content

    package init(id: QueueID, acceptedAt: Timestamp, envelope: Envelope, content: Content) {
        self.id = id
        self.acceptedAt = acceptedAt
        self.envelope = envelope
        self.content = content
    }

    /// Bytes of this message that are held in memory, its envelope included.
    package var residentBytes: Int { content.residentBytes + envelope.footprint }
}

/// The bytes of a message exactly as they will be sent: lines end in CRLF, the last one too, and nothing is dot-stuffed.
package struct Content: Sendable {
    /// Where what the client sent is.
    package enum Body: Sendable {
        case memory(ByteBuffer)
        case file(any LargeBody)
    }

    /// Our own header lines, put in front of what the client sent.
    package let prologue: ByteBuffer
    /// What the client sent.
    package let body: Body
    /// Some line of the body begins with a dot, so the sender must stuff; otherwise the bytes go out as they are.
    package let hasLeadingDots: Bool
    /// Some octet of the body is above 127.
    package let isEightBit: Bool

    package init(prologue: ByteBuffer, body: Body, hasLeadingDots: Bool, isEightBit: Bool) {
        self.prologue = prologue
        self.body = body
        self.hasLeadingDots = hasLeadingDots
        self.isEightBit = isEightBit
    }

    /// Prologue and body, in bytes.
    package var size: Int { prologue.readableBytes + bodySize }

    /// The body alone, in bytes.
    package var bodySize: Int { body.size }

    /// Bytes of this message that are held in memory.
    package var residentBytes: Int {
        switch body {
        case .memory(let bytes): prologue.readableBytes + bytes.readableBytes
        case .file: prologue.readableBytes
        }
    }
}

extension Content.Body {
    /// Bytes.
    package var size: Int {
        switch self {
        case .memory(let bytes): bytes.readableBytes
        case .file(let file): file.size
        }
    }
}

extension Content {
    /// Reads bytes of the message, prologue and body as one.
    ///
    /// Blocks.
    /// - Returns: fewer bytes than asked only at the end.
    /// - Throws: ``QueueError`` when the body's file cannot be read or turns out damaged.
    package func read(at offset: Int, count: Int) throws(QueueError) -> [UInt8] {
        var bytes: [UInt8] = []
        let head = prologue.readableBytesView
        if offset < head.count { bytes += head.dropFirst(max(0, offset)).prefix(count) }
        let rest = count - bytes.count
        let place = max(0, offset - head.count)
        guard rest > 0, place < bodySize else { return bytes }
        switch body {
        case .memory(let body): bytes += body.readableBytesView.dropFirst(place).prefix(rest)
        case .file(let file): bytes += try file.read(at: place, count: rest).readableBytesView
        }
        return bytes
    }
}
