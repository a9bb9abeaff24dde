// SpoolScanner.swift — reads a segment from front to back and tells sound records from damage.
//
// Guarantees: every record whose bytes are intact is found, whatever lies before it; nothing else is taken for one (see
// SpoolRecord.swift); memory is bounded by the longest record, not by the segment.

import Files

/// A part of a file in memory, moved along as the scan goes.
private struct FileWindow {
    private let file: any OpenFile
    private let size: Int
    private var buffer: [UInt8] = []
    private var start = 0
    /// Some bytes could not be read and stand as zeros.
    private(set) var hasUnreadable = false

    init(_ file: any OpenFile, size: Int) {
        self.file = file
        self.size = size
    }

    /// Calls `body` with `count` bytes from `offset`, fewer at the end of the file.
    mutating func with<Result>(_ count: Int, at offset: Int, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        let end = min(offset + count, size)
        if offset < start || end > start + buffer.count {
            start = offset
            load(max(0, min(max(count, 1 << 20), size - offset)))
        }
        let lower = min(offset - start, buffer.count)
        let upper = min(max(lower, end - start), buffer.count)
        return buffer.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[lower..<upper])) }
    }

    private mutating func load(_ count: Int) {
        do throws(DiskError) {
            buffer = try file.read(count, at: start)
        } catch {
            // A bad block: page by page, zeros for what the disk does not give back.
            buffer = []
            while buffer.count < count {
                let page = min(4096, count - buffer.count)
                do throws(DiskError) {
                    let bytes = try file.read(page, at: start + buffer.count)
                    if bytes.isEmpty { return }
                    buffer += bytes
                } catch {
                    hasUnreadable = true
                    buffer += repeatElement(0, count: page)
                }
            }
        }
    }
}

enum SpoolScanner {
    struct Scan: Sendable {
        var index = SpoolIndex()
        /// Where the last sound record ends.
        var end = SegmentHeader.size
        /// Ranges between sound records that are no records, and records that are whole but wrong.
        var damage: [Range<Int>] = []
        /// Some bytes could not be read at all; what was in them may be there the next time.
        var hasUnreadable = false
        /// A record that was cut off, behind everything sound.
        var torn: Range<Int>?
    }

    static func checksum(_ bytes: [UInt8], in stamp: SegmentStamp) -> UInt32 {
        var crc = CRC32C(continuing: stamp.seed)
        crc.update(bytes)
        return crc.value
    }

    private enum Step {
        case record(SpoolIndex, Int)
        case torn(Int)
        case damaged(Int)
        case nothing
    }

    /// Looks at every record between the header and `limit`.
    static func scan(_ file: any OpenFile, _ stamp: SegmentStamp, until limit: Int) -> Scan {
        var window = FileWindow(file, size: limit)
        var scan = Scan()
        var position = SegmentHeader.size
        /// Where bytes began that are no record, or a cut-off one.
        var gap: Int?
        while position + SpoolRecord.minimumSize <= limit {
            let frame = window.with(SpoolRecord.headerSize, at: position) { bytes in
                SpoolRecord.frame(bytes, at: position, in: stamp)
            }
            guard let frame else {
                gap = gap ?? position
                position = skip(&window, from: position + 8, limit: limit, in: stamp)
                continue
            }
            let verdict = window.with(frame.length, at: position) { record in
                let verdict = SpoolRecord.verify(record, frame, in: stamp)
                guard verdict == .sound, let kind = SpoolKind(rawValue: frame.kind) else { return verdict }
                // A record with a right checksum that makes no sense was written by a newer version.
                return (try? scan.index.add(record, kind: kind, at: position)) == nil ? .damaged : verdict
            }
            let end = min(position + frame.length, limit)
            switch verdict {
            case .sound:
                if let start = gap { scan.damage.append(start..<position) }
                gap = nil
                scan.torn = nil
                scan.end = end
            case .torn:
                scan.torn = position..<end
                gap = gap ?? position
            case .damaged:
                if let start = gap, start < position { scan.damage.append(start..<position) }
                gap = nil
                scan.damage.append(position..<end)
                scan.end = end
            }
            position = end
        }
        scan.hasUnreadable = window.hasUnreadable
        return scan
    }

    /// The next place where a record starts, in steps of eight bytes.
    private static func skip(_ window: inout FileWindow, from start: Int, limit: Int, in stamp: SegmentStamp) -> Int {
        var position = start
        while position + SpoolRecord.minimumSize <= limit {
            let chunk = min(1 << 16, limit - position)
            let found = window.with(chunk, at: position) { bytes -> Int? in
                var offset = 0
                while offset + SpoolRecord.headerSize <= bytes.count {
                    // Most of what is passed over was never written: a record does not begin with a length of zero.
                    if bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self) == 0 {
                        offset += 8
                        continue
                    }
                    let part = UnsafeRawBufferPointer(rebasing: bytes[offset...])
                    if SpoolRecord.frame(part, at: position + offset, in: stamp) != nil { return offset }
                    offset += 8
                }
                return nil
            }
            if let found { return position + found }
            position += max(8, (chunk & ~7) - SpoolRecord.headerSize + 8)
        }
        return limit
    }
}
