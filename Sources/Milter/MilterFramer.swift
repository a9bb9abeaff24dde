// MilterFramer.swift — the octets of a milter into packets: four octets of length, a letter, data.
//
// Guarantees: a length that no packet has is refused before a byte of it is waited for; whoever speaks something else is
// named for what it is.

package import NIOCore

/// One packet of a milter.
package struct MilterPacket: Hashable, Sendable {
    package let letter: UInt8
    package let data: ByteBuffer

    package init(_ letter: UInt8, _ data: ByteBuffer = ByteBuffer()) {
        self.letter = letter
        self.data = data
    }
}

/// Cuts packets from the front of what arrived.
enum MilterFramer {
    /// Octets of the longest packet, its letter included: sixteen times what any milter we know sends at once.
    static let longest = 1 << 20

    /// The next packet; nil: more has to come.
    static func next(_ input: inout ByteBuffer) throws(MilterFault) -> MilterPacket? {
        guard let length = input.getInteger(at: input.readerIndex, as: UInt32.self) else { return nil }
        guard (1...longest).contains(Int(length)) else {
            let speaker = WrongSpeaker.name(input.readableBytesView)
            throw MilterFault(
                speaker == nil ? .garbled : .foreign,
                speaker ?? "a packet of \(length) octets is announced, and none has more than \(longest)"
            )
        }
        guard input.readableBytes >= 4 + Int(length) else { return nil }
        input.moveReaderIndex(forwardBy: 4)
        guard let letter: UInt8 = input.readInteger(), let data = input.readSlice(length: Int(length) - 1) else {
            return nil
        }
        return MilterPacket(letter, data)
    }
}

extension ByteBuffer {
    /// Appends a packet.
    mutating func write(_ letter: UInt8, _ fill: (inout ByteBuffer) -> Void = { _ in }) {
        let start = writerIndex
        writeInteger(UInt32(0))
        writeInteger(letter)
        fill(&self)
        setInteger(UInt32(writerIndex - start - 4), at: start)
    }

    /// Appends a text and the NUL behind it; a NUL inside ends nothing: it is left out.
    mutating func writeText(_ text: some Sequence<UInt8>) {
        writeBytes(text.lazy.filter { $0 != 0 })
        writeInteger(UInt8(0))
    }
}
