// ReturnedPart.swift — the message itself in a report: whole, or its header block (RFC 3461 §4.3, RFC 6522 §3).
//
// Seven bits and lines of at most 998 octets whatever the message is, or its report would be refused for what the message
// was refused for: it comes back as a gateway would have passed it on (`SevenBitWriter`), readable by every mail program;
// what was signed in it stays signed only where nothing had to be changed.

import Mail
import NIOCore

/// How the third part of a report is made.
enum ReturnedPart {
    /// The message, by this plan.
    case whole(SevenBitPlan)
    /// Its header, for this reason.
    case header(Reason)

    /// Why only the header comes back.
    enum Reason: Hashable {
        /// The sender asked for it, or has the message still.
        case notWanted
        /// Longer than may come back, bytes.
        case tooLarge(limit: Int)
        /// The next hop refused it for its size.
        case refusedForSize
        /// It cannot be sent in seven bits.
        case unfit(SevenBitPlan.Obstacle)

        /// What the sender reads about it; nil: nothing that is not known.
        func sentence(_ size: Int) -> String? {
            switch self {
            case .notWanted: nil
            case .tooLarge(let limit):
                "Only the header of your message is returned: it has \(size) bytes, and at most \(limit) come back."
            case .refusedForSize: "Only the header of your message is returned, because it is large: \(size) bytes."
            case .unfit(let obstacle):
                "Only the header of your message is returned: its text is no plain one, and \(obstacle)."
            }
        }
    }

    /// The value of Content-Type.
    var type: StaticString {
        switch self {
        case .whole: "message/rfc822"
        case .header: "text/rfc822-headers"
        }
    }

    /// A header block in lines that may be sent.
    ///
    /// - Parameters:
    ///   - beginning: of the message, as far as its header goes at least.
    ///   - limit: octets; of a longer header whole lines within it.
    static func header(of beginning: ByteBuffer, limit: Int) -> [UInt8] {
        let block = Array(headerBlock(beginning, limit: limit).readableBytesView)
        if SevenBitHeader.isFit(block) { return block + (block.last ?? 0x0A == 0x0A ? [] : [0x0D, 0x0A]) }
        return HeaderFields(block).fields.flatMap { SevenBitHeader.field($0) }
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
