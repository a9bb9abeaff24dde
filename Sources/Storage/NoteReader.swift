// NoteReader.swift — reads what was noted of messages, while the messages themselves are found.
//
// Notes stand in the log in much the order of their messages, so a few windows serve hundreds each; what is remembered of a
// note meanwhile is where it stands, twelve bytes, whatever a million peers have said.

import Files

/// Records by place, through windows of a few segments.
struct NoteReader {
    private struct Window {
        let segment: UInt32
        let start: Int
        let bytes: [UInt8]
    }

    private static let most = 8
    private static let size = 32 << 10

    /// The one used last in front.
    private var windows: [Window] = []

    /// The encoded state of an attempt; nil when it cannot be read, or no longer is what stood there.
    mutating func state(at place: Location, in context: SpoolContext) -> [UInt8]? {
        guard let (stamp, file) = try? context.segment(place.segment) else { return nil }
        let (start, end) = (Int(place.offset), Int(place.offset) + Int(place.length))
        let known = windows.firstIndex { window in
            window.segment == place.segment && window.start <= start && window.start + window.bytes.count >= end
        }
        if let known {
            if known > 0 { windows.insert(windows.remove(at: known), at: 0) }
        } else {
            // The next one to be asked for stands before this one, most likely.
            let first = max(0, min(start, end - Self.size))
            guard let bytes = try? file.read(end - first, at: first), bytes.count == end - first else { return nil }
            if windows.count >= Self.most { windows.removeLast() }
            windows.insert(Window(segment: place.segment, start: first, bytes: bytes), at: 0)
        }
        let window = windows[0]
        return window.bytes.withUnsafeBytes { raw in
            let record = UnsafeRawBufferPointer(rebasing: raw[start - window.start..<end - window.start])
            guard let frame = SpoolRecord.frame(record, at: start, in: stamp), frame.length == record.count,
                SpoolRecord.verify(record, frame, in: stamp) == .sound, frame.kind == SpoolKind.attempt.rawValue
            else { return nil }
            let length = Int(UInt32(littleEndian: record.loadUnaligned(fromByteOffset: 24, as: UInt32.self)))
            guard length <= record.count - SpoolRecord.minimumSize else { return nil }
            return Array(record[32..<32 + length])
        }
    }
}
