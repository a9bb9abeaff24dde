// ChunkDecoder.swift — message content that comes in counted chunks (BDAT, RFC 3030): no transparency, the same strictness.
//
// Guarantees: exactly the announced octets are consumed. Bare CR, bare LF and NUL are noted, also across chunks; for a
// lenient session LF alone becomes CRLF instead. Counted octets end where they end: no line end can make commands of them.

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

    /// LF alone becomes CRLF.
    private let mends: Bool
    /// It did.
    package private(set) var isMended = false

    package init(mends: Bool = false) { self.mends = mends }

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
                if mends { return mend(base, count, into: &output) }
                look(base, count)
                if !discards { output.writeBytes(UnsafeRawBufferPointer(start: base, count: count)) }
                size = size &+ count
            }
            input.moveReaderIndex(forwardBy: count)
            remaining -= count
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

    private mutating func mend(_ bytes: UnsafePointer<UInt8>, _ count: Int, into output: inout ByteBuffer) {
        var start = 0
        for index in 0..<count {
            let byte = bytes[index]
            if previous == 0x0D, byte != 0x0A { scan.noteBare() }
            if previous == 0x0A, byte == 0x2E { hasLeadingDots = true }
            if byte == 0x0A, previous != 0x0D {
                isMended = true
                keep(bytes, start..<index, in: &output)
                if !discards { output.writeStaticString("\r\n") }
                size = size &+ 2
                start = index + 1
            }
            scan.note(byte)
            previous = byte
        }
        keep(bytes, start..<count, in: &output)
    }

    private mutating func keep(_ bytes: UnsafePointer<UInt8>, _ run: Range<Int>, in output: inout ByteBuffer) {
        size = size &+ run.count
        guard !discards, !run.isEmpty else { return }
        output.writeBytes(UnsafeRawBufferPointer(start: bytes + run.lowerBound, count: run.count))
    }
}
