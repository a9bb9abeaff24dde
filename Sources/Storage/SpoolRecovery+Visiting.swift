// SpoolRecovery+Visiting.swift — start-up, second half: what is live is handed to the index, from the newest to the oldest; what
// is not readable is set aside, and bodies without a record are removed.
//
// Each segment's table is read once. A note is always newer than its message, so a message that is met is live with what was
// met of it before, and nothing that is written meanwhile changes that. Mail flows while this goes on.

import Files
import Glibc
import Mail
import Synchronization

extension SpoolRecovery {
    /// Messages handed over at once.
    private static let slice = 256

    /// Visits what is live, the newest first.
    ///
    /// - Parameter visit: gets some messages, and how many segments are left; false ends the walk. It is called at the end of
    ///   each segment, too, with what there is.
    /// - Returns: false when it was ended.
    mutating func visitAll(_ visit: ([RecoveredMessage], _ segmentsLeft: Int) -> Bool) -> Bool {
        var records = LiveRecords<Location>()
        var reader = NoteReader()
        var known: Set<QueueID> = []
        for number in sources.indices.reversed() {
            guard visitLive(of: number, &records, &reader, &known, visit) else { return false }
            sources[number].scanned = nil
        }
        removeOrphans(bodies, known)
        bodies = [:]
        return true
    }

    private mutating func visitLive(
        of number: Int,
        _ records: inout LiveRecords<Location>,
        _ reader: inout NoteReader,
        _ known: inout Set<QueueID>,
        _ visit: ([RecoveredMessage], Int) -> Bool
    ) -> Bool {
        let index = index(of: number)
        let source = sources[number]
        var found: [RecoveredMessage] = []
        for position in index.rows.reversed() {
            let row = index.row(at: position)
            let location = Location(segment: source.stamp.sequence, offset: row.offset, length: row.length)
            switch row.kind {
            case .settled: records.settle(row.id)
            case .facts: break
            case .attempt: records.note(row.id) { noted(row, of: index, at: location, source) }
            case .message, .moved:
                switch records.message(row.id, isCopy: row.kind == .moved) {
                case .over: break
                case .double:
                    // Not noted as settled: that would be the end of the other one too.
                    setAside(location, source, "a second record of message \(row.id)")
                case .live(let place):
                    var note: [UInt8]?
                    if let place { note = state(of: row.id, at: place, &reader) }
                    guard let live = message(row, of: index, at: location, source, note) else { continue }
                    if live.isLarge {
                        known.insert(row.id)
                        context.large.withLock { _ = $0.insert(row.id) }
                    }
                    found.append(live.message)
                }
            }
            if found.count >= Self.slice {
                guard visit(found, number + 1) else { return false }
                found.removeAll(keepingCapacity: true)
            }
        }
        return visit(found, number)
    }

    /// Where the note of an attempt stands; nil when it makes no sense, so that an older one may count.
    private mutating func noted(
        _ row: SpoolIndex.Row,
        of index: SpoolIndex,
        at location: Location,
        _ source: FoundSegment
    ) -> Location? {
        guard let state = index.state(of: row, { readRecord($0, in: source) }) else { return nil }
        guard DeliveryState(stored: state) != nil else {
            setAside(location, source, "a note about message \(row.id) makes no sense")
            return nil
        }
        return location
    }

    /// What stands there; nil when it cannot be read any more, and the message is tried as if nothing had been noted.
    private mutating func state(of id: QueueID, at place: Location, _ reader: inout NoteReader) -> [UInt8]? {
        for attempt in 1...Self.attempts {
            if let state = reader.state(at: place, in: context) { return state }
            if attempt < Self.attempts { usleep(context.options.readPause * 1000) }
        }
        sawDamage = true
        unreadable.insert(place.segment)
        let name = SegmentFile.name(place.segment)
        context.report(.failed, name, "what was noted of message \(id) cannot be read now")
        return nil
    }

    /// Puts a message together; nil when it was set aside, or is finished.
    ///
    /// - Parameter note: the newest one about it, encoded.
    private mutating func message(
        _ row: SpoolIndex.Row,
        of index: SpoolIndex,
        at location: Location,
        _ source: FoundSegment,
        _ note: [UInt8]?
    ) -> (message: RecoveredMessage, isLarge: Bool)? {
        let head: RecordHead? =
            row.isOmitted
            ? RecordHead(row.id, at: location, in: context)
            : try? index.withDetail(of: row) { reader throws(Malformed) in try RecordHead(decoding: &reader) }
        guard let head else { return finish(row.id, location, source, "cannot be decoded") }
        guard row.id.rawValue <= Self.lastID else {
            return finish(row.id, location, source, "has an id that leaves none for later ones")
        }
        if head.head.isLarge {
            guard let size = bodies[row.id] else { return finish(row.id, location, source, "has lost its body file") }
            guard size >= head.head.bodyLength else {
                return finish(row.id, location, source, "has a body file that is too short")
            }
        }
        var state = head.state
        if let note {
            if let known = head.state(after: DeliveryState(stored: note[...])) {
                state = known
            } else {
                setNoteAside(row.id, location, note[...])
            }
        }
        guard !head.isFinished(state) else {
            result.finished.append((row.id, location))
            return nil
        }
        let message = RecoveredMessage(
            id: row.id,
            acceptedAt: head.head.acceptedAt,
            location: location,
            envelope: head.envelope,
            size: head.size,
            state: state
        )
        return (message, head.head.isLarge)
    }

    /// Sets a message aside and has it noted as settled, so that it is not tried for ever.
    private mutating func finish<Value>(
        _ id: QueueID,
        _ location: Location,
        _ source: FoundSegment,
        _ text: String
    ) -> Value? {
        if setAside(location, source, "message \(id) \(text)") { result.finished.append((id, location)) }
        return nil
    }

    /// Keeps the bytes of a record for a human.
    ///
    /// - Returns: false when they could not be kept; then the segment is.
    @discardableResult
    mutating func setAside(_ location: Location, _ source: FoundSegment, _ text: String) -> Bool {
        sawDamage = true
        let segment = SegmentFile.name(location.segment)
        let target = "\(segment.dropLast(4))-\(location.offset).bin"
        context.report(.damaged, segment, "\(text); set aside as corrupt/\(target)")
        if let bytes = try? file(of: source)?.read(Int(location.length), at: Int(location.offset)),
            context.setAside(bytes, as: target)
        {
            return true
        }
        // Nothing of it may be overwritten before somebody has looked.
        unreadable.insert(location.segment)
        return false
    }

    private mutating func setNoteAside(_ id: QueueID, _ location: Location, _ note: ArraySlice<UInt8>) {
        sawDamage = true
        let target = "\(id)-note.bin"
        let text = "a note about message \(id) does not fit it; set aside as corrupt/\(target)"
        context.report(.damaged, SegmentFile.name(location.segment), text)
        if !context.setAside(Array(note), as: target) { unreadable.insert(location.segment) }
    }

    // MARK: - Large bodies
    /// Bodies under large/ with their sizes; what else is there is moved away.
    func listBodies() throws(DiskError) -> [QueueID: Int] {
        var bodies: [QueueID: Int] = [:]
        // Without this list every large message would look lost: then rather do not start.
        let entries = try context.disk.list(context.largeDirectory)
        for entry in entries {
            guard entry.kind == .file, let id = entry.name.rest(before: ".eml").flatMap({ QueueID($0) }) else {
                if context.moveAside("large/\(entry.name)", as: entry.name) {
                    context.report(.foreign, "large/\(entry.name)", "is not ours; moved to corrupt/")
                }
                continue
            }
            do throws(DiskError) {
                bodies[id] = try context.disk.status(context.largePath(id), following: false)?.size
            } catch {
                // Whether it is whole shows when it is read.
                bodies[id] = .max
            }
        }
        return bodies
    }
    /// Bodies that no record names were never acknowledged, or were settled.
    ///
    /// But where records were damaged, they may belong to one of those: then they are kept for a human.
    func removeOrphans(_ bodies: [QueueID: Int], _ known: Set<QueueID>) {
        // They may belong to a message that can be read again the next time.
        guard unreadable.isEmpty else { return }
        for id in bodies.keys.sorted() where !known.contains(id) {
            let name = "large/\(id).eml"
            if sawDamage {
                if context.moveAside(name, as: "\(id).eml") {
                    context.report(.damaged, name, "belongs to no readable message; moved to corrupt/")
                }
                continue
            }
            do throws(DiskError) {
                try context.disk.unlink(context.path(name))
            } catch {
                context.report(.failed, name, "not removed: \(error)")
            }
        }
    }
}
