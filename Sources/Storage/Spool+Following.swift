// Spool+Following.swift — reading the log behind its writer, record by record, for those who make events of it.
//
// Guarantees: only what is on the disk is shown, so nothing that was shown can be undone by a power cut. Records come in the
// order of the log, each once for one place. A record that is not sound is passed over. Memory is bounded by the longest head
// of a record, never by a body.

import Files
import Mail

extension Spool: Journal {
    /// Bytes of a message's beginning that are shown: enough for any header that means well.
    package static let headerBytes = 16 << 10
    private static let window = 1 << 20

    /// Makes durable what a kill may have left in memory, and says where the found segments end.
    func show(_ found: SpoolRecovery.Result) {
        for sequence in found.unsynced {
            do throws(DiskError) {
                try context.segment(sequence)?.file.syncData()
            } catch {
                context.report(.failed, SegmentFile.name(sequence), "not synced: \(error)")
            }
        }
        for (sequence, end) in found.ends { journal.close(sequence, at: end) }
        if found.newest > 0 { journal.setSynced(found.newest, found.ends[found.newest] ?? SegmentHeader.size) }
    }

    /// Reads records of the log in order.
    ///
    /// Blocks. One caller at a time.
    /// - Parameters:
    ///   - position: where the last reading ended; nil: at the oldest segment.
    ///   - bytes: of the log after which to stop.
    package func follow(
        from position: JournalPosition?,
        atMost bytes: Int,
        _ visit: (JournalEntry) -> Void
    ) throws(QueueError) -> JournalReading {
        var reading = JournalReading(position: position)
        var left = bytes
        if let position, !isKnown(position) { try skipLost(&reading) }
        while left > 0 {
            guard let sequence = reading.position?.segment ?? context.sequence(from: 0) else {
                reading.isAtEnd = true
                return reading
            }
            guard let limit = journal.limit(of: sequence) else {
                reading.isAtEnd = true
                return reading
            }
            let start = reading.position.map { Int($0.offset) } ?? SegmentHeader.size
            let (end, isWhole) = try read(sequence, from: start, to: limit, budget: &left, visit, &reading)
            guard isWhole else { continue }
            guard context.knows(sequence) else {
                try skipLost(&reading)
                continue
            }
            guard sequence < journal.syncedSegment, let next = context.sequence(from: sequence + 1) else {
                reading.isAtEnd = end >= limit || journal.limit(of: sequence) == limit
                return reading
            }
            try go(to: next, &reading)
        }
        return reading
    }

    /// Nothing before this place is needed again: it is durable elsewhere.
    package func passed(_ position: JournalPosition) {
        let segment = position.segment
        guard !journal.isPast(segment &- 1) else { return }
        journal.setPassed(segment)
        // The writer gives back what was waited for.
        commits.submit(.sync(SyncBell()))
    }

    /// Waits until there is something behind a place, and it is on the disk.
    ///
    /// Notes are seldom synced on their own; when none of them was for a while, they are now. Blocks.
    /// - Parameter milliseconds: at most, until there is something.
    package func awaitNews(behind position: JournalPosition?, atMost milliseconds: Int) {
        journal.wait(behind: position?.segment ?? 0, position?.offset ?? 0, atMost: milliseconds * 1_000_000)
    }

    /// Has notes that wait for a message synced without one.
    ///
    /// Blocks.
    package func syncNotes() { if journal.wantsSync { sync() } }

    /// What is left is for mail first.
    package func hasDisk(for bytes: Int) -> Bool { hasRoom(for: bytes) }

    /// Ends ``awaitNews(behind:atMost:)``, now and from now on.
    package func stopFollowing() { journal.stop() }

    // MARK: - One segment

    private func isKnown(_ position: JournalPosition) -> Bool {
        (try? context.segment(position.segment))?.map { $0.stamp.seed == position.seed } ?? false
    }

    /// What was to be read is gone: on with the oldest that is there.
    private func skipLost(_ reading: inout JournalReading) throws(QueueError) {
        let lost = reading.position?.segment ?? 0
        let next = context.sequence(from: lost + 1) ?? context.sequence(from: 0)
        guard let next else {
            reading.lostSegments += 1
            reading.position = nil
            return
        }
        reading.lostSegments += next > lost ? Int(next - lost) : 1
        try go(to: next, &reading)
    }

    private func go(to sequence: UInt32, _ reading: inout JournalReading) throws(QueueError) {
        let seed = try segment(sequence)?.stamp.seed ?? 0
        reading.position = JournalPosition(segment: sequence, offset: UInt32(SegmentHeader.size), seed: seed)
    }

    private func segment(_ sequence: UInt32) throws(QueueError) -> (stamp: SegmentStamp, file: any OpenFile)? {
        do throws(DiskError) { return try context.segment(sequence) } catch { throw QueueError(error) }
    }

    /// - Returns: where it stopped, and whether that is as far as `limit` lets it.
    private func read(
        _ sequence: UInt32,
        from start: Int,
        to limit: Int,
        budget: inout Int,
        _ visit: (JournalEntry) -> Void,
        _ reading: inout JournalReading
    ) throws(QueueError) -> (Int, isWhole: Bool) {
        guard let (stamp, file) = try segment(sequence) else { return (start, true) }
        var position = start
        var buffer: [UInt8] = []
        var base = start
        var wanted = SpoolRecord.headerSize
        var isWhole = false
        while budget > 0 {
            // Nothing that counts reaches beyond the limit.
            if wanted > SpoolRecord.headerSize, wanted > limit - position {
                position += 8
                wanted = SpoolRecord.headerSize
            }
            if position + wanted > base + buffer.count {
                let most = min(limit - position, max(wanted, min(Self.window, max(budget, 4096))))
                guard most >= SpoolRecord.headerSize else {
                    isWhole = true
                    break
                }
                do throws(DiskError) { buffer = try file.read(most, at: position) } catch { throw QueueError(error) }
                base = position
                guard buffer.count >= min(wanted, most), buffer.count >= SpoolRecord.headerSize else {
                    isWhole = true
                    break
                }
            }
            let step = buffer.withUnsafeBytes { raw in
                let rest = UnsafeRawBufferPointer(rebasing: raw[(position - base)...])
                return JournalStep.of(rest, at: position, limit: limit, in: stamp)
            }
            switch step {
            case .more(let count): wanted = count
            case .skip(let count):
                wanted = SpoolRecord.headerSize
                position += count
                budget -= count
            case .entry(let entry, let large, let length):
                visit(large.map { withBeginning(entry, of: $0) } ?? entry)
                wanted = SpoolRecord.headerSize
                position += length
                budget -= length
            }
        }
        let end = UInt32(truncatingIfNeeded: min(position, limit))
        reading.position = JournalPosition(segment: sequence, offset: end, seed: stamp.seed)
        return (position, isWhole)
    }

    /// The header of a large message stands in its file, while there is one.
    private func withBeginning(_ entry: JournalEntry, of id: QueueID) -> JournalEntry {
        guard case .message(let message) = entry,
            let file = try? context.disk.open(context.largePath(id), .read, permissions: 0),
            let more = try? file.read(Self.headerBytes, at: 0)
        else { return entry }
        return .message(
            JournalMessage(
                id: id,
                acceptedAt: message.acceptedAt,
                envelope: message.envelope,
                size: message.size,
                isCopy: message.isCopy,
                beginning: message.beginning + more
            )
        )
    }
}

/// What to do at a place of the log.
enum JournalStep {
    /// So many bytes from here are needed to tell.
    case more(Int)
    /// Nothing that counts; go on behind it.
    case skip(Int)
    /// A record of so many bytes.
    ///
    /// - large: whose file has the rest of the header.
    case entry(JournalEntry, large: QueueID?, length: Int)

    /// Looks at the record that begins with `bytes`.
    ///
    /// - Parameter limit: of the segment: nothing behind it counts.
    static func of(_ bytes: UnsafeRawBufferPointer, at offset: Int, limit: Int, in stamp: SegmentStamp) -> JournalStep {
        guard bytes.count >= SpoolRecord.headerSize else { return .more(SpoolRecord.headerSize) }
        guard let frame = SpoolRecord.frame(bytes, at: offset, in: stamp), offset + frame.length <= limit,
            let kind = SpoolKind(rawValue: frame.kind)
        else { return .skip(8) }
        switch kind {
        case .message, .moved: return message(bytes, frame, isCopy: kind == .moved, in: stamp)
        case .attempt, .settled, .facts:
            guard bytes.count >= frame.length else { return .more(frame.length) }
            let record = UnsafeRawBufferPointer(rebasing: bytes[..<frame.length])
            guard SpoolRecord.verify(record, frame, in: stamp) == .sound,
                let facts = try? SpoolRecord.facts(record, kind: kind)
            else { return .skip(frame.length) }
            let id = UInt64(littleEndian: record.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
            let note = JournalEntry.note(QueueID(rawValue: id), facts, isEnd: kind == .settled)
            return .entry(note, large: nil, length: frame.length)
        }
    }

    private static func message(
        _ bytes: UnsafeRawBufferPointer,
        _ frame: SpoolRecord.Frame,
        isCopy: Bool,
        in stamp: SegmentStamp
    ) -> JournalStep {
        guard bytes.count >= MessageHead.end else { return .more(MessageHead.end) }
        guard let parts = try? SpoolRecord.parts(bytes, length: frame.length) else { return .skip(frame.length) }
        let end = min(parts.state.upperBound + Spool.headerBytes, parts.body.upperBound)
        guard bytes.count >= end else { return .more(end) }
        let stored = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 60, as: UInt32.self))
        let head = UnsafeRawBufferPointer(rebasing: bytes[..<parts.state.upperBound])
        guard SpoolRecord.headChecksum(head, in: stamp) == stored else { return .skip(frame.length) }
        var reader = StoredReader(UnsafeRawBufferPointer(rebasing: head[24...]))
        guard let decoded = try? RecordHead(decoding: &reader) else { return .skip(frame.length) }
        let message = JournalMessage(
            id: parts.id,
            acceptedAt: decoded.head.acceptedAt,
            envelope: decoded.envelope,
            size: decoded.size,
            isCopy: isCopy,
            beginning: Array(UnsafeRawBufferPointer(rebasing: bytes[parts.state.upperBound..<end]))
        )
        return .entry(.message(message), large: decoded.head.isLarge ? parts.id : nil, length: frame.length)
    }
}
