// SpoolRecovery+Visiting.swift — the second half of recovery: what is live is handed to the index, what is not readable is set
// aside, and bodies without a record are removed.

import Files
import Glibc
import Mail

extension SpoolRecovery {
    /// Ids go on from the highest that is known; there must be some left.
    private static let lastID = UInt64.max - 1 << 44

    mutating func visitLive(
        of number: Int,
        _ states: [UInt8],
        _ bodies: [QueueID: Int],
        _ known: inout Set<QueueID>,
        _ visit: (RecoveredMessage) -> Void
    ) {
        guard !sources[number].live.isEmpty || !sources[number].doubles.isEmpty else { return }
        let source = sources[number]
        let index = index(of: number)
        var live = source.live[...]
        var doubles = source.doubles[...]
        for position in index.rows {
            let row = index.row(at: position)
            let location = Location(segment: source.stamp.sequence, offset: row.offset, length: row.length)
            if doubles.last == row.offset {
                doubles.removeLast()
                // Not noted as settled: that would be the end of the other one too.
                setAside(location, source, "a second record of message \(row.id)")
            }
            guard let (offset, state) = live.last, offset == row.offset else { continue }
            live.removeLast()
            guard let (message, isLarge) = message(row, of: index, at: location, source, states, state, bodies) else {
                continue
            }
            if isLarge { known.insert(row.id) }
            result.ledger.add(location)
            visit(message)
        }
        if !live.isEmpty {
            sawDamage = true
            unreadable.insert(source.stamp.sequence)
            let name = SegmentFile.name(source.stamp.sequence)
            context.report(
                .failed,
                name,
                "\(live.count) messages cannot be read now; restart when the disk works again"
            )
        }
    }

    /// Puts a message together; nil when it was set aside, or is finished.
    ///
    /// - Parameter note: bytes of `states`.
    private mutating func message(
        _ row: SpoolIndex.Row,
        of index: SpoolIndex,
        at location: Location,
        _ source: Source,
        _ states: [UInt8],
        _ note: Range<Int>?,
        _ bodies: [QueueID: Int]
    ) -> (RecoveredMessage, isLarge: Bool)? {
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
            if let known = head.state(after: DeliveryState(stored: states[note])) {
                state = known
            } else {
                setNoteAside(row.id, location, states[note])
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
        _ source: Source,
        _ text: String
    ) -> Value? {
        if setAside(location, source, "message \(id) \(text)") { result.finished.append((id, location)) }
        return nil
    }

    /// Keeps the bytes of a record for a human.
    ///
    /// - Returns: false when they could not be kept; then the segment is.
    @discardableResult
    mutating func setAside(_ location: Location, _ source: Source, _ text: String) -> Bool {
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
