// StoredBytes.swift — the bytes of what we keep: numbers, texts, times, addresses, written and read back.
//
// Guarantees: reading never leaves its bytes, never traps, and takes memory in proportion to its input whatever the input
// says. Numbers are little-endian; lengths and small numbers are LEB128.

/// The bytes do not say what they should.
package struct Malformed: Error, Hashable, Sendable {
    /// Nothing more is known.
    @inlinable package init() {}
}

/// Reads stored bytes from front to back.
///
/// Without a generic function that rooms call: through a room's wall it is not specialised, and costs a thousand instructions.
package struct StoredReader {
    @usableFromInline let bytes: UnsafeRawBufferPointer
    @usableFromInline var place = 0

    /// Reads these bytes, which must outlive it.
    @inlinable package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// Bytes read so far.
    @inlinable package var position: Int { place }

    /// Bytes that are left.
    @inlinable package var remaining: Int { bytes.count - place }

    /// The next byte.
    @inlinable package mutating func byte() throws(Malformed) -> UInt8 {
        guard place < bytes.count else { throw Malformed() }
        defer { place += 1 }
        return bytes[place]
    }

    /// A number of fixed size.
    package mutating func number(_: UInt16.Type = UInt16.self) throws(Malformed) -> UInt16 { try fixed() }

    /// A number of fixed size.
    package mutating func number(_: UInt32.Type = UInt32.self) throws(Malformed) -> UInt32 { try fixed() }

    /// A number of fixed size.
    package mutating func number(_: UInt64.Type = UInt64.self) throws(Malformed) -> UInt64 { try fixed() }

    /// A number of fixed size.
    package mutating func number(_: Int64.Type = Int64.self) throws(Malformed) -> Int64 { try fixed() }

    private mutating func fixed<Number: FixedWidthInteger & BitwiseCopyable>() throws(Malformed) -> Number {
        let size = MemoryLayout<Number>.size
        guard remaining >= size else { throw Malformed() }
        defer { place += size }
        return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: Number.self))
    }

    /// A number in LEB128.
    @inlinable package mutating func compact() throws(Malformed) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let next = try byte()
            guard shift < 63 || next <= 1 else { throw Malformed() }
            value |= UInt64(next & 0x7F) << shift
            if next < 0x80 { return value }
            shift += 7
        }
    }

    /// A number in LEB128 that fits 32 bits.
    @inlinable package mutating func compact32() throws(Malformed) -> UInt32 {
        guard let value = UInt32(exactly: try compact()) else { throw Malformed() }
        return value
    }

    /// A number of things that take at least one byte each, so that no invented count makes us reserve memory.
    @inlinable package mutating func count() throws(Malformed) -> Int {
        guard let value = Int(exactly: try compact()), value <= remaining else { throw Malformed() }
        return value
    }

    /// Text as it was written: what is no UTF-8 never came from us.
    package mutating func string() throws(Malformed) -> String {
        try Self.text(UnsafeRawBufferPointer(rebasing: piece()))
    }

    /// Text that may stand in a command: no line can end in it.
    package mutating func plainText() throws(Malformed) -> String {
        let piece = UnsafeRawBufferPointer(rebasing: try piece())
        for byte in piece where byte < 0x20 || byte == 0x7F { throw Malformed() }
        return try Self.text(piece)
    }

    /// A domain, whose characters were checked when it came in: a command can go on behind none of them.
    package mutating func domain() throws(Malformed) -> Domain {
        let piece = UnsafeRawBufferPointer(rebasing: try piece())
        for byte in piece where byte <= 0x20 || byte == 0x7F || byte == UInt8(ascii: "<") || byte == UInt8(ascii: ">") {
            throw Malformed()
        }
        let name = try Self.text(piece)
        return Self.isASCII(piece) ? Domain(unchecked: name) : Domain(stored: name)
    }

    /// A time that the calendar has.
    package mutating func time() throws(Malformed) -> Timestamp {
        let time = Timestamp(milliseconds: try number())
        guard Timestamp.storable.contains(time) else { throw Malformed() }
        return time
    }

    /// Bytes behind their length.
    @inlinable package mutating func piece() throws(Malformed) -> Slice<UnsafeRawBufferPointer> {
        let length = try count()
        defer { place += length }
        return bytes[place..<place + length]
    }

    /// `String(validating:)` says the same, through code that is not specialised and takes ten times as long.
    private static func text(_ bytes: UnsafeRawBufferPointer) throws(Malformed) -> String {
        let string = String(decoding: bytes, as: UTF8.self)
        // What had to be mended reads otherwise than it was; ASCII never has to be.
        if isASCII(bytes) { return string }
        guard string.utf8.elementsEqual(bytes) else { throw Malformed() }
        return string
    }

    /// No octet has its highest bit set; eight at a time.
    private static func isASCII(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var place = 0
        var all: UInt64 = 0
        while place + 8 <= bytes.count {
            all |= bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self)
            place += 8
        }
        while place < bytes.count {
            all |= UInt64(bytes[place])
            place += 1
        }
        return all & 0x8080_8080_8080_8080 == 0
    }
}

extension [UInt8] {
    /// Appends a number of fixed size.
    @inlinable package mutating func append(number: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: number.littleEndian) { append(contentsOf: $0) }
    }

    /// Appends a number in LEB128.
    @inlinable package mutating func append(compact number: UInt64) {
        var rest = number
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }

    /// A time that will be read again, whatever a clock or a plugin said.
    package mutating func append(time: Timestamp) { append(number: time.clamped.milliseconds) }

    /// Appends a text behind its length.
    package mutating func append(string: String) {
        var string = string
        string.withUTF8 { text in
            append(compact: UInt64(text.count))
            append(contentsOf: text)
        }
    }
}

extension [UInt8] {
    /// Appends an address behind its length, 4 or 16.
    package mutating func append(address: IPAddress) {
        append(address.isV6 ? 16 : 4)
        address.forEachByte { append($0) }
    }
}

extension StoredReader {
    /// An address.
    package mutating func address() throws(Malformed) -> IPAddress {
        guard let address = try optionalAddress() else { throw Malformed() }
        return address
    }
}

// MARK: - Small forms

extension [UInt8] {
    /// Appends so many bytes of a text at most, no letter cut in two.
    package mutating func append(string: String, atMost limit: Int) { append(string: string.cut(octets: limit)) }
}

extension StoredReader {
    /// A time of our era.
    package mutating func compactTime() throws(Malformed) -> Timestamp {
        Timestamp(milliseconds: Int64(clamping: try compact())).clamped
    }

    /// An address, or none.
    package mutating func optionalAddress() throws(Malformed) -> IPAddress? {
        let octets = UnsafeRawBufferPointer(rebasing: try piece())
        guard !octets.isEmpty else { return nil }
        guard let address = IPAddress(bytes: octets) else { throw Malformed() }
        return address
    }
}
