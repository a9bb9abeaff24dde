// SpoolRecovery.swift — start-up: finds every live message without reading bodies.
//
// The segments' tables are gone through twice. From the newest to the oldest, to learn what is settled and what the last
// state of each message is, in memory proportional to those only; then from the oldest on, to visit what is live.
// Guarantees: nothing stops it but an unusable directory; what cannot be read is set aside and reported.

import Files
import Glibc
import Mail
import Synchronization

struct SpoolRecovery {
    struct Result: Sendable {
        var ledger: SpoolLedger
        var spares: [SpareSegment] = []
        var nextSequence: UInt32 = 1
        /// The newest segment with records.
        var newest: UInt32 = 0
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
    struct Source {
        let stamp: SegmentStamp
        let size: Int
        let footer: SegmentFooter?
        /// Of an unsealed segment; a sealed one's is read when it is needed.
        var scanned: SpoolIndex?
        /// Where the records of live messages begin, newest first, each with the place of its state in `states`.
        var live: [(offset: UInt32, state: Range<Int>?)] = []
        /// Where records begin whose id a newer one has, newest first.
        var doubles: [UInt32] = []
    }

    /// How often what cannot be read is tried.
    private static let attempts = 4

    let context: SpoolContext
    var sources: [Source] = []
    var result: Result
    var sawDamage = false
    /// Segments of which not everything could be read.
    var unreadable: Set<UInt32> = []

    init(_ context: SpoolContext) {
        self.context = context
        result = Result(ledger: SpoolLedger(segmentSize: context.options.segmentSize))
    }

    consuming func run(_ visit: (RecoveredMessage) -> Void) throws(DiskError) -> Result {
        var states: [UInt8] = []
        for attempt in 1...Self.attempts {
            self = SpoolRecovery(context)
            states = []
            try findSegments()
            sortOut(&states)
            // A disk that stutters must not cost mail; one with bad blocks stays so.
            if unreadable.isEmpty { break }
            if attempt < Self.attempts { usleep(context.options.readPause * 1000) }
        }
        let bodies = try listBodies()
        var known: Set<QueueID> = []
        for index in sources.indices {
            visitLive(of: index, states, bodies, &known, visit)
        }
        removeOrphans(bodies, known)
        for sequence in unreadable { result.ledger.keep(sequence) }
        context.large.withLock { $0 = known }
        return result
    }

    // MARK: - Finding segments

    private mutating func findSegments() throws(DiskError) {
        try SpoolNames.restore(context)
        var found: [UInt32] = []
        for entry in try context.disk.list(context.directory) {
            switch (entry.name, entry.kind) {
            case ("lock", .file), ("holds", .file), ("large", .directory), ("corrupt", .directory),
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
                case .data(let header): addSource(header.stamp, header.capacity, file, size)
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

    /// Takes a segment with records: its index where it has a sound one, otherwise a scan.
    ///
    /// - Parameter capacity: bytes it was made with; nil when its headers are lost.
    private mutating func addSource(_ stamp: SegmentStamp, _ capacity: Int?, _ file: any OpenFile, _ size: Int) {
        let whole = capacity.flatMap { size >= $0 ? $0 : nil }
        var source = Source(stamp: stamp, size: size, footer: whole.flatMap { footer($0, stamp, file) })
        if source.footer == nil {
            // What a failed sync left in memory is not on the disk: look at the disk.
            file.forgetCache()
            let scan = SpoolScanner.scan(file, stamp, until: whole.map { $0 - SegmentFile.reserve } ?? size & ~7)
            if scan.hasUnreadable, scan.index.rows.isEmpty {
                takeOther(stamp.sequence, .unreadable(DiskError("pread", context.path(stamp.sequence), EIO)))
                return
            }
            if scan.hasUnreadable { unreadable.insert(stamp.sequence) }
            context.register(stamp, file)
            if whole == nil {
                sawDamage = true
                let text = capacity == nil ? "has lost both headers" : "is shorter than it was made: \(size) bytes"
                context.report(.damaged, SegmentFile.name(stamp.sequence), text)
            }
            report(scan, of: source, isWhole: whole != nil)
            if let whole, scan.damage.isEmpty, !scan.hasUnreadable {
                result.unsealed.append((stamp, capacity: whole, dataEnd: scan.end))
            }
            source.scanned = scan.index
            result.ends[stamp.sequence] = scan.end
            result.unsynced.append(stamp.sequence)
        } else {
            result.ends[stamp.sequence] = source.footer?.indexOffset
        }
        context.register(stamp, file)
        result.ledger.open(stamp.sequence, size: size)
        result.ledger.closeLast(isBroken: whole == nil)
        sources.append(source)
    }

    /// A footer whose index is sound.
    private func footer(_ capacity: Int, _ stamp: SegmentStamp, _ file: any OpenFile) -> SegmentFooter? {
        guard let bytes = try? file.read(SegmentFooter.size, at: capacity - SegmentFile.reserve),
            let footer = SegmentFooter(decoding: bytes, in: stamp, capacity: capacity),
            readIndex(footer, file, stamp) != nil
        else { return nil }
        return footer
    }

    private func readIndex(_ footer: SegmentFooter, _ file: any OpenFile, _ stamp: SegmentStamp) -> SpoolIndex? {
        guard let table = try? file.read(footer.indexLength, at: footer.indexOffset),
            table.count == footer.indexLength,
            SpoolScanner.checksum(table, in: stamp) == footer.indexChecksum
        else { return nil }
        return try? SpoolIndex(reading: table, recordsEndAt: footer.indexOffset)
    }

    private mutating func report(_ scan: SpoolScanner.Scan, of source: Source, isWhole: Bool) {
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

    // MARK: - Sorting out
    /// What stands in a segment.
    ///
    /// A table that was sound a moment ago and cannot be read now is made again by a scan.
    mutating func index(of number: Int) -> SpoolIndex {
        let source = sources[number]
        if let scanned = source.scanned { return scanned }
        guard let file = file(of: source) else {
            unreadable.insert(source.stamp.sequence)
            return SpoolIndex()
        }
        if let footer = source.footer {
            for _ in 1...Self.attempts {
                if let index = readIndex(footer, file, source.stamp) { return index }
            }
        }
        let scan = SpoolScanner.scan(file, source.stamp, until: source.footer?.indexOffset ?? source.size & ~7)
        if scan.hasUnreadable || !scan.damage.isEmpty { unreadable.insert(source.stamp.sequence) }
        return scan.index
    }

    /// Through the shared table, which keeps the number of open files bounded.
    func file(of source: Source) -> (any OpenFile)? {
        do throws(DiskError) {
            return try context.segment(source.stamp.sequence)?.file
        } catch {
            context.report(.failed, SegmentFile.name(source.stamp.sequence), "cannot be opened again: \(error)")
            return nil
        }
    }

    /// From the newest record to the oldest: which messages are live, and what is known of them.
    ///
    /// - Parameter states: gets the encoded states of live messages.
    mutating func sortOut(_ states: inout [UInt8]) {
        var records = LiveRecords<Range<Int>>()
        for number in sources.indices.reversed() {
            let index = index(of: number)
            for position in index.rows.reversed() {
                let row = index.row(at: position)
                switch row.kind {
                case .settled: records.settle(row.id)
                case .facts: break
                case .attempt: records.note(row.id) { take(row, of: index, in: sources[number], &states) }
                case .message, .moved:
                    switch records.message(row.id, isCopy: row.kind == .moved) {
                    case .live(let state): sources[number].live.append((row.offset, state))
                    case .double: sources[number].doubles.append(row.offset)
                    case .over: break
                    }
                }
            }
        }
    }

    /// Copies an attempt's state; nil when it is damaged, so that an older one may count.
    private mutating func take(
        _ row: SpoolIndex.Row,
        of index: SpoolIndex,
        in source: Source,
        _ states: inout [UInt8]
    ) -> Range<Int>? {
        guard let state = index.state(of: row, { readRecord($0, in: source) }) else { return nil }
        guard DeliveryState(stored: state) != nil else {
            let location = Location(segment: source.stamp.sequence, offset: row.offset, length: row.length)
            setAside(location, source, "a note about message \(row.id) makes no sense")
            return nil
        }
        let start = states.count
        states += state
        return start..<states.count
    }

    func readRecord(_ row: SpoolIndex.Row, in source: Source) -> [UInt8]? {
        guard let bytes = try? file(of: source)?.read(Int(row.length), at: Int(row.offset)) else { return nil }
        let isSound = bytes.withUnsafeBytes { raw in
            guard let frame = SpoolRecord.frame(raw, at: Int(row.offset), in: source.stamp) else { return false }
            return SpoolRecord.verify(raw, frame, in: source.stamp) == .sound
        }
        return isSound ? bytes : nil
    }
}
