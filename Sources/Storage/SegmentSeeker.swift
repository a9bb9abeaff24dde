// SegmentSeeker.swift — a segment that has lost both headers: what its records say about it.
//
// The headers hold the salt of the segment's checksums, but every record gives the seed away that was made of it: from its
// mark it can be calculated backwards, and with it the record's whole checksum and end mark are right or not.
// Guarantees: records of an earlier life of the file are not taken for mail, because a spare begins with zeros and spares
// stand behind all written segments; bytes made up inside a body are not either, because the record around them is looked
// at first.

import Files

enum SegmentSeeker {
    /// Records looked at in full before giving up, so that bytes made up for it cost little.
    private static let patience = 256

    /// The identity of a segment, told by the first sound record in it.
    ///
    /// - Parameters:
    ///   - isWritten: a segment of a higher number holds records, so that this one is no spare.
    ///   - size: bytes of the file.
    /// - Returns: nil when no record is sound, or only such that may be of an earlier life.
    static func stamp(
        of file: any OpenFile,
        sequence: UInt32,
        size: Int,
        isWritten: Bool
    ) throws(DiskError) -> SegmentStamp? {
        let end = isWritten ? size : min(size, SegmentFile.blank(size))
        var position = SegmentHeader.size
        var tries = 0
        while position + SpoolRecord.minimumSize <= end {
            let piece = try file.read(min(1 << 20, size - position), at: position)
            guard piece.count >= SpoolRecord.minimumSize else { return nil }
            for offset in stride(from: 0, through: piece.count - SpoolRecord.minimumSize, by: 8) {
                let place = position + offset
                guard place < end, let frame = frame(piece, offset), frame.length <= size - place,
                    try endMark(file, place + frame.length - 4) == ~frame.mark
                else { continue }
                tries += 1
                guard tries <= patience else { return nil }
                let stamp = SegmentStamp(sequence: sequence, seed: SegmentStamp.seed(of: frame, at: place))
                let record = try file.read(frame.length, at: place)
                if record.withUnsafeBytes({ SpoolRecord.verify($0, frame, in: stamp) }) == .sound { return stamp }
            }
            position += max(8, (piece.count - SpoolRecord.minimumSize) & ~7)
        }
        return nil
    }

    private static func frame(_ piece: [UInt8], _ offset: Int) -> SpoolRecord.Frame? {
        piece.withUnsafeBytes { SpoolRecord.unboundFrame(UnsafeRawBufferPointer(rebasing: $0[offset...])) }
    }

    private static func endMark(_ file: any OpenFile, _ place: Int) throws(DiskError) -> UInt32? {
        let bytes = try file.read(4, at: place)
        guard bytes.count == 4 else { return nil }
        return bytes.withUnsafeBytes { UInt32(littleEndian: $0.loadUnaligned(as: UInt32.self)) }
    }
}
