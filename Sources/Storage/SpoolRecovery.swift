// SpoolRecovery.swift — start-up, first half: finds the segments, reading only those that have no index.
//
// What it costs does not depend on how much mail waits: the headers of each segment, and all of the last two. From then on mail
// can be written; the second half (`SpoolRecovery+Visiting.swift`) goes through the tables once, from the newest to the oldest.
// Guarantees: nothing stops it but an unusable directory; what cannot be read is set aside and reported.

import Files
import Glibc
import Mail
import Synchronization

struct SpoolRecovery: Sendable {
    struct Result: Sendable {
        var ledger: SpoolLedger
        var spares: [SpareSegment] = []
        var nextSequence: UInt32 = 1
        /// The newest segment with records.
        var newest: UInt32 = 0
        /// No live message has a higher one.
        var highestID = QueueID(rawValue: 0)
        /// Segments that were never sealed and are sound.
        var unsealed: [(SegmentStamp, capacity: Int, dataEnd: Int)] = []
        /// Where the records of each segment end, for one who follows.
        var ends: [UInt32: Int] = [:]
        /// Segments whose records may be in memory only, after a kill.
        var unsynced: [UInt32] = []
        /// Messages to be noted as settled: they were set aside, or were done and the note of that was lost.
        var finished: [(QueueID, Location)] = []
    }

    /// A segment with records.
    struct FoundSegment: Sendable {
        let stamp: SegmentStamp
        let size: Int
        /// Bytes it was made with; nil when it is shorter, or its headers are lost.
        let whole: Int?
        /// What ``SegmentHeader/highestID`` says.
        let highestID: UInt64
        let footer: SegmentFooter?
        /// Of a segment without a sound index; otherwise the table is read when it is needed.
        var scanned: SpoolIndex?
    }

    /// How often what cannot be read is tried.
    static let attempts = 4
    /// Ids go on from the highest that is known; there must be some left.
    static let lastID = UInt64.max - 1 << 44

    let context: SpoolContext
    var sources: [FoundSegment] = []
    var result: Result
    /// Files under `large/` with their sizes, as they were before anything was written.
    var bodies: [QueueID: Int] = [:]
    var sawDamage = false
    /// Segments of which not everything could be read.
    var unreadable: Set<UInt32> = []

    private init(_ context: SpoolContext) {
        self.context = context
        result = Result(ledger: SpoolLedger(segmentSize: context.options.segmentSize))
    }

    /// Finds what there is.
    static func find(_ context: SpoolContext) throws(DiskError) -> SpoolRecovery {
        var recovery = SpoolRecovery(context)
        try recovery.findSegments()
        // A disk that stutters must not cost mail; one with bad blocks stays so.
        for _ in 1..<attempts where !recovery.unreadable.isEmpty {
            usleep(context.options.readPause * 1000)
            recovery = SpoolRecovery(context)
            try recovery.findSegments()
        }
        recovery.bodies = try recovery.listBodies()
        // A file of a draft that was never accepted goes in the end; until then its name is taken as well.
        let names = recovery.bodies.keys.filter { $0.rawValue <= lastID }
        recovery.result.highestID = max(recovery.highestID(), names.max() ?? QueueID(rawValue: 0))
        return recovery
    }

    // MARK: - Finding segments

    private mutating func findSegments() throws(DiskError) {
        try SpoolNames.restore(context)
        var found: [UInt32] = []
        for entry in try context.disk.list(context.directory) {
            switch (entry.name, entry.kind) {
            case ("lock", .file), ("holds", .file), ("holds.log", .file), ("large", .directory),
                ("corrupt", .directory),
                ("corrupt.foreign", _), ("lost+found", _):
                break
            case ("spare.tmp", .file), (".holds.new", .file):
                do throws(DiskError) { try context.disk.unlink(context.path(entry.name)) } catch {}  // no harm
            case (let name, .file):
                if let sequence = SegmentFile.sequence(name) { found.append(sequence) } else { setForeignAside(name) }
            case (let name, _):
                setForeignAside(name)
            }
        }
        found.sort()
        let newest = SegmentFinding.newest(of: found, context)
        var others: [(UInt32, Other)] = []
        for sequence in found {
            do throws(DiskError) {
                let file = try context.disk.open(context.path(sequence), .update, permissions: 0)
                let size = try file.status().size
                let isWritten = sequence < newest
                let look = try SegmentFinding.look(at: file, sequence: sequence, size: size, isWritten: isWritten)
                switch look.finding {
                case .data(let header): addSource(header.stamp, header, file, size)
                case .headless(let stamp): addSource(stamp, nil, file, size)
                case .spare: others.append((sequence, .spare(file, size: size)))
                case .wrong(let text): others.append((sequence, .wrong(text)))
                }
            } catch {
                others.append((sequence, .unreadable(error)))
            }
        }
        result.newest = sources.last?.stamp.sequence ?? 0
        result.nextSequence = max(found.last ?? 0, result.newest) &+ 1
        for (sequence, other) in others { takeOther(sequence, other) }
    }

    private func setForeignAside(_ name: String) {
        if context.moveAside(name, as: name) {
            context.report(.foreign, name, "is not ours; moved to corrupt/")
        }
    }

    /// A file with a segment's name that holds no records.
    private enum Other {
        case spare(any OpenFile, size: Int)
        case wrong(String)
        case unreadable(DiskError)
    }

    private mutating func takeOther(_ sequence: UInt32, _ other: Other) {
        let name = SegmentFile.name(sequence)
        switch other {
        case .spare(let file, let size):
            // Spares stand behind every written segment.
            if sequence > result.newest, size == context.options.segmentSize,
                result.spares.count < context.options.sparesKept
            {
                result.spares.append(SpareSegment(sequence: sequence, file: file, capacity: size))
            } else {
                do throws(DiskError) {
                    try context.disk.unlink(context.path(sequence))
                    // Its headers may say so in memory only, after a kill: it must not outlive the notes about its mail.
                    try context.disk.syncDirectory(context.directory)
                } catch {
                    context.report(.failed, name, "not removed: \(error)")
                }
            }
        case .wrong(let text):
            sawDamage = true
            if context.moveAside(name, as: name) { context.report(.damaged, name, "\(text); moved to corrupt/") }
        case .unreadable(let error):
            unreadable.insert(sequence)
            context.report(.failed, name, "cannot be opened, left alone: \(error)")
        }
    }

    /// Takes a segment with records; without an index it is scanned at once.
    ///
    /// - Parameter header: nil when both are lost.
    private mutating func addSource(
        _ stamp: SegmentStamp,
        _ header: SegmentHeader?,
        _ file: any OpenFile,
        _ size: Int
    ) {
        let capacity = header?.capacity
        let whole = capacity.flatMap { size >= $0 ? $0 : nil }
        var source = FoundSegment(
            stamp: stamp,
            size: size,
            whole: whole,
            highestID: header?.highestID ?? 0,
            footer: whole.flatMap { footer($0, stamp, file) }
        )
        if let footer = source.footer {
            result.ends[stamp.sequence] = footer.indexOffset
        } else {
            guard let scan = scan(&source, file) else {
                takeOther(stamp.sequence, .unreadable(DiskError("pread", context.path(stamp.sequence), EIO)))
                return
            }
            if whole == nil {
                sawDamage = true
                let text = capacity == nil ? "has lost both headers" : "is shorter than it was made: \(size) bytes"
                context.report(.damaged, SegmentFile.name(stamp.sequence), text)
            }
            result.ends[stamp.sequence] = scan.end
            result.unsynced.append(stamp.sequence)
        }
        context.register(stamp, file)
        result.ledger.open(stamp.sequence, size: size)
        result.ledger.closeLast(isBroken: whole == nil)
        sources.append(source)
    }

    /// Makes the table of a segment from its records.
    ///
    /// - Returns: nil when nothing of it can be read.
    private mutating func scan(_ source: inout FoundSegment, _ file: any OpenFile) -> SpoolScanner.Scan? {
        let stamp = source.stamp
        // What a failed sync left in memory is not on the disk: look at the disk.
        file.forgetCache()
        let end = source.footer?.indexOffset ?? source.whole.map { $0 - SegmentFile.reserve } ?? source.size & ~7
        let scan = SpoolScanner.scan(file, stamp, until: end)
        if scan.hasUnreadable, scan.index.rows.isEmpty { return nil }
        if scan.hasUnreadable { unreadable.insert(stamp.sequence) }
        context.register(stamp, file)
        report(scan, of: source, isWhole: source.whole != nil)
        if let whole = source.whole, scan.damage.isEmpty, !scan.hasUnreadable {
            result.unsealed.append((stamp, capacity: whole, dataEnd: scan.end))
        }
        source.scanned = scan.index
        return scan
    }

    /// A sound footer; whether the index in front of it is sound shows when it is read.
    private func footer(_ capacity: Int, _ stamp: SegmentStamp, _ file: any OpenFile) -> SegmentFooter? {
        guard let bytes = try? file.read(SegmentFooter.size, at: capacity - SegmentFile.reserve) else { return nil }
        return SegmentFooter(decoding: bytes, in: stamp, capacity: capacity)
    }

    private func readIndex(_ footer: SegmentFooter, _ file: any OpenFile, _ stamp: SegmentStamp) -> SpoolIndex? {
        guard let table = try? file.read(footer.indexLength, at: footer.indexOffset),
            table.count == footer.indexLength,
            SpoolScanner.checksum(table, in: stamp) == footer.indexChecksum
        else { return nil }
        return try? SpoolIndex(reading: table, recordsEndAt: footer.indexOffset)
    }

    private mutating func report(_ scan: SpoolScanner.Scan, of source: FoundSegment, isWhole: Bool) {
        let name = SegmentFile.name(source.stamp.sequence)
        var ranges = scan.damage
        if let torn = scan.torn {
            if isWhole {
                context.report(.tornTail, name, "ends in a record that was cut off at \(torn.lowerBound)")
            } else {
                ranges.append(torn)
            }
        }
        for range in ranges {
            sawDamage = true
            let target = "\(name.dropLast(4))-\(range.lowerBound).bin"
            context.report(
                .damaged,
                name,
                "\(range.count) bytes at \(range.lowerBound) are damaged; set aside as corrupt/\(target)"
            )
            if let bytes = try? file(of: source)?.read(range.count, at: range.lowerBound) {
                _ = context.setAside(bytes, as: target)
            }
        }
    }

    // MARK: - Tables

    /// What stands in a segment.
    ///
    /// A table that is not sound is made again by a scan, and one that cannot be read is tried some times.
    mutating func index(of number: Int) -> SpoolIndex {
        if let scanned = sources[number].scanned { return scanned }
        let (stamp, footer) = (sources[number].stamp, sources[number].footer)
        for attempt in 1...Self.attempts {
            unreadable.remove(stamp.sequence)
            guard let file = file(of: sources[number]) else {
                unreadable.insert(stamp.sequence)
                return SpoolIndex()
            }
            if let footer, let index = readIndex(footer, file, stamp) { return index }
            var source = sources[number]
            let isRead = scan(&source, file) != nil
            if !isRead { unreadable.insert(stamp.sequence) }
            if !unreadable.contains(stamp.sequence) || attempt == Self.attempts { sources[number] = source }
            if !unreadable.contains(stamp.sequence) { break }
            if attempt < Self.attempts { usleep(context.options.readPause * 1000) }
        }
        return sources[number].scanned ?? SpoolIndex()
    }

    /// The newest segment that says what came before it, and those behind it, tell.
    private mutating func highestID() -> QueueID {
        var highest: UInt64 = 0
        for number in sources.indices.reversed() {
            let index = index(of: number)
            for position in index.rows {
                let row = index.row(at: position)
                guard row.kind == .message || row.kind == .moved, row.id.rawValue <= Self.lastID else { continue }
                highest = max(highest, row.id.rawValue)
            }
            let before = sources[number].highestID
            if before > 0, before <= Self.lastID { return QueueID(rawValue: max(highest, before)) }
        }
        return QueueID(rawValue: highest)
    }

    /// Through the shared table, which keeps the number of open files bounded.
    func file(of source: FoundSegment) -> (any OpenFile)? {
        do throws(DiskError) {
            return try context.segment(source.stamp.sequence)?.file
        } catch {
            context.report(.failed, SegmentFile.name(source.stamp.sequence), "cannot be opened again: \(error)")
            return nil
        }
    }

    func readRecord(_ row: SpoolIndex.Row, in source: FoundSegment) -> [UInt8]? {
        guard let bytes = try? file(of: source)?.read(Int(row.length), at: Int(row.offset)) else { return nil }
        let isSound = bytes.withUnsafeBytes { raw in
            guard let frame = SpoolRecord.frame(raw, at: Int(row.offset), in: source.stamp) else { return false }
            return SpoolRecord.verify(raw, frame, in: source.stamp) == .sound
        }
        return isSound ? bytes : nil
    }
}
