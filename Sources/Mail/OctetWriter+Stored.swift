// OctetWriter+Stored.swift — what we keep, composed in one go: numbers, texts, times, addresses, as `StoredReader` reads them.

extension OctetWriter {
    /// A number of fixed size.
    package mutating func put(number: UInt64) {
        Swift.withUnsafeBytes(of: number.littleEndian) { put($0) }
    }

    /// A number in LEB128.
    package mutating func put(compact number: UInt64) {
        var rest = number
        while rest >= 0x80 {
            put(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        put(UInt8(truncatingIfNeeded: rest))
    }

    /// A time of our era in six bytes.
    package mutating func put(compact time: Timestamp) {
        put(compact: UInt64(max(0, time.clamped.milliseconds)))
    }

    /// A text behind its length.
    package mutating func put(piece text: String) {
        var text = text
        text.withUTF8 { octets in
            put(compact: UInt64(octets.count))
            put(UnsafeRawBufferPointer(octets))
        }
    }

    /// So many bytes of a text at most behind their length, no letter cut in two.
    package mutating func put(piece text: String, atMost limit: Int) { put(piece: text.cut(octets: limit)) }

    /// An address behind its length, zero for none.
    package mutating func put(optional address: IPAddress?) {
        guard let address else { return put(0) }
        put(address.isV6 ? 16 : 4)
        address.forEachByte { put($0) }
    }
}

extension [UInt8] {
    /// Appends what `write` puts, behind its length in LEB128.
    ///
    /// - Parameters:
    ///   - expected: octets that suffice most often.
    ///   - write: is called once more when they did not, and must put the same again.
    package mutating func composePiece(_ expected: Int, _ write: (inout OctetWriter) -> Void) {
        var room = expected
        while true {
            let wanted = withUnsafeTemporaryAllocation(byteCount: room, alignment: 1) { bytes in
                var writer = OctetWriter(bytes)
                write(&writer)
                guard writer.count <= bytes.count else { return writer.count }
                if isEmpty { reserveCapacity(writer.count + 5) }
                append(compact: UInt64(writer.count))
                append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[..<writer.count]))
                return 0
            }
            if wanted == 0 { return }
            room = wanted
        }
    }
}
