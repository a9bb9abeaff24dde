// HeaderBlock.swift — looks at a message's header while it arrives: what is there, how long it is, where it ends.
//
// Guarantees: the body is never looked at; how the octets were cut into pieces makes no difference; a message without
// any header is fine. It keeps no text. RFC 5322 §2.2, §3.6, RFC 5321 §6.3.

import Glibc
package import NIOCore

/// What is known of the header of one message.
package struct HeaderBlock: Sendable {
    private enum State: Sendable {
        case lineStart
        /// In a field name.
        case name
        /// Behind a field name and a space: only more spaces and the colon may come (obsolete syntax, RFC 5322 §4.5).
        case afterName
        /// In a field's text.
        case text
        case ended
    }

    private let limit: Int
    private var state = State.lineStart
    /// The field name so far in lower case, as one number; meaningless beyond ten letters.
    private var key: UInt128 = 0
    private var keyLength = 0
    private var hasField = false

    /// Octets of the header so far, its empty line not counted.
    package private(set) var size = 0
    package private(set) var hasMessageID = false
    package private(set) var hasDate = false
    /// `Received` fields so far.
    package private(set) var receivedCount = 0

    /// - Parameter limit: octets; see ``isTooLarge``.
    package init(limit: Int) { self.limit = limit }

    /// The end of the header was seen.
    package var hasEnded: Bool { if case .ended = state { true } else { false } }
    package var isTooLarge: Bool { size > limit }
    /// The message begins with something that is neither a header field nor the empty line: fields that are put in
    /// front of it need an empty line behind them.
    package private(set) var isMissing = false

    /// Looks at the next octets of the message.
    package mutating func consume(_ bytes: UnsafeRawBufferPointer) {
        var index = 0
        while index < bytes.count {
            switch state {
            case .ended: return
            case .lineStart: index += startLine(bytes[index])
            case .text:
                let (rest, start) = (bytes.count - index, bytes.baseAddress.map { $0 + index })
                let end = start.flatMap { memchr($0, 0x0A, rest) }
                let length = if let end, let start { UnsafeRawPointer(end) - start + 1 } else { rest }
                if end != nil { state = .lineStart }
                index += length
                size &+= length
            case .name, .afterName: index += takeName(bytes[index])
            }
            if size > limit { state = .ended }
        }
    }

    /// Looks at the octets of a buffer from an offset behind its reader index.
    package mutating func consume(_ buffer: ByteBuffer, from offset: Int) {
        buffer.withUnsafeReadableBytes { bytes in
            guard offset < bytes.count else { return }
            consume(UnsafeRawBufferPointer(rebasing: bytes[max(0, offset)...]))
        }
    }

    /// Returns how many octets were taken: 0 or 1.
    private mutating func startLine(_ byte: UInt8) -> Int {
        switch byte {
        case 0x0D, 0x0A:
            state = .ended
            return 0
        case 0x20, 0x09:
            guard hasField else { return end() }
            state = .text
        default:
            state = .name
            key = 0
            keyLength = 0
        }
        return 0
    }

    private mutating func takeName(_ byte: UInt8) -> Int {
        switch byte {
        case UInt8(ascii: ":"):
            guard keyLength > 0 else { return end() }
            recognise()
            hasField = true
            state = .text
        case 0x20, 0x09: state = .afterName
        case 0x21...0x7E:
            guard case .name = state else { return end() }
            keyLength &+= 1
            if keyLength <= 10 {
                key = key << 8 | UInt128((0x41...0x5A).contains(byte) ? byte | 0x20 : byte)
            }
        default: return end()
        }
        size &+= 1
        return 1
    }

    /// This line is no field: the header ended before it.
    private mutating func end() -> Int {
        isMissing = !hasField
        state = .ended
        return 0
    }

    private mutating func recognise() {
        switch (keyLength, key) {
        case (4, 0x6461_7465): hasDate = true
        case (8, 0x7265_6365_6976_6564): receivedCount &+= 1
        case (10, 0x6D65_7373_6167_652D_6964): hasMessageID = true
        default: break
        }
    }
}
