// ServerMachine+Chunking.swift — BDAT: the message in counted chunks (RFC 3030).
//
// Whatever is wrong with a BDAT command, the octets it announces are content and are never read as commands
// (CVE-2017-16943, CVE-2017-16944). Where their number is unknown or absurd, the session ends.

import Mail
import NIOCore

extension ServerMachine {
    mutating func startChunk(_ size: Int, isLast: Bool) -> Need? {
        guard let open = transaction else {
            return swallowChunk(size, hello == .none ? .helloFirst : .mailFirst)
        }
        guard !open.recipients.isEmpty else { return swallowChunk(size, .noRecipients) }
        let before = open.usesChunks ? chunks.size : 0
        guard size <= limits.messageBytes - min(before, limits.messageBytes) else {
            let need = abandonTransaction()
            return swallowChunk(size, .tooLarge) ?? need
        }
        // An empty chunk brings the message no nearer.
        guard size > 0 || isLast || countIdle() else { return nil }
        let isFirst = !open.usesChunks
        transaction?.beginChunk(isLast: isLast)
        if isFirst { chunks = ChunkDecoder(mends: limits.isLenient) }
        chunks.begin(size)
        guard isFirst else {
            phase = .chunk
            return nil
        }
        phase = .beginning
        return .begin(max(size, open.parameters.size ?? limits.messageBytes))
    }

    mutating func chunkBegun(_ hasRoom: Bool) {
        if hasRoom {
            transaction?.begin()
            phase = .chunk
        } else {
            transaction = nil
            phase = .swallowing(chunks.remaining, .noRoom)
        }
    }

    mutating func chunk(_ input: inout ByteBuffer, _ body: inout ByteBuffer) -> Need? {
        let hadInput = input.readableBytes > 0
        guard chunks.decode(&input, into: &body) else { return hadInput ? .content : .input }
        guard transaction?.isLastChunk == true else {
            phase = .command
            output.writeStaticString("250 2.0.0 Chunk received\r\n")
            return .content
        }
        chunks.finish(&body)
        if chunks.isMended { mending.insert(.lineEnds) }
        // What was announced fits; what was put right is longer.
        let isTooLarge = chunks.isMended && chunks.size > limits.messageBytes
        return contentEnded(isClean: chunks.isClean, isTooLarge: isTooLarge)
    }

    /// Throws the octets of a chunk away that nobody wants, then says why.
    mutating func swallowChunk(_ octets: Int, _ reply: CannedReply) -> Need? {
        // More than anybody could mean: not worth the line.
        guard octets <= 2 * limits.messageBytes + 1 << 20 else {
            throwOut(reply)
            return nil
        }
        phase = .swallowing(octets, reply)
        return nil
    }

    mutating func swallow(
        _ octets: Int,
        _ reply: CannedReply,
        _ input: inout ByteBuffer
    ) -> Need? {
        let count = min(octets, input.readableBytes)
        input.moveReaderIndex(forwardBy: count)
        guard count == octets else {
            phase = .swallowing(octets - count, reply)
            return .input
        }
        phase = .command
        refuse(reply)
        drainIfIdle()
        return nil
    }
}
