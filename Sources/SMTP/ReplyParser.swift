// ReplyParser.swift — bytes of a peer become replies, or the verdict that they are none.
//
// Guarantees: memory and work are bounded whatever the peer sends; a reply is well-formed to the letter (three digits, the
// same on every line, line ends as agreed) or it is no reply at all; the text is printable.
// RFC 5321 §4.2 (replies), §4.2.1 (multi-line), RFC 2034 and RFC 3463 (enhanced status codes).

package import Mail
package import NIOCore

/// Cuts a stream of bytes into replies.
///
/// ```
/// S: 250-2.1.5 first line
/// S: 250 2.1.5 last line
/// ```
package struct ReplyParser: ~Copyable, Sendable {
    /// What the bytes so far make.
    package enum Output: Hashable, Sendable {
        case reply(Reply)
        /// More bytes are needed.
        case incomplete
        /// This is no SMTP; nothing that follows can be trusted either. The words are ours, not the peer's.
        case malformed(String)
    }

    /// The most bytes that one reply may have, line ends included.
    package static let maxBytes = 64 << 10
    /// The most lines that one reply may have.
    package static let maxLines = 1000
    /// Octets of text that are kept of a reply, all its lines together.
    package static let keptText = 512

    /// A line may end in LF alone; there is nothing that it could be taken for, since a reply is never mail.
    private let takesBareLF: Bool
    private var pending = ByteBuffer()
    /// Bytes of `pending` that are known to hold no LF, so that a peer that drips is not read over and over.
    private var searched = 0
    /// Of the multi-line reply that is being read; 0 between replies.
    private var code: UInt16 = 0
    private var status: EnhancedStatus?
    private var lines: [String] = []
    private var keptBytes = 0
    private var readBytes = 0
    private var readLines = 0
    private var flaw: String?

    /// - Parameter takesBareLF: understand peers whose lines end in LF without CR.
    package init(takesBareLF: Bool = true) { self.takesBareLF = takesBareLF }

    /// True when bytes were received that belong to no reply that ``next(keeping:)`` has returned.
    package var holdsMore: Bool { pending.readableBytes > 0 || code != 0 }

    /// Takes what the socket gave.
    ///
    /// Call ``next(keeping:)`` until it is `.incomplete` before the next call, so that what is held stays bounded.
    package mutating func append(_ bytes: ByteBuffer) {
        if flaw != nil { return }
        if pending.readableBytes == 0 {
            pending = bytes
        } else {
            var bytes = bytes
            pending.writeBuffer(&bytes)
        }
    }

    /// The next reply.
    ///
    /// After `.malformed` it is always `.malformed`.
    ///
    /// - Parameter limit: octets of text to keep; more only for the reply to EHLO, whose text matters.
    package mutating func next(keeping limit: Int = ReplyParser.keptText) -> Output {
        while flaw == nil {
            guard let length = lengthOfLine() else {
                if readBytes &+ pending.readableBytes > Self.maxBytes { return fail("a reply of more than 64 KiB") }
                return .incomplete
            }
            readBytes &+= length
            readLines &+= 1
            if readBytes > Self.maxBytes { return fail("a reply of more than 64 KiB") }
            if readLines > Self.maxLines { return fail("a reply of more than 1000 lines") }
            guard let isLast = takeLine(length, limit) else { return fail(flaw ?? "no reply") }
            if isLast { return finish() }
        }
        return .malformed(flaw ?? "no reply")
    }

    /// Bytes up to and including the first LF.
    private mutating func lengthOfLine() -> Int? {
        let start = searched
        let length = pending.withUnsafeReadableBytes { bytes in
            bytes[start...].firstIndex(of: UInt8(ascii: "\n")).map { $0 &+ 1 }
        }
        searched = length == nil ? pending.readableBytes : 0
        return length
    }

    private mutating func fail(_ reason: String) -> Output {
        flaw = reason
        pending = ByteBuffer()
        lines = []
        return .malformed(reason)
    }

    private mutating func finish() -> Output {
        let reply = Reply(code, status, lines: lines)
        code = 0
        status = nil
        lines = []
        keptBytes = 0
        readBytes = 0
        readLines = 0
        return .reply(reply)
    }

    /// Reads one line of `length` bytes.
    ///
    /// - Returns: whether it ends the reply; nil when it is malformed, with `flaw` set.
    private mutating func takeLine(_ length: Int, _ limit: Int) -> Bool? {
        guard let line = pending.readSlice(length: length) else { return nil }
        // Gives the socket's buffer back, so that it can be used again for the next read.
        if pending.readableBytes == 0 { pending = ByteBuffer() }
        return line.withUnsafeReadableBytes { bytes -> Bool? in
            let hasCR = length >= 2 && bytes[length - 2] == UInt8(ascii: "\r")
            guard hasCR || takesBareLF else {
                flaw = "a line that does not end in CRLF"
                return nil
            }
            let end = length - (hasCR ? 2 : 1)
            guard end >= 3, let value = Self.code(bytes) else {
                flaw = "a line without a reply code"
                return nil
            }
            if code == 0 { code = value }
            guard value == code else {
                flaw = "different codes in one reply"
                return nil
            }
            guard end > 3 else {
                keep(UnsafeRawBufferPointer(rebasing: bytes[3..<3]), limit)
                return true
            }
            let separator = bytes[3]
            guard separator == UInt8(ascii: " ") || separator == UInt8(ascii: "-") else {
                flaw = "no space after the reply code"
                return nil
            }
            keep(UnsafeRawBufferPointer(rebasing: bytes[4..<end]), limit)
            return separator == UInt8(ascii: " ")
        }
    }

    /// The code of a line of at least three bytes, 200…599.
    private static func code(_ bytes: UnsafeRawBufferPointer) -> UInt16? {
        guard (UInt8(ascii: "2")...UInt8(ascii: "5")).contains(bytes[0]) else { return nil }
        var value: UInt16 = 0
        for index in 0..<3 {
            let digit = bytes[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            value = value * 10 + UInt16(digit)
        }
        return value
    }

    /// Keeps the text of a line, without its enhanced status.
    private mutating func keep(_ bytes: UnsafeRawBufferPointer, _ limit: Int) {
        var text = bytes
        if let (found, length) = Self.status(text, severity: UInt8(truncatingIfNeeded: code / 100)) {
            if status == nil { status = found }
            text = UnsafeRawBufferPointer(rebasing: text[length...])
        }
        let room = limit - keptBytes
        if readLines > 1, room <= 0 { return }
        let kept = UnsafeRawBufferPointer(rebasing: text.prefix(max(0, room)))
        keptBytes += kept.count
        lines.append(Self.printable(kept))
    }

    /// Reads `class.subject.detail` at the start of a line's text.
    ///
    /// A class that contradicts the reply code is corrected, since the code decides. A 3yz reply has none.
    /// - Returns: the status and how many octets to skip, the space behind it included.
    private static func status(_ bytes: UnsafeRawBufferPointer, severity: UInt8) -> (EnhancedStatus, Int)? {
        guard severity != 3, bytes.count >= 5, [0x32, 0x34, 0x35].contains(bytes[0]), bytes[1] == UInt8(ascii: ".")
        else { return nil }
        var index = 2
        guard let subject = number(bytes, &index), index < bytes.count, bytes[index] == UInt8(ascii: ".") else {
            return nil
        }
        index += 1
        guard let detail = number(bytes, &index) else { return nil }
        if index < bytes.count {
            guard bytes[index] == UInt8(ascii: " ") else { return nil }
            index += 1
        }
        return (EnhancedStatus(severity, subject, detail), index)
    }

    /// One to three digits.
    private static func number(_ bytes: UnsafeRawBufferPointer, _ index: inout Int) -> UInt16? {
        var value: UInt16 = 0
        var count = 0
        while index < bytes.count, count < 3, bytes[index] &- UInt8(ascii: "0") <= 9 {
            value = value * 10 + UInt16(bytes[index] &- UInt8(ascii: "0"))
            index += 1
            count += 1
        }
        return count > 0 ? value : nil
    }

    /// Text that may stand in logs and reports: control characters and broken UTF-8 are replaced.
    private static func printable(_ bytes: UnsafeRawBufferPointer) -> String {
        if bytes.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) { return String(decoding: bytes, as: UTF8.self) }
        var text = ""
        for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
                text.unicodeScalars.append("?")
            default:
                text.unicodeScalars.append(scalar)
            }
        }
        return text
    }
}
