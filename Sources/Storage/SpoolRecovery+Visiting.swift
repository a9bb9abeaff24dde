// SpoolRecovery+Visiting.swift — the second half of recovery: what is live is handed to the index, what is not readable is set
// aside, and bodies without a record are removed.

import Files
import Glibc
import Mail

extension SpoolRecovery {
    /// What the head of a message record says.
    struct Head {
        let head: MessageHead
        let envelope: Envelope
        let state: DeliveryState
    }

    mutating func visitLive(
        of number: Int,
        _ states: [UInt8],
        _ bodies: [QueueID: Int],
        _ known: inout Set<QueueID>,
        _ visit: (RecoveredMessage) -> Void
    ) {
        guard !sources[number].live.isEmpty else { return }
        let source = sources[number]
        let index = index(of: number)
        var live = source.live[...]
        for position in index.rows {
            let row = index.row(at: position)
            guard let (offset, state) = live.last, offset == row.offset else { continue }
            live.removeLast()
            let location = Location(segment: source.stamp.sequence, offset: row.offset, length: row.length)
            let head: Head? =
                row.isOmitted
                ? Self.readHead(row.id, at: location, in: context)
                : try? index.withDetail(of: row) { reader throws(Malformed) in try Self.decode(&reader) }
            guard let head else {
                setAside(row.id, location, source, "cannot be decoded")
                continue
            }
            if head.head.isLarge {
                known.insert(row.id)
                let size = bodies[row.id]
                guard let size, size >= head.head.bodyLength else {
                    setAside(
                        row.id,
                        location,
                        source,
                        size == nil ? "has lost its body file" : "has a body file that is too short"
                    )
                    continue
                }
            }
            result.ledger.add(location)
            visit(
                RecoveredMessage(
                    id: row.id,
                    acceptedAt: head.head.acceptedAt,
                    location: location,
                    envelope: head.envelope,
                    size: head.head.prologueLength + head.head.bodyLength,
                    state: Self.state(states, state) ?? head.state
                )
            )
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

    private static func state(_ states: [UInt8], _ range: Range<Int>?) -> DeliveryState? {
        guard let range else { return nil }
        return states.withUnsafeBytes { raw in
            var reader = SpoolReader(UnsafeRawBufferPointer(rebasing: raw[range]))
            return try? DeliveryState(decoding: &reader)
        }
    }
    /// Decodes a record from byte 24 on.
    private static func decode(_ reader: inout SpoolReader) throws(Malformed) -> Head {
        let head = try MessageHead(decoding: &reader)
        let envelope = try Envelope(decoding: &reader)
        let state = head.stateLength > 0 ? try DeliveryState(decoding: &reader) : DeliveryState()
        return Head(head: head, envelope: envelope, state: state)
    }
    /// Reads and verifies the head of a record without its body; nil when anything is wrong.
    static func readHead(_ id: QueueID, at location: Location, in context: SpoolContext) -> Head? {
        guard let (stamp, file) = try? context.segment(location.segment),
            var bytes = try? file.read(min(Int(location.length), 1024), at: Int(location.offset)),
            let parts = parts(bytes, location, stamp), parts.id == id
        else { return nil }
        if parts.state.upperBound > bytes.count {
            guard let more = try? file.read(parts.state.upperBound, at: Int(location.offset)),
                more.count == parts.state.upperBound
            else { return nil }
            bytes = more
        }
        return bytes.withUnsafeBytes { raw in
            let stored = UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 60, as: UInt32.self))
            let head = UnsafeRawBufferPointer(rebasing: raw[..<parts.state.upperBound])
            guard SpoolRecord.headChecksum(head, in: stamp) == stored else { return nil }
            var reader = SpoolReader(UnsafeRawBufferPointer(rebasing: raw[24..<parts.state.upperBound]))
            return try? decode(&reader)
        }
    }

    private static func parts(_ bytes: [UInt8], _ location: Location, _ stamp: SegmentStamp) -> SpoolRecord.Parts? {
        bytes.withUnsafeBytes { raw in
            guard SpoolRecord.frame(raw, at: Int(location.offset), in: stamp) != nil else { return nil }
            return try? SpoolRecord.parts(raw, length: Int(location.length))
        }
    }

    private mutating func setAside(_ id: QueueID, _ location: Location, _ source: Source, _ text: String) {
        sawDamage = true
        let segment = SegmentFile.name(location.segment)
        let target = "\(segment.dropLast(4))-\(location.offset).bin"
        context.report(.damaged, segment, "message \(id) \(text); set aside as corrupt/\(target)")
        if let bytes = try? file(of: source)?.read(Int(location.length), at: Int(location.offset)),
            context.setAside(bytes, as: target)
        {
            result.setAside.append((id, location))
        } else {
            // Nothing of it may be overwritten before somebody has looked.
            unreadable.insert(location.segment)
        }
    }

    // MARK: - Large bodies
    /// Bodies under large/ with their sizes; what else is there is moved away.
    func listBodies() throws(DiskError) -> [QueueID: Int] {
        var bodies: [QueueID: Int] = [:]
        // Without this list every large message would look lost: then rather do not start.
        let entries = try context.disk.list(context.largeDirectory)
        for entry in entries {
            guard entry.kind == .file, entry.name.hasSuffix(".eml"), let id = QueueID(entry.name.dropLast(4)) else {
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
