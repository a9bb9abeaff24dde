// SegmentFinding.swift — what a file among the segments is, by its headers; recovery and the tools decide alike.

import Files
import Glibc

/// What a file with a segment's name turned out to be.
enum SegmentFinding {
    /// It holds records.
    case data(SegmentHeader)
    /// It holds records and has lost both headers.
    case headless(SegmentStamp)
    case spare
    /// None of them; in words.
    case wrong(String)

    /// Reads both headers.
    ///
    /// One that says *data* outweighs one that says *spare*: the latter are written first to last and synced before the
    /// segment changes its name.
    ///
    /// - Parameter isWritten: a segment of a higher number holds records.
    /// - Returns: how many headers are sound, too.
    /// - Throws: ``DiskError`` when there is no telling now.
    static func look(
        at file: any OpenFile,
        sequence: UInt32,
        size: Int,
        isWritten: Bool
    ) throws(DiskError) -> (finding: SegmentFinding, headers: Int) {
        guard size >= SegmentHeader.size else { return (.wrong(size == 0 ? "is empty" : "is cut off"), 0) }
        var headers: [SegmentHeader] = []
        var failure: DiskError?
        for place in [0, size - SegmentHeader.size] {
            do throws(DiskError) {
                let header = SegmentHeader(decoding: try file.read(SegmentHeader.size, at: place))
                if let header { headers.append(header) }
            } catch {
                failure = error
            }
        }
        if headers.isEmpty, let failure { throw failure }
        if let data = headers.first(where: { $0.role == .data && $0.sequence == sequence }) {
            return (.data(data), headers.count)
        }
        if let data = headers.first(where: { $0.role == .data }) {
            return (.wrong("is a copy of \(SegmentFile.name(data.sequence))"), headers.count)
        }
        if !headers.isEmpty { return (.spare, headers.count) }
        let stamp = try SegmentSeeker.stamp(of: file, sequence: sequence, size: size, isWritten: isWritten)
        return (stamp.map { .headless($0) } ?? .wrong("has no header"), 0)
    }

    /// The highest number of a segment that certainly holds records; 0 when there is none.
    ///
    /// - Parameter sequences: rising.
    static func newest(of sequences: [UInt32], _ context: SpoolContext) -> UInt32 {
        for sequence in sequences.reversed() {
            guard let file = try? context.disk.open(context.path(sequence), .read, permissions: 0),
                let size = try? file.status().size,
                let found = try? look(at: file, sequence: sequence, size: size, isWritten: false)
            else { continue }
            switch found.finding {
            case .data, .headless: return sequence
            case .spare, .wrong: continue
            }
        }
        return 0
    }
}
