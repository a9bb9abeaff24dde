// DotEncoder.swift — transparency on the way out: a dot in front of every line that begins with one, and the final dot.
//
// RFC 5321 §4.5.2. The pieces may be cut anywhere. The last line always gets its CRLF before the dot.

package import NIOCore

/// Turns the bytes of one message, in pieces, into what follows 354.
package struct DotEncoder: Sendable {
    /// No line of the body begins with a dot, so pieces may be written as they are (see ``passed(_:)``).
    package let passesThrough: Bool
    private var previous: UInt8 = UInt8(ascii: "\n")
    private var beforePrevious: UInt8 = UInt8(ascii: "\r")

    package init(hasLeadingDots: Bool) { passesThrough = !hasLeadingDots }

    /// Appends a piece, with dots where they are needed.
    package mutating func encode(_ piece: ByteBuffer, into out: inout ByteBuffer) {
        if passesThrough {
            out.writeImmutableBuffer(piece)
        } else {
            stuff(piece, into: &out)
        }
        passed(piece)
    }

    /// Notes a piece that the caller writes itself, unchanged.
    ///
    /// Only for an encoder that ``passesThrough``.
    package mutating func passed(_ piece: ByteBuffer) {
        piece.withUnsafeReadableBytes { bytes in
            guard let last = bytes.last else { return }
            beforePrevious = bytes.count > 1 ? bytes[bytes.count - 2] : previous
            previous = last
        }
    }

    /// Appends the end of the message: CRLF where the last line has none, and the dot.
    package mutating func finish(into out: inout ByteBuffer) {
        if beforePrevious != UInt8(ascii: "\r") || previous != UInt8(ascii: "\n") { out.writeStaticString("\r\n") }
        out.writeStaticString(".\r\n")
    }

    private func stuff(_ piece: ByteBuffer, into out: inout ByteBuffer) {
        out.reserveCapacity(minimumWritableBytes: piece.readableBytes + 64)
        piece.withUnsafeReadableBytes { bytes in
            var start = 0
            var atLineStart = previous == UInt8(ascii: "\n")
            for index in bytes.indices {
                let byte = bytes[index]
                if atLineStart, byte == UInt8(ascii: ".") {
                    out.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
                    out.writeInteger(UInt8(ascii: "."))
                    start = index
                }
                atLineStart = byte == UInt8(ascii: "\n")
            }
            out.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[start...]))
        }
    }
}
