// SpoolExport.swift — the eyes of the log: `martlet spool check` and `martlet spool export` on a stopped spool.
//
// Guarantees: nothing below the queue directory is changed; every checksum of every record and large body is verified,
// indexes are not trusted; a message is exported only when all of it is sound.

package import Files
import JSON
package import Mail
import NIOCore

/// Looks at a spool that no process uses.
package final class SpoolExport {
    /// What was found.
    package struct Report: Hashable, Sendable {
        /// Segments with records, and bytes of their files.
        package var segments = 0
        package var segmentBytes = 0
        package var spares = 0
        /// Sound records of any kind.
        package var records = 0
        /// Messages that are not settled, by their ids in order of acceptance.
        package var live: [QueueID] = []
        /// Prologues and bodies of the live messages, in bytes.
        package var liveBytes = 0
        package var largeBodies = 0
        /// What is wrong, one line each; empty for a sound spool.
        package var damage: [String] = []
        /// What is unusual and harmless: a record cut off by a crash, a body nobody was told was accepted.
        package var remarks: [String] = []
    }

    private struct IndexedSegment {
        let stamp: SegmentStamp
        let index: SpoolIndex
    }

    private struct Live {
        let id: QueueID
        let location: Location
        let state: DeliveryState?
    }

    private let spool: Spool
    private let context: SpoolContext

    package init(directory: String, disk: any Disk = LinuxDisk()) {
        spool = Spool(directory: directory, disk: disk) { _ in }
        context = spool.context
    }

    /// Verifies everything.
    ///
    /// - Throws: ``QueueError/locked(_:)`` while a process uses the spool; ``QueueError/broken(_:)`` when the directory
    ///   cannot be read.
    package func check() throws(QueueError) -> Report {
        let lock = try takeLock()
        defer { withExtendedLifetime(lock) {} }
        var report = Report()
        for live in try find(&report) {
            do throws(QueueError) {
                let message = try read(live)
                report.live.append(live.id)
                report.liveBytes += message.size
            } catch {
                report.damage.append("message \(live.id): \(error.text)")
            }
        }
        report.live.sort()
        return report
    }

    /// Writes every sound live message as `<id>.eml` and its envelope as `<id>.json`.
    ///
    /// - Parameter directory: made when missing; files of the same names are replaced.
    /// - Returns: what ``check()`` returns; `live` holds what was written.
    /// - Throws: ``QueueError`` also when a file cannot be written.
    package func export(to directory: String) throws(QueueError) -> Report {
        let lock = try takeLock()
        defer { withExtendedLifetime(lock) {} }
        var report = Report()
        do throws(DiskError) {
            try context.disk.makeDirectory(directory, permissions: 0o700)
        } catch {
            throw QueueError(error)
        }
        for live in try find(&report) {
            let message: (envelope: NewMessage, bytes: [UInt8], size: Int)
            do throws(QueueError) {
                message = try read(live)
            } catch {
                report.damage.append("message \(live.id): \(error.text)")
                continue
            }
            do throws(DiskError) {
                try context.disk.replace("\(directory)/\(live.id).eml", with: message.bytes)
                let json = Self.json(message.envelope, live.state, size: message.size)
                try context.disk.replace("\(directory)/\(live.id).json", with: json.lines)
            } catch {
                throw QueueError(error)
            }
            report.live.append(live.id)
            report.liveBytes += message.size
        }
        report.live.sort()
        return report
    }

    /// A spool on a medium that cannot be written is looked at without a lock: nobody else can write it either.
    private func takeLock() throws(QueueError) -> (any OpenFile)? {
        guard let file = try? context.disk.open(context.path("lock"), .update, permissions: 0) else { return nil }
        guard (try? file.lock()) ?? true else { throw .locked("\(context.directory) is in use by a running process") }
        return file
    }

    // MARK: - Finding

    private func find(_ report: inout Report) throws(QueueError) -> [Live] {
        var found: [UInt32] = []
        do throws(DiskError) {
            for entry in try context.disk.list(context.directory) where entry.kind == .file {
                if let sequence = SegmentFile.sequence(entry.name) { found.append(sequence) }
            }
        } catch {
            throw QueueError(error)
        }
        var sources: [IndexedSegment] = []
        found.sort()
        let newest = SegmentFinding.newest(of: found, context)
        for sequence in found {
            if let source = look(at: sequence, isWritten: sequence < newest, &report) { sources.append(source) }
        }
        let live = sortOut(sources, &report)
        findOrphans(live, &report)
        return live
    }

    private func look(at sequence: UInt32, isWritten: Bool, _ report: inout Report) -> IndexedSegment? {
        let name = SegmentFile.name(sequence)
        do throws(DiskError) {
            let file = try context.disk.open(context.path(sequence), .read, permissions: 0)
            let size = try file.status().size
            let look = try SegmentFinding.look(at: file, sequence: sequence, size: size, isWritten: isWritten)
            let stamp: SegmentStamp
            var capacity: Int?
            switch look.finding {
            case .data(let header):
                (stamp, capacity) = (header.stamp, header.capacity)
                if look.headers == 1 { report.damage.append("\(name): one of two headers is damaged") }
                if size < header.capacity {
                    report.damage.append("\(name): \(size) bytes instead of \(header.capacity)")
                }
            case .headless(let found):
                stamp = found
                report.damage.append("\(name): both headers are lost")
            case .spare:
                report.spares += 1
                return nil
            case .wrong(let text):
                report.damage.append("\(name): \(text)")
                return nil
            }
            report.segments += 1
            report.segmentBytes += size
            context.register(stamp, file)
            return IndexedSegment(stamp: stamp, index: scan(file, stamp, capacity, size: size, name, &report))
        } catch {
            report.damage.append("\(name): \(error)")
            return nil
        }
    }

    private func scan(
        _ file: any OpenFile,
        _ stamp: SegmentStamp,
        _ capacity: Int?,
        size: Int,
        _ name: String,
        _ report: inout Report
    ) -> SpoolIndex {
        let end = min(capacity.map { $0 - SegmentFile.reserve } ?? size, size)
        let footer = capacity.flatMap { capacity in
            (try? file.read(SegmentFooter.size, at: capacity - SegmentFile.reserve)).flatMap {
                SegmentFooter(decoding: $0, in: stamp, capacity: capacity)
            }
        }
        let scan = SpoolScanner.scan(file, stamp, until: min(end, footer?.indexOffset ?? end) & ~7)
        report.records += scan.index.rows.count
        for range in scan.damage {
            report.damage.append("\(name): \(range.count) damaged bytes at \(range.lowerBound)")
        }
        if let torn = scan.torn { report.remarks.append("\(name): a record at \(torn.lowerBound) was cut off") }
        if let footer {
            let index = try? file.read(footer.indexLength, at: footer.indexOffset)
            if index.map({ SpoolScanner.checksum($0, in: stamp) }) != footer.indexChecksum {
                report.damage.append("\(name): the index is damaged")
            }
        }
        return scan.index
    }

    /// What is live, by the same rules as at a start of the relay, oldest first.
    private func sortOut(_ sources: [IndexedSegment], _ report: inout Report) -> [Live] {
        var records = LiveRecords<DeliveryState>()
        var live: [Live] = []
        for source in sources.reversed() {
            for position in source.index.rows.reversed() {
                let row = source.index.row(at: position)
                let location = Location(segment: source.stamp.sequence, offset: row.offset, length: row.length)
                switch row.kind {
                case .settled: records.settle(row.id)
                case .facts: break
                case .attempt: records.note(row.id) { note(row, source, location, &report) }
                case .message, .moved:
                    switch records.message(row.id, isCopy: row.kind == .moved) {
                    case .live(let note):
                        if let found = known(row.id, location, note, &report) { live.append(found) }
                    case .double:
                        report.damage.append("\(Self.place(location)): a second record of message \(row.id)")
                    case .over: break
                    }
                }
            }
        }
        return live.reversed()
    }

    private func known(_ id: QueueID, _ location: Location, _ note: DeliveryState?, _ report: inout Report) -> Live? {
        // A head that cannot be read is complained about when the whole record is.
        guard let head = RecordHead(id, at: location, in: context) else {
            return Live(id: id, location: location, state: note)
        }
        let state = head.state(after: note)
        if state == nil { report.damage.append("\(Self.place(location)): a note about message \(id) does not fit it") }
        let counts = state ?? head.state
        return head.isFinished(counts) ? nil : Live(id: id, location: location, state: counts)
    }

    private func note(
        _ row: SpoolIndex.Row,
        _ source: IndexedSegment,
        _ location: Location,
        _ report: inout Report
    ) -> DeliveryState? {
        let bytes = source.index.state(of: row) { row in
            try? context.segment(location.segment)?.file.read(Int(row.length), at: Int(row.offset))
        }
        guard let bytes else { return nil }
        let state = DeliveryState(stored: bytes)
        if state == nil {
            report.damage.append("\(Self.place(location)): a note about message \(row.id) makes no sense")
        }
        return state
    }

    private static func place(_ location: Location) -> String {
        "\(SegmentFile.name(location.segment)) at \(location.offset)"
    }

    private func findOrphans(_ live: [Live], _ report: inout Report) {
        let ids = Set(live.map(\.id))
        for entry in (try? context.disk.list(context.largeDirectory)) ?? [] {
            guard let id = entry.name.rest(before: ".eml").flatMap({ QueueID($0) }) else { continue }
            if ids.contains(id) {
                report.largeBodies += 1
            } else {
                report.remarks.append("large/\(entry.name): belongs to no live message")
            }
        }
    }

    // MARK: - Reading

    private func read(_ live: Live) throws(QueueError) -> (envelope: NewMessage, bytes: [UInt8], size: Int) {
        let message = try spool.read(live.id, at: live.location, settingAside: false)
        var bytes = Array(message.content.prologue.readableBytesView)
        switch message.content.body {
        case .memory(let body): bytes += Array(body.readableBytesView)
        case .file(let body):
            var offset = 0
            while offset < body.size {
                let piece = try body.read(at: offset, count: 1 << 20)
                bytes += Array(piece.readableBytesView)
                offset += piece.readableBytes
            }
        }
        return (message, bytes, bytes.count)
    }

    // MARK: - JSON

    private static func json(_ message: NewMessage, _ state: DeliveryState?, size: Int) -> JSON {
        let envelope = message.envelope
        let done = Set(state?.done ?? [])
        var waiting: [UInt32: DeliveryState.Group] = [:]
        for group in state?.waiting ?? [] { for recipient in group.recipients { waiting[recipient] = group } }
        let recipients = envelope.recipients.enumerated().map { number, recipient in
            let index = UInt32(truncatingIfNeeded: number)
            let group = waiting[index]
            let state = done.contains(index) ? "done" : group == nil ? "waiting" : "deferred"
            var fields: JSON = ["address": .string(recipient.address.description), "state": .string(state)]
            if let notify = recipient.notify { fields["notify"] = .count(notify.rawValue) }
            if let original = recipient.original { fields["orcpt"] = .string(original) }
            if let group {
                fields["failures"] = .count(group.failures)
                if group.unreached > 0 { fields["unreached"] = .count(group.unreached) }
                fields["due_ms"] = .integer(group.due.milliseconds)
                if let reply = group.reply { fields["reply"] = .string(reply.text) }
            }
            return fields
        }
        var fields: JSON = [
            "id": .string("\(message.id)"),
            "accepted_at_ms": .integer(message.acceptedAt.milliseconds),
            "size": .count(size),
            "sender": .string(envelope.sender.description),
            "eight_bit": .bool(envelope.isEightBit),
            "smtputf8": .bool(envelope.needsUTF8),
            "requiretls": .bool(envelope.requiresTLS),
        ]
        if let returns = envelope.returns { fields["ret"] = .string(returns == .full ? "FULL" : "HDRS") }
        if let envelopeID = envelope.envelopeID { fields["envid"] = .string(envelopeID) }
        fields["recipients"] = .array(recipients)
        return fields
    }
}

extension QueueError {
    /// The text alone.
    package var text: String {
        switch self {
        case .full(let text), .broken(let text), .damaged(let text), .locked(let text): text
        case .closing: "closing"
        }
    }
}
