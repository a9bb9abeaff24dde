// DotDecoder.swift — message content after DATA: takes the transparency away and finds the end.
//
// Guarantees: only CRLF.CRLF ends a message. A bare CR, a bare LF or a NUL is noted and the decoder goes on to the real
// end, so that nothing in a message is ever taken for a command (CVE-2023-51764, -51765, -51766). How the octets were
// cut into pieces makes no difference. Beyond the limit it consumes and keeps nothing.
// For a lenient session see ``LineEndRule``.
// RFC 5321 §2.3.8, §4.1.1.4, §4.5.2.

import Glibc
package import NIOCore

/// Decodes one message.
package struct DotDecoder: Sendable {
    /// What came before the next octet.
    enum State: Sendable {
        /// CRLF, or nothing yet.
        case lineStart
        /// LF alone, where that ends a line of text and can end nothing else.
        case softStart
        case text
        /// CR, which went to the output already.
        case cr
        /// A dot at the start of a line, which does not go to the output.
        case dot
        /// The same and CR, which is held back.
        case dotCR
    }

    var state = State.lineStart
    var scan = ContentScan()
    private let limit: Int
    let lineEnds: LineEndRule

    /// Octets of the decoded message, also beyond the limit.
    package private(set) var size = 0
    /// Some decoded line begins with a dot.
    package internal(set) var hasLeadingDots = false
    /// LF alone became CRLF.
    package internal(set) var isMended = false
    /// Some octet is above 127.
    package var isEightBit: Bool { scan.isEightBit }
    /// No bare CR, bare LF or NUL was seen.
    package var isClean: Bool { scan.isClean }
    package var isTooLarge: Bool { size > limit }
    /// Set when the message is refused already: goes on consuming, keeps nothing.
    package var discards = false

    /// - Parameter limit: octets of the decoded message that are kept.
    package init(limit: Int, lineEnds: LineEndRule = .strict) {
        self.limit = limit
        self.lineEnds = lineEnds
    }

    /// Consumes `input` up to the end of the message, or all of it, and appends what it stands for to `output`.
    ///
    /// - Returns: true when the end was found and consumed.
    package mutating func decode(_ input: inout ByteBuffer, into output: inout ByteBuffer) -> Bool {
        var ended = false
        let consumed = input.withUnsafeReadableBytes { raw -> Int in
            guard let base = raw.bindMemory(to: UInt8.self).baseAddress else { return 0 }
            if lineEnds != .strict { return mend(base, raw.count, into: &output, ended: &ended) }
            return decode(base, raw.count, into: &output, ended: &ended)
        }
        input.moveReaderIndex(forwardBy: consumed)
        return ended
    }

    private mutating func decode(
        _ bytes: UnsafePointer<UInt8>,
        _ count: Int,
        into output: inout ByteBuffer,
        ended: inout Bool
    ) -> Int {
        var index = 0
        var runStart = 0
        while index < count {
            let byte = bytes[index]
            switch state {
            case .lineStart where byte == 0x2E:
                keep(bytes, runStart..<index, in: &output)
                index += 1
                runStart = index
                state = .dot
            case .lineStart, .softStart, .text:
                index = scanText(bytes, from: index, to: count)
            case .cr:
                if byte == 0x0A {
                    index += 1
                    state = .lineStart
                } else {
                    scan.noteBare()
                    state = .text
                }
            case .dot:
                if byte == 0x0D {
                    index += 1
                    runStart = index
                    state = .dotCR
                } else {
                    if byte == 0x2E { hasLeadingDots = true }
                    state = .text
                }
            case .dotCR:
                if byte == 0x0A {
                    ended = true
                    return index + 1
                }
                scan.noteBare()
                state = .text
            }
        }
        keep(bytes, runStart..<count, in: &output)
        return count
    }

    /// Goes over text to the next dot that starts a line, or to the end, and leaves the state that holds there.
    private mutating func scanText(_ bytes: UnsafePointer<UInt8>, from start: Int, to count: Int) -> Int {
        // The first octet's predecessor is not CR, or the state would say so.
        if bytes[start] == 0x0A { scan.noteBare() }
        var index = start
        let last = count - 1
        while index < last {
            let length = min(ContentScan.block, last - index)
            let before = scan
            if scan.addPairs(bytes + index, length), let place = dotLine(bytes, start, index..<index + length) {
                // What follows a dot may be commands: their octets are not ours to judge.
                scan = before
                _ = scan.addPairs(bytes + index, place + 1 - index)
                state = .lineStart
                return place + 1
            }
            index += length
        }
        let final = bytes[last]
        scan.note(final)
        switch final {
        case 0x0D: state = .cr
        case 0x0A where last > start && bytes[last - 1] == 0x0D: state = .lineStart
        default: state = .text
        }
        return count
    }

    /// Where CRLF ends in front of a dot.
    ///
    /// - Parameters:
    ///   - start: the first octet whose predecessor is in `bytes` as well is the one behind it.
    ///   - range: of the LF; the octet behind it is readable.
    private func dotLine(_ bytes: UnsafePointer<UInt8>, _ start: Int, _ range: Range<Int>) -> Int? {
        var place = range.lowerBound
        while place < range.upperBound, let found = memchr(bytes + place, 0x0A, range.upperBound - place) {
            place = UnsafePointer<UInt8>(found.assumingMemoryBound(to: UInt8.self)) - bytes
            if bytes[place + 1] == 0x2E, place > start, bytes[place - 1] == 0x0D { return place }
            place += 1
        }
        return nil
    }

    mutating func keep(_ bytes: UnsafePointer<UInt8>, _ run: Range<Int>, in output: inout ByteBuffer) {
        guard !run.isEmpty else { return }
        size = size &+ run.count
        guard size <= limit, !discards else { return }
        output.writeBytes(UnsafeRawBufferPointer(start: bytes + run.lowerBound, count: run.count))
    }

    /// Ends a line as every line has to.
    mutating func keepLineEnd(in output: inout ByteBuffer) {
        size = size &+ 2
        guard size <= limit, !discards else { return }
        output.writeStaticString("\r\n")
    }
}
