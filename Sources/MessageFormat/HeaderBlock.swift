// HeaderBlock.swift — looks at a message's header while it arrives: what is there, how long it is, where it ends.
//
// Whoever needs to know where a header ends asks here: trace fields, signatures, hop counts, reports, `sendmail`. A header
// is the lines from the first on that are fields or their continuations; the first other line ends it, and is the text's
// when it is not empty. Lines of a mailbox file (`From ann Sun Nov 22 …`) in front of a field belong to the header.
//
// Guarantees: the body is never looked at; how the octets were cut into pieces makes no difference; a message without
// any header is fine. It keeps no text. RFC 5322 §2.2, §3.6, RFC 5321 §6.3, RFC 4155.

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

    /// How a header ended.
    package enum End: Hashable, Sendable {
        /// With the empty line, which belongs to neither header nor text.
        case emptyLine
        /// With a line that is no field: the text's first.
        case text
        /// Beyond the limit: nothing more was looked at.
        case limit
    }

    private let limit: Int
    private var state = State.lineStart
    /// The field name so far in lower case, as one number; meaningless beyond ten letters.
    private var key: UInt128 = 0
    private var keyLength = 0
    private var hasField = false
    /// Lines of a mailbox file were seen and no field behind them.
    private var awaitsField = false
    /// What the line has of a mailbox file's `From `: so many letters, or more than five when it is none.
    private var mailboxLetters = 0
    /// Octets before the line that is looked at.
    private var lineStart = 0

    /// Octets of the header so far, its empty line not counted; once it has ended, without what is the text's.
    package private(set) var size = 0
    /// How it ended; nil: it has not.
    package private(set) var end: End?
    package private(set) var hasMessageID = false
    package private(set) var hasDate = false
    /// `Received` fields so far.
    package private(set) var receivedCount = 0
    /// A field of the name that is watched for was seen, or one that begins alike and is as long.
    package private(set) var sawWatched = false
    /// The length of that name and its first ten letters; a length of 0: none.
    private var watchedLength = 0
    private var watchedKey: UInt128 = 0

    /// - Parameters:
    ///   - limit: octets; see ``isTooLarge``.
    ///   - name: of a field that is watched for, in small letters.
    package init(limit: Int, watching name: String? = nil) {
        self.limit = limit
        guard let name else { return }
        watchedLength = name.utf8.count
        watchedKey = name.utf8.prefix(10).reduce(0) { $0 << 8 | UInt128($1) }
    }

    /// The end of the header was seen.
    package var hasEnded: Bool { if case .ended = state { true } else { false } }
    package var isTooLarge: Bool { size > limit }
    /// The message begins with something that is neither a header field nor the empty line: fields that are put in
    /// front of it need an empty line behind them.
    package var isMissing: Bool { textIsFirst || awaitsField }
    private var textIsFirst = false
    /// The header begins with a line of a mailbox file, which is no field: whoever puts fields in front of it ends them with
    /// ``mailboxField``, so that it becomes the text of one.
    package var beginsAsMailbox: Bool { hasField && sawMailbox }
    private var sawMailbox = false

    /// What makes a field of a line that is none, as other relays write it.
    package static let mailboxField: StaticString = "X-Mailbox-Line: "

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
            if size > limit, end == nil {
                end = .limit
                state = .ended
            }
        }
    }

    /// Looks at the octets of a buffer from an offset behind its reader index.
    package mutating func consume(_ buffer: ByteBuffer, from offset: Int) {
        buffer.withUnsafeReadableBytes { bytes in
            guard offset < bytes.count else { return }
            consume(UnsafeRawBufferPointer(rebasing: bytes[max(0, offset)...]))
        }
    }

    /// Octets of the header of a message that is all there, without its empty line.
    package static func size(in message: UnsafeRawBufferPointer) -> Int {
        var block = HeaderBlock(limit: .max)
        block.consume(message)
        return block.size
    }

    /// Returns how many octets were taken: 0 or 1.
    private mutating func startLine(_ byte: UInt8) -> Int {
        lineStart = size
        switch byte {
        case 0x0D, 0x0A: return finish(.emptyLine)
        case 0x20, 0x09:
            guard hasField || awaitsField else { return finish(.text) }
            state = .text
        default:
            state = .name
            key = 0
            keyLength = 0
            mailboxLetters = 0
        }
        return 0
    }

    private mutating func takeName(_ byte: UInt8) -> Int {
        switch byte {
        case UInt8(ascii: ":"):
            guard keyLength > 0 else { return finish(.text) }
            recognise()
            hasField = true
            awaitsField = false
            state = .text
        case 0x20, 0x09:
            if case .name = state { lookForMailbox(byte) }
            state = .afterName
        case 0x21...0x7E:
            guard case .name = state else { return endLine() }
            keyLength &+= 1
            if keyLength <= 10 {
                key = key << 8 | UInt128((0x41...0x5A).contains(byte) ? byte | 0x20 : byte)
            }
            if !hasField { lookForMailbox(byte) }
        default: return endLine()
        }
        size &+= 1
        return 1
    }

    /// `From `, or `>From ` as it is written where a mailbox lies in another one.
    private mutating func lookForMailbox(_ byte: UInt8) {
        switch (mailboxLetters, byte) {
        case (0, UInt8(ascii: ">")): break
        case (0, UInt8(ascii: "F")), (1, UInt8(ascii: "r")), (2, UInt8(ascii: "o")), (3, UInt8(ascii: "m")), (4, 0x20):
            mailboxLetters += 1
        default: mailboxLetters = .max
        }
    }

    /// This line is no field: one of a mailbox file before the fields, or the text's first.
    private mutating func endLine() -> Int {
        guard mailboxLetters == 5, !hasField else { return finish(.text) }
        sawMailbox = true
        awaitsField = true
        state = .text
        return 0
    }

    /// The header ended before this line; without a field there is none, whatever stood above.
    private mutating func finish(_ end: End) -> Int {
        size = hasField ? lineStart : 0
        textIsFirst = !hasField && (end == .text || awaitsField)
        self.end = textIsFirst ? .text : end
        awaitsField = false
        state = .ended
        return 0
    }

    private mutating func recognise() {
        if keyLength == watchedLength, key == watchedKey { sawWatched = true }
        switch (keyLength, key) {
        case (4, 0x6461_7465): hasDate = true
        case (8, 0x7265_6365_6976_6564): receivedCount &+= 1
        case (10, 0x6D65_7373_6167_652D_6964): hasMessageID = true
        default: break
        }
    }
}
