// ChunkDecoder.swift — message content that comes in counted chunks (BDAT, RFC 3030): no transparency, the same strictness.
//
// Guarantees: exactly the announced octets are consumed. Bare CR, bare LF and NUL are noted, also across chunks.

package import NIOCore

/// Decodes the chunks of one message.
package struct ChunkDecoder: Sendable {
    private var scan = ContentScan()
    /// The octet before the next one; a message begins as if after a line end.
    private var previous: UInt8 = 0x0A
    /// Octets of the current chunk that are still to come.
    package private(set) var remaining = 0
    /// Octets of the message so far.
    package private(set) var size = 0
    package private(set) var hasLeadingDots = false
    package var isEightBit: Bool { scan.isEightBit }
    package var isClean: Bool { scan.isClean }
    /// Set when the message is refused already: goes on consuming, keeps nothing.
    package var discards = false

    package init() {}

    /// Begins a chunk of so many octets.
    package mutating func begin(_ octets: Int) { remaining = octets }

    /// Consumes what there is of the chunk and appends it to `output`.
    ///
    /// - Returns: true when the chunk is complete.
    package mutating func decode(_ input: inout ByteBuffer, into output: inout ByteBuffer) -> Bool {
        let count = min(remaining, input.readableBytes)
        if count > 0 {
            input.withUnsafeReadableBytes { raw in
                guard let base = raw.bindMemory(to: UInt8.self).baseAddress else { return }
                look(base, count)
                if !discards { output.writeBytes(UnsafeRawBufferPointer(start: base, count: count)) }
            }
            input.moveReaderIndex(forwardBy: count)
            remaining -= count
            size = size &+ count
        }
        return remaining == 0
    }

    /// The message is complete: ends its last line where the client did not, because every line that leaves us is whole.
    package mutating func finish(_ output: inout ByteBuffer) {
        if previous == 0x0D { scan.noteBare() }
        guard size > 0, previous != 0x0A, !discards else { return }
        output.writeStaticString("\r\n")
        size = size &+ 2
        previous = 0x0A
    }

    private mutating func look(_ bytes: UnsafePointer<UInt8>, _ count: Int) {
        let first = bytes[0]
        if (previous == 0x0D) != (first == 0x0A) { scan.noteBare() }
        if previous == 0x0A, first == 0x2E { hasLeadingDots = true }
        if scan.addPairs(bytes, count - 1) { hasLeadingDots = true }
        previous = bytes[count - 1]
        scan.note(previous)
    }
}
