// LineFramer.swift — octets into command lines: only CRLF ends a line (RFC 5321 §2.3.8), and LF alone for a lenient session.
//
// Guarantees: a line with a bare CR, a bare LF or a NUL, or beyond the limit, is never interpreted, nor is what follows
// a bare LF up to the next CRLF; then framing is in step again. Never more than one line is held back. How the octets
// were cut into pieces makes no difference.

import Glibc
package import NIOCore

/// Finds command lines at the front of a buffer.
package struct LineFramer: Sendable {
    /// Why there is no line.
    package enum Fault: Hashable, Sendable {
        case tooLong
        /// A bare CR, a bare LF or a NUL.
        case bareLineEnding
    }

    /// What is at the front of the buffer.
    package enum Frame: Hashable, Sendable {
        /// There is no whole line yet.
        case incomplete
        /// So many octets and a line end are at the front of the buffer. The caller consumes them, ``lineEnd`` octets more
        /// than these.
        case line(Int)
        /// A line that must not be interpreted was consumed.
        case refused(Fault)
    }

    /// Octets of the line end behind the last line: those of CRLF, or 1 for LF alone.
    package private(set) var lineEnd = 2
    /// LF alone ends a line too.
    package var isLenient = false

    private let limit: Int
    /// Octets at the front of the buffer that hold no LF.
    private var searched = 0
    /// Set while the rest of a refused line is skipped.
    private var skipping: Fault?
    private var lastSkipped: UInt8 = 0

    /// - Parameter limit: longest line in octets, CRLF included.
    package init(limit: Int) { self.limit = limit }

    /// True when part of a line was seen.
    package func isMidLine(_ input: ByteBuffer) -> Bool { skipping != nil || input.readableBytes > 0 }

    /// Looks for the next line at the front of `input`.
    package mutating func next(_ input: inout ByteBuffer) -> Frame {
        let count = input.readableBytes
        let found = input.withUnsafeReadableBytes { bytes -> Int? in
            guard count > searched, let base = bytes.baseAddress else { return nil }
            guard let place = memchr(base + searched, 0x0A, count - searched) else { return nil }
            return UnsafeRawPointer(place) - base
        }
        guard let end = found else {
            if count >= limit || skipping != nil { skip(&input, count) } else { searched = count }
            return .incomplete
        }
        searched = 0
        return line(&input, endingAt: end)
    }

    private mutating func line(_ input: inout ByteBuffer, endingAt end: Int) -> Frame {
        let before = end > 0 ? input.getInteger(at: input.readerIndex + end - 1, as: UInt8.self) ?? 0 : lastSkipped
        let hasCR = before == 0x0D && (end > 0 || skipping != nil)
        guard hasCR || isLenient else {
            input.moveReaderIndex(forwardBy: end + 1)
            skipping = .bareLineEnding
            lastSkipped = 0x0A
            return .refused(.bareLineEnding)
        }
        if let fault = skipping {
            input.moveReaderIndex(forwardBy: end + 1)
            skipping = nil
            lastSkipped = 0
            return .refused(fault)
        }
        guard end + 1 <= limit else {
            input.moveReaderIndex(forwardBy: end + 1)
            return .refused(.tooLong)
        }
        let length = hasCR ? end - 1 : end
        lineEnd = hasCR ? 2 : 1
        let isPlain = input.withUnsafeReadableBytes { bytes in
            guard let base = bytes.baseAddress else { return true }
            return memchr(base, 0x0D, length) == nil && memchr(base, 0, length) == nil
        }
        if isPlain { return .line(length) }
        input.moveReaderIndex(forwardBy: end + 1)
        return .refused(.bareLineEnding)
    }

    private mutating func skip(_ input: inout ByteBuffer, _ count: Int) {
        guard count > 0 else { return }
        lastSkipped = input.getInteger(at: input.readerIndex + count - 1, as: UInt8.self) ?? 0
        input.moveReaderIndex(forwardBy: count)
        searched = 0
        if skipping == nil { skipping = .tooLong }
    }
}
