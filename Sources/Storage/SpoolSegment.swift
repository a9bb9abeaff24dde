// SpoolSegment.swift — one segment file: its header, its footer and its name.
//
//      0          header, 64 bytes: magic · role u32 · sequence u32 · salt u64 · capacity u64 · highest id u64 · zero · CRC32C u32
//      64         records
//      …          index of the records, once sealed
//      -128       footer, 64 bytes: magic · index offset u32 · index length u32 · index CRC32C u32 · zero · CRC32C u32
//      -64        the header again, so that one lost sector does not make a segment unreadable

import Files
import Mail

/// What a header says a segment is for.
enum SegmentRole: UInt32, Hashable, Sendable {
    case data = 1
    /// Nothing in it counts; its blocks wait to be used again.
    case spare = 2
}

struct SegmentHeader: Hashable, Sendable {
    static let size = 64
    private static let magic: UInt64 = 0x3147_4553_5452_414D  // "MARTSEG1"

    var role: SegmentRole
    var sequence: UInt32
    var salt: UInt64
    /// Bytes of the whole file.
    var capacity: Int
    /// No message of an older segment has a higher id; 0: nothing is said, as in those of versions before.
    var highestID: UInt64 = 0

    var stamp: SegmentStamp { SegmentStamp(sequence: sequence, salt: salt) }

    func encoded() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(number: Self.magic)
        bytes.append(number: role.rawValue)
        bytes.append(number: sequence)
        bytes.append(number: salt)
        bytes.append(number: UInt64(capacity))
        bytes.append(number: highestID)
        bytes.append(contentsOf: repeatElement(0, count: Self.size - 4 - bytes.count))
        bytes.append(number: bytes.withUnsafeBytes { CRC32C.of($0) })
        return bytes
    }

    init(role: SegmentRole, sequence: UInt32, salt: UInt64, capacity: Int, highestID: UInt64 = 0) {
        self.role = role
        self.sequence = sequence
        self.salt = salt
        self.capacity = capacity
        self.highestID = highestID
    }

    init?(decoding bytes: [UInt8]) {
        guard bytes.count == Self.size else { return nil }
        let fields: (SegmentRole, UInt32, UInt64, Int, UInt64)? = bytes.withUnsafeBytes { raw in
            var reader = StoredReader(raw)
            let body = UnsafeRawBufferPointer(rebasing: raw[..<(Self.size - 4)])
            let stored = UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: Self.size - 4, as: UInt32.self))
            guard stored == CRC32C.of(body), (try? reader.number()) == Self.magic,
                let role = (try? reader.number()).flatMap(SegmentRole.init(rawValue:)),
                let sequence = try? reader.number(UInt32.self), let salt = try? reader.number(UInt64.self),
                let capacity = (try? reader.number(UInt64.self)).flatMap(Int.init(exactly:)),
                // Offsets are 32 bits wide.
                (Self.size + SegmentFile.reserve...Int(UInt32.max)).contains(capacity),
                let highestID = try? reader.number(UInt64.self)
            else { return nil }
            return (role, sequence, salt, capacity, highestID)
        }
        guard let fields else { return nil }
        (role, sequence, salt, capacity, highestID) = fields
    }
}

struct SegmentFooter: Hashable, Sendable {
    static let size = 64
    private static let magic: UInt64 = 0x3158_4449_5452_414D  // "MARTIDX1"

    var indexOffset: Int
    var indexLength: Int
    var indexChecksum: UInt32

    func encoded(in stamp: SegmentStamp) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(number: Self.magic)
        bytes.append(number: UInt32(truncatingIfNeeded: indexOffset))
        bytes.append(number: UInt32(truncatingIfNeeded: indexLength))
        bytes.append(number: indexChecksum)
        bytes.append(contentsOf: repeatElement(0, count: Self.size - 4 - bytes.count))
        bytes.append(number: Self.checksum(bytes, in: stamp))
        return bytes
    }

    init(indexOffset: Int, indexLength: Int, indexChecksum: UInt32) {
        self.indexOffset = indexOffset
        self.indexLength = indexLength
        self.indexChecksum = indexChecksum
    }

    init?(decoding bytes: [UInt8], in stamp: SegmentStamp, capacity: Int) {
        guard bytes.count == Self.size else { return nil }
        let fields: (UInt32, UInt32, UInt32)? = bytes.withUnsafeBytes { raw in
            var reader = StoredReader(raw)
            let stored = UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: Self.size - 4, as: UInt32.self))
            guard stored == Self.checksum(Array(raw[..<(Self.size - 4)]), in: stamp),
                (try? reader.number()) == Self.magic, let offset = try? reader.number(UInt32.self),
                let length = try? reader.number(UInt32.self), let checksum = try? reader.number(UInt32.self)
            else { return nil }
            return (offset, length, checksum)
        }
        guard let fields, Int(fields.0) >= SegmentHeader.size,
            Int(fields.0) + Int(fields.1) <= capacity - SegmentHeader.size - Self.size
        else { return nil }
        indexOffset = Int(fields.0)
        indexLength = Int(fields.1)
        indexChecksum = fields.2
    }

    private static func checksum(_ bytes: [UInt8], in stamp: SegmentStamp) -> UInt32 {
        var crc = CRC32C(continuing: stamp.seed)
        crc.update(bytes)
        return crc.value
    }
}

/// Names and fixed sizes.
enum SegmentFile {
    /// The end of a segment that records and index leave alone.
    static let reserve = SegmentHeader.size + SegmentFooter.size
    /// The greatest number that a segment may have, so that there are always further ones; no relay lives to see it.
    static let last: UInt32 = .max - 1 << 20
    /// Bytes that are zeros between the header of a spare and what an earlier life left in it: mail that is long gone.
    static func blank(_ capacity: Int) -> Int { min(64 << 10, capacity - reserve) }

    /// The file's name, `00000000000000000042.seg`.
    static func name(_ sequence: UInt32) -> String {
        let digits = String(sequence)
        return String(repeating: "0", count: 20 - digits.utf8.count) + digits + ".seg"
    }

    /// The sequence number in a segment's name; nil for any other name.
    static func sequence(_ name: String) -> UInt32? {
        let bytes = name.utf8
        guard bytes.count == 24, bytes.suffix(4).elementsEqual(".seg".utf8),
            bytes.prefix(20).allSatisfy({ (0x30...0x39).contains($0) }),
            let number = UInt32(String(decoding: bytes.prefix(20), as: UTF8.self)), (1...last).contains(number)
        else { return nil }
        return number
    }
}
