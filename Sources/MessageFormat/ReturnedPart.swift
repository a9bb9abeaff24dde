// ReturnedPart.swift — the message itself in a report: whole, or its header block (RFC 3461 §4.3, RFC 6522 §4).

import Mail
import NIOCore

/// The third part of a report.
struct ReturnedPart {
    /// The value of Content-Type.
    let type: String
    let body: ByteBuffer
    let isEightBit: Bool

    /// Takes the whole message when it was not asked otherwise, is short enough and is all there; else its header block.
    ///
    /// Only a failure brings the message back: whoever hears of a delay or a success has it still.
    init(_ original: BounceReport.Original, kind: BounceReport.Kind, limit: Int) {
        let isWhole =
            kind == .failure && original.returns != .headers && original.size <= limit
            && original.prefix.readableBytes == original.size
        var body: ByteBuffer
        if isWhole {
            type = original.needsUTF8 ? "message/global" : "message/rfc822"
            body = original.prefix
        } else {
            type = original.needsUTF8 ? "message/global-headers" : "text/rfc822-headers"
            body = Self.headerBlock(original.prefix, limit: max(0, limit))
        }
        if body.readableBytes > 0, !body.readableBytesView.suffix(2).elementsEqual([0x0D, 0x0A]) {
            body.writeStaticString("\r\n")
        }
        isEightBit = body.readableBytesView.hasHighBytes
        self.body = body
    }

    /// The header, or the whole lines of it within the limit when it is longer, or not all there.
    private static func headerBlock(_ message: ByteBuffer, limit: Int) -> ByteBuffer {
        var block = HeaderBlock(limit: limit)
        block.consume(message, from: 0)
        var length = block.size
        if block.end == nil || block.isTooLarge {
            let lines = message.readableBytesView.prefix(min(limit, length))
            length = lines.lastIndex(of: 0x0A).map { $0 + 1 - lines.startIndex } ?? 0
        }
        return message.getSlice(at: message.readerIndex, length: length) ?? ByteBuffer()
    }
}

extension ByteBufferView {
    var hasHighBytes: Bool { withUnsafeBytes { bytes in bytes.contains { $0 > 0x7F } } }

    /// Some line begins with a dot.
    var hasLeadingDots: Bool {
        withUnsafeBytes { bytes in
            var previous: UInt8 = 0x0A
            for byte in bytes {
                if byte == 0x2E, previous == 0x0A { return true }
                previous = byte
            }
            return false
        }
    }

    /// Whether `needle` occurs anywhere.
    func holds(_ needle: [UInt8]) -> Bool {
        withUnsafeBytes { bytes in
            guard let first = needle.first, bytes.count >= needle.count else { return false }
            for start in 0...(bytes.count - needle.count) where bytes[start] == first {
                if bytes[start..<start + needle.count].elementsEqual(needle) { return true }
            }
            return false
        }
    }
}
