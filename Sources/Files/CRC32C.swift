// CRC32C.swift — the checksum of everything we store (Castagnoli polynomial, RFC 3720 §B.4).
//
// Guarantees: the same result with the processor's instruction and without; incremental: feeding parts gives the value
// of the whole.

import CIntrinsics

/// A running CRC32C.
package struct CRC32C: Hashable, Sendable {
    /// The register, not yet inverted.
    private var register: UInt32

    package init() { register = ~0 }

    /// Goes on from a finished value, as if its bytes had been fed to this one.
    package init(continuing value: UInt32) { register = ~value }

    /// The checksum of all bytes so far.
    package var value: UInt32 { ~register }

    /// Goes on with these bytes.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        register =
            Self.hasInstruction
            ? martlet_crc32c(register, bytes.baseAddress, bytes.count) : Self.slow(register, bytes)
    }

    /// Goes on with these bytes.
    package mutating func update(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { update($0) }
    }

    /// Feeds a number, least significant byte first.
    package mutating func update(_ number: UInt32) { withUnsafeBytes(of: number.littleEndian) { update($0) } }

    /// Feeds a number, least significant byte first.
    package mutating func update(_ number: UInt64) { withUnsafeBytes(of: number.littleEndian) { update($0) } }

    /// The checksum of one piece.
    package static func of(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        var crc = CRC32C()
        crc.update(bytes)
        return crc.value
    }

    /// The value from which these bytes lead to a known one: the checksum gone through backwards.
    package static func start(leadingTo value: UInt32, over bytes: [UInt8]) -> UInt32 {
        var register = ~value
        for byte in bytes.reversed() {
            let index = lastBytes[Int(register >> 24)]
            register = (register ^ tables[Int(index)]) << 8 | UInt32(index ^ byte)
        }
        return ~register
    }

    /// `lastBytes[t]` is the byte whose entry in the first table begins with `t`; each does once.
    private static let lastBytes: [UInt8] = {
        var found = [UInt8](repeating: 0, count: 256)
        for byte in 0..<256 { found[Int(tables[byte] >> 24)] = UInt8(truncatingIfNeeded: byte) }
        return found
    }()

    private static let hasInstruction = martlet_has_crc32c()

    /// Eight bytes per turn through eight tables; for processors without the instruction, and for the test of the other.
    static func slow(_ start: UInt32, _ bytes: UnsafeRawBufferPointer) -> UInt32 {
        var register = start
        var offset = 0
        tables.withUnsafeBufferPointer { table in
            while bytes.count - offset >= 8 {
                let word =
                    UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
                    ^ UInt64(register)
                var next: UInt32 = 0
                for index in 0..<8 {
                    next ^= table[(7 - index) << 8 | Int(truncatingIfNeeded: word >> UInt64(8 * index) & 0xFF)]
                }
                register = next
                offset += 8
            }
        }
        while offset < bytes.count {
            register = step(register, bytes[offset])
            offset += 1
        }
        return register
    }

    private static func step(_ register: UInt32, _ byte: UInt8) -> UInt32 {
        register >> 8 ^ tables[Int((register ^ UInt32(byte)) & 0xFF)]
    }

    /// `tables[k << 8 | b]` is what byte `b` becomes when `k` more bytes follow it.
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var value = UInt32(byte)
            for _ in 0..<8 { value = value >> 1 ^ (value & 1 == 1 ? 0x82F6_3B78 : 0) }
            tables[byte] = value
        }
        for index in 256..<tables.count {
            let previous = tables[index - 256]
            tables[index] = previous >> 8 ^ tables[Int(previous & 0xFF)]
        }
        return tables
    }()
}
