// SpoolIndex.swift — what stands in a segment, without the bodies: one row per record.
//
// A sealed segment ends with this table, so that start-up reads no mail; for any other segment the scan builds the same
// table in memory. A row: kind u8 · flags u8 · zero u16 · length u32 · offset u32 · detail length u32 · id u64 · detail.
// The detail is the record itself from byte 24 to the end of the state, left out when it is long (see ``rowSize``).

import Files
import Mail

struct SpoolIndex: Sendable {
    static let fixedRowSize = 24
    /// Longer ones (an envelope with hundreds of recipients) are read from the record.
    static let longestDetail = 4096
    static let flagOmitted: UInt8 = 1

    private(set) var bytes: [UInt8]
    /// Where each row starts.
    private(set) var rows: [UInt32]

    init() {
        bytes = []
        rows = []
    }

    /// Bytes of the row of a record.
    ///
    /// - Parameter headSize: bytes from the record's start to the end of its state.
    static func rowSize(kind: SpoolKind, headSize: Int) -> Int {
        let detail = headSize - 24
        return fixedRowSize + (detail > longestDetail ? 0 : detail)
    }

    /// Adds a record.
    ///
    /// - Parameter record: the verified record, whole.
    mutating func add(_ record: UnsafeRawBufferPointer, kind: SpoolKind, at offset: Int) throws(Malformed) {
        let end: Int
        switch kind {
        case .message, .moved:
            end = try SpoolRecord.parts(record, length: record.count).state.upperBound
        case .attempt:
            var reader = StoredReader(UnsafeRawBufferPointer(rebasing: record[24...]))
            end = 32 + Int(try reader.number(UInt32.self))
        case .settled, .facts:
            end = 24
        }
        guard end <= record.count - 4 else { throw Malformed() }
        let detail = end - 24
        let isOmitted = detail > Self.longestDetail
        rows.append(UInt32(truncatingIfNeeded: bytes.count))
        bytes.append(kind.rawValue)
        bytes.append(isOmitted ? Self.flagOmitted : 0)
        bytes.append(number: UInt16(0))
        bytes.append(number: UInt32(truncatingIfNeeded: record.count))
        bytes.append(number: UInt32(truncatingIfNeeded: offset))
        bytes.append(number: UInt32(truncatingIfNeeded: isOmitted ? 0 : detail))
        bytes.append(contentsOf: record[16..<24])
        if !isOmitted { bytes.append(contentsOf: record[24..<end]) }
    }

    /// Takes a table read from disk whose checksum was right; every row is still looked at.
    ///
    /// - Parameter end: where the records end that it lists; they stand one behind the other before it.
    init(reading table: [UInt8], recordsEndAt end: Int) throws(Malformed) {
        bytes = table
        rows = []
        var position = 0
        var free = SegmentHeader.size
        while position < table.count {
            guard table.count - position >= Self.fixedRowSize else { throw Malformed() }
            let row = Row(table, at: position)
            guard let kind = SpoolKind(rawValue: row.rawKind), row.detail.upperBound <= table.count,
                row.isOmitted ? row.detail.isEmpty : row.detail.count >= Self.leastDetail(kind),
                Int(row.offset) >= free, row.offset & 7 == 0, row.length & 7 == 0,
                Int(row.length) >= SpoolRecord.minimumSize, Int(row.offset) + Int(row.length) <= end
            else { throw Malformed() }
            rows.append(UInt32(truncatingIfNeeded: position))
            position = row.detail.upperBound
            free = Int(row.offset) + Int(row.length)
        }
    }

    /// Bytes of a record behind its id that are always there.
    private static func leastDetail(_ kind: SpoolKind) -> Int {
        switch kind {
        case .message, .moved: MessageHead.end - 24
        case .attempt: 8
        case .settled, .facts: 0
        }
    }

    /// The encoded state of an attempt.
    ///
    /// - Parameter record: reads a record that is too long for the table, whole and verified; nil where it cannot.
    func state(of row: Row, _ record: (Row) -> [UInt8]?) -> ArraySlice<UInt8>? {
        guard row.isOmitted else { return bytes[row.detail.lowerBound + 8..<row.detail.upperBound] }
        return record(row).map { $0[SpoolRecord.minimumSize...] }
    }

    struct Row {
        let rawKind: UInt8
        let isOmitted: Bool
        let length: UInt32
        let offset: UInt32
        let id: QueueID
        /// Bytes of the table.
        let detail: Range<Int>

        var kind: SpoolKind { SpoolKind(rawValue: rawKind) ?? .settled }

        fileprivate init(_ table: [UInt8], at position: Int) {
            (rawKind, isOmitted, length, offset, id, detail) = table.withUnsafeBytes { bytes in
                func number(_ at: Int) -> UInt32 {
                    UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position + at, as: UInt32.self))
                }
                let start = position + SpoolIndex.fixedRowSize
                return (
                    bytes[position],
                    bytes[position + 1] & SpoolIndex.flagOmitted != 0,
                    number(4),
                    number(8),
                    QueueID(
                        rawValue: UInt64(
                            littleEndian: bytes.loadUnaligned(fromByteOffset: position + 16, as: UInt64.self)
                        )
                    ),
                    start..<start + Int(number(12))
                )
            }
        }
    }

    /// The row that starts at a value of ``rows``.
    func row(at position: UInt32) -> Row { Row(bytes, at: Int(position)) }

    /// Calls `body` with a reader over the detail of a row.
    func withDetail<Result>(
        of row: Row,
        _ body: (inout StoredReader) throws(Malformed) -> Result
    ) throws(Malformed) -> Result {
        try bytes.withUnsafeBufferPointer { buffer throws(Malformed) in
            var reader = StoredReader(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[row.detail]))
            return try body(&reader)
        }
    }
}
