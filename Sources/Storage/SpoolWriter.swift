// SpoolWriter.swift — writes batches into the open segment, and knows what to do when the disk does not take them.
//
// Lives on the writer's thread alone. Guarantees: a message is told as accepted only after its sync; after a failed
// write or sync nothing of the segment is synced again (Linux forgets which pages failed): its unsynced messages are
// refused, its unsynced notes are kept and written elsewhere, and a new segment is opened.

import CoreMetrics
import Files
import Glibc
import Mail
import Metrics
import NIOCore
import Synchronization

final class SpoolWriter: BatchWriter {
    fileprivate struct Open {
        let stamp: SegmentStamp
        let file: any OpenFile
        let capacity: Int
        /// No message of an older segment has a higher one.
        let highestID: UInt64
        /// Where the next record goes.
        var position = SegmentHeader.size
        /// Bytes that the index of the records so far will take.
        var indexSize = 0
        /// The header is written together with the first records.
        var hasHeader = false

        func fits(_ plan: RecordPlan) -> Bool {
            position + plan.length + indexSize + plan.rowSize <= capacity - SegmentFile.reserve
        }
    }

    private struct Placed {
        let item: SpoolItem
        let plan: RecordPlan
        let location: Location
    }

    private let context: SpoolContext
    private let keeper: SpoolKeeper
    private let shared: SpoolShared
    private let journal: SpoolJournal
    private let committed: @Sendable ([CommitResult]) -> Void

    private var ledger: SpoolLedger
    /// No message has a higher one.
    private var highestID: UInt64
    /// Segments that hold nothing live and wait for the follower, oldest first.
    private var awaiting = AwaitingSegments()
    private var open: Open?
    /// Why there is no open segment, and when the next try may be made.
    private var trouble: (error: QueueError, until: Uptime)?
    private var held: HeldNotes
    /// Notes in the open segment that no sync has covered yet.
    private var unsynced: [SpoolItem] = []
    /// The last full segment: it gets its index when the next one is full, unless it holds nothing live by then.
    private var unsealed: Open?
    /// Large bodies whose message is settled, to be removed once the record of that is synced.
    private var largeToRemove: [QueueID] = []

    // The batch at work.
    private var heads: [UInt8] = []
    private var placed: [Placed] = []
    private var start = 0
    private var needsSync = false
    private var results: [CommitResult] = []
    private var moves: [(SpoolMove, Result<Location, QueueError>)] = []
    private var bells: [SyncBell] = []

    init(
        _ context: SpoolContext,
        _ keeper: SpoolKeeper,
        _ shared: SpoolShared,
        _ journal: SpoolJournal,
        _ ledger: SpoolLedger,
        highestID: QueueID,
        committed: @escaping @Sendable ([CommitResult]) -> Void
    ) {
        self.context = context
        self.keeper = keeper
        self.shared = shared
        self.journal = journal
        self.ledger = ledger
        self.highestID = highestID.rawValue
        self.committed = committed
        held = HeldNotes(limit: context.options.heldNotesMax)
        publish()
        keeper.wantSpare()
    }

    /// Writes a batch, syncs it when it must be, and tells the results.
    func commit(_ items: [SpoolItem]) {
        if !held.isEmpty, mayWrite() {
            for item in held.takeAll() { place(item) }
        }
        for item in items { place(item) }
        flush()
        if !bells.isEmpty, !unsynced.isEmpty, syncUnsynced() { removeLarge() }
        publish()
        let results = results
        let moves = moves
        self.results = []
        self.moves = []
        if !results.isEmpty { committed(results) }
        for (move, result) in moves { move.finish(result) }
        for bell in bells { bell.ring(held.isEmpty && unsynced.isEmpty) }
        bells = []
    }

    /// Writes what could not be written before and makes everything durable.
    func close() {
        if !held.isEmpty {
            trouble = nil
            commit([])
        }
        if open != nil, !unsynced.isEmpty { _ = syncUnsynced() }
        removeLarge()
        seal(next: nil)
    }

    // MARK: - Placing

    /// Gives an item its place in the open segment; opens the next one when it is full.
    private func place(_ item: SpoolItem) {
        switch item {
        case .sync(let bell): return bells.append(bell)
        case .found(let locations): return locations.forEach { ledger.add($0) }
        case .foundAll(let kept):
            for sequence in kept { ledger.keep(sequence) }
            ledger.isComplete = true
            return
        case .joint: return  // the spool joins nothing
        case .message, .move, .attempt, .settled, .facts: break
        }
        if case .move(let move) = item, !ledger.isLive(move.from) {
            // Settled or moved meanwhile: nothing to copy.
            moves.append((move, .success(move.from)))
            return
        }
        if case .settled(let id, let location, _) = item { count(out: id, location) }
        guard mayWrite() else {
            refuse(item, trouble?.error ?? .closing)
            return
        }
        var plan: RecordPlan
        do throws(QueueError) {
            plan = try encode(item)
        } catch {
            refuse(item, error)
            return
        }
        if let full = open, !full.fits(plan) {
            heads.removeSubrange(plan.head.lowerBound...)
            guard plan.length + plan.rowSize <= context.options.segmentSize - SegmentFile.reserve - SegmentHeader.size
            else {
                refuse(item, .broken("a record of \(plan.length) bytes does not fit a segment"))
                return
            }
            flush()
            // When the flush failed, another segment is open by now.
            if open?.stamp == full.stamp { rollOver() }
            guard mayWrite(), let again = try? encode(item) else {
                refuse(item, trouble?.error ?? .closing)
                return
            }
            plan = again
        }
        take(item, plan)
    }

    private func take(_ item: SpoolItem, _ plan: RecordPlan) {
        guard let segment = open else { return }
        if placed.isEmpty { start = segment.position }
        let location = Location(
            segment: segment.stamp.sequence,
            offset: UInt32(truncatingIfNeeded: segment.position),
            length: UInt32(truncatingIfNeeded: plan.length)
        )
        placed.append(Placed(item: item, plan: plan, location: location))
        open?.position += plan.length
        open?.indexSize += plan.rowSize
        switch item {
        case .message(let message):
            needsSync = true
            highestID = max(highestID, message.id.rawValue)
        case .move: needsSync = true
        // The note must be durable before a body is removed, or a crash would leave a message without it.
        case .settled: needsSync = needsSync || !largeToRemove.isEmpty
        case .attempt, .facts, .joint, .found, .foundAll, .sync: break
        }
    }

    private func encode(_ item: SpoolItem) throws(QueueError) -> RecordPlan {
        switch item {
        case .message(let message):
            return heads.appendRecord(message, state: nil, bodyChecksum: try Self.bodyChecksum(message))
        case .move(let move):
            return heads.appendRecord(
                move.message,
                state: move.state,
                bodyChecksum: try Self.bodyChecksum(move.message)
            )
        case .attempt(let id, let state, let facts):
            return heads.appendRecord(state, of: id, facts)
        case .settled(let id, _, let facts):
            return heads.appendRecord(settled: id, facts)
        case .facts(let id, let facts):
            return heads.appendRecord(facts, of: id)
        case .joint, .found, .foundAll, .sync:
            throw .closing  // never placed
        }
    }

    private static func bodyChecksum(_ message: NewMessage) throws(QueueError) -> UInt32 {
        guard case .file(let file) = message.content.body else { return 0 }
        guard let body = file as? SpoolBody else { throw .broken("a body file of another store") }
        return body.checksum
    }

    /// A message is finished, whatever becomes of the note about it.
    private func count(out id: QueueID, _ location: Location?) {
        if let location { ledger.remove(location) }
        if context.large.withLock({ $0.remove(id) }) != nil { largeToRemove.append(id) }
    }

    /// What cannot be written now: messages are refused, notes are kept for later.
    ///
    /// - Parameter mayBeThere: the record may be on the disk nevertheless.
    private func refuse(_ item: SpoolItem, _ error: QueueError, mayBeThere: Bool = false) {
        switch item {
        case .message(let message):
            results.append(CommitResult(id: message.id, result: .failure(error)))
            // The client hears of a failure and will send it again; what may be on the disk must not go out as well.
            if mayBeThere { held.add(.settled(message.id, nil, .none)) }
            guard case .file = message.content.body else { return }
            // Nobody else knows of its body file, which goes with that note, or at once.
            if mayBeThere {
                context.large.withLock { _ = $0.insert(message.id) }
            } else {
                keeper.submit(.removeLarge([message.id]))
            }
        case .move(let move): moves.append((move, .failure(error)))
        case .attempt, .settled, .facts: held.add(item)
        case .joint, .found, .foundAll, .sync: break
        }
    }

    // MARK: - Writing

    /// Writes what was placed, with one call, and syncs it if a message is among it.
    private func flush() {
        guard !placed.isEmpty, let segment = open else {
            needsSync = false
            return
        }
        let mustSync = needsSync || unsynced.count + placed.count > context.options.unsyncedNotesMax
        do throws(DiskError) {
            try write(segment)
            open?.hasHeader = true
            if mustSync { try sync(segment.file) }
            written(isSynced: mustSync)
        } catch {
            failed(error)
        }
        placed.removeAll(keepingCapacity: true)
        heads.removeAll(keepingCapacity: heads.capacity <= 1 << 20)
        needsSync = false
    }

    private static var nanoseconds: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    private func sync(_ file: any OpenFile) throws(DiskError) {
        let start = Self.nanoseconds
        try file.syncData()
        StorageMetrics.sync.recordNanoseconds(Self.nanoseconds - start)
    }

    private func write(_ segment: Open) throws(DiskError) {
        var position = start
        for entry in placed {
            let (prologue, body) = Self.bytes(of: entry.item)
            heads.seal(entry.plan, at: position, in: segment.stamp, prologue: prologue, body: body)
            position += entry.plan.length
        }
        let header = segment.header
        if !segment.hasHeader { try segment.file.write(header, at: segment.capacity - SegmentHeader.size) }
        try header.withUnsafeBufferPointer { header throws(DiskError) in
            try heads.withUnsafeBufferPointer { heads throws(DiskError) in
                let heads = UnsafeRawBufferPointer(heads)
                var pieces: [UnsafeRawBufferPointer] = []
                pieces.reserveCapacity(3 * placed.count + 2)
                if !segment.hasHeader { pieces.append(UnsafeRawBufferPointer(header)) }
                // Between the bodies, the tail of one record and the head of the next lie side by side.
                var begin = placed.first?.plan.head.lowerBound ?? 0
                for entry in placed {
                    let (prologue, body) = Self.bytes(of: entry.item)
                    guard !prologue.isEmpty || !body.isEmpty else { continue }
                    pieces.append(UnsafeRawBufferPointer(rebasing: heads[begin..<entry.plan.head.upperBound]))
                    if !prologue.isEmpty { pieces.append(prologue) }
                    if !body.isEmpty { pieces.append(body) }
                    begin = entry.plan.tail.lowerBound
                }
                pieces.append(UnsafeRawBufferPointer(rebasing: heads[begin...]))
                try segment.file.write(pieces, at: segment.hasHeader ? start : 0)
            }
        }
    }

    /// The message bytes of an item where they are: `placed` keeps the buffers alive and nobody else may change them.
    private static func bytes(of item: SpoolItem) -> (UnsafeRawBufferPointer, UnsafeRawBufferPointer) {
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        let message: NewMessage
        switch item {
        case .message(let new): message = new
        case .move(let move): message = move.message
        case .attempt, .settled, .facts, .joint, .found, .foundAll, .sync: return (none, none)
        }
        let prologue = message.content.prologue.withUnsafeReadableBytesWithStorageManagement { bytes, _ in bytes }
        guard case .memory(let buffer) = message.content.body else { return (prologue, none) }
        return (prologue, buffer.withUnsafeReadableBytesWithStorageManagement { bytes, _ in bytes })
    }

    private func written(isSynced: Bool) {
        if isSynced { unsynced.removeAll(keepingCapacity: true) }
        if let open, isSynced { journal.setSynced(open.stamp.sequence, open.position) } else { journal.noteUnsynced() }
        for entry in placed {
            switch entry.item {
            case .message(let message):
                ledger.add(entry.location)
                if case .file = message.content.body { context.large.withLock { _ = $0.insert(message.id) } }
                results.append(CommitResult(id: message.id, result: .success(entry.location)))
            case .move(let move):
                ledger.add(entry.location)
                ledger.remove(move.from)
                moves.append((move, .success(entry.location)))
            case .attempt, .settled, .facts:
                if !isSynced { unsynced.append(entry.item) }
            case .joint, .found, .foundAll, .sync: break
            }
        }
        if isSynced { removeLarge() }
    }

    private func removeLarge() {
        guard !largeToRemove.isEmpty else { return }
        let ready = largeToRemove.filter { !held.hasSettled($0) }
        guard !ready.isEmpty else { return }
        largeToRemove.removeAll { !held.hasSettled($0) }
        keeper.submit(.removeLarge(ready))
    }

    // MARK: - Trouble

    /// The write or the sync did not work: give the segment up.
    private func failed(_ error: DiskError) {
        context.report(.failed, open.map { SegmentFile.name($0.stamp.sequence) } ?? "", "given up: \(error)")
        let reason = QueueError(error)
        for entry in placed { refuse(entry.item, reason, mayBeThere: true) }
        giveUpSegment()
        openSegment()
    }

    private func giveUpSegment() {
        for item in unsynced { held.add(item) }
        unsynced = []
        if let open { journal.giveUp(open.stamp.sequence) }
        ledger.closeLast(isBroken: true)
        open = nil
    }

    private func syncUnsynced() -> Bool {
        guard let segment = open else { return false }
        do throws(DiskError) {
            try segment.file.syncData()
            unsynced = []
            journal.setSynced(segment.stamp.sequence, segment.position)
            return true
        } catch {
            context.report(.failed, SegmentFile.name(segment.stamp.sequence), "given up: \(error)")
            giveUpSegment()
            return false
        }
    }

    /// The open segment is full: on to the next.
    private func rollOver() {
        guard let full = open else { return }
        if !unsynced.isEmpty, !syncUnsynced() { return }
        removeLarge()
        open = nil
        journal.close(full.stamp.sequence, at: full.position)
        ledger.closeLast()
        seal(next: full)
    }

    /// Has an index written for the segment that was full last, and remembers the next one.
    ///
    /// Mail that flows is gone before the next segment is full, and its segment with it: no index is made for nothing.
    private func seal(next: Open?) {
        if let full = unsealed { keeper.submit(.seal(full.stamp, capacity: full.capacity, dataEnd: full.position)) }
        unsealed = next
    }

    /// Whether there is an open segment; opens one, but after a failure not before some seconds have passed.
    private func mayWrite() -> Bool {
        if open != nil { return true }
        if let trouble, context.options.now() < trouble.until { return false }
        openSegment()
        return open != nil
    }

    private func openSegment() {
        do throws(DiskError) {
            let spare: SpareSegment
            if let ready = keeper.takeSpare() { spare = ready } else { spare = try keeper.makeSegment() }
            let stamp = SegmentStamp(sequence: spare.sequence, salt: context.options.makeSalt())
            context.register(stamp, spare.file)
            ledger.open(spare.sequence, size: spare.capacity)
            open = Open(stamp: stamp, file: spare.file, capacity: spare.capacity, highestID: highestID)
            trouble = nil
            keeper.wantSpare()
        } catch {
            context.report(.failed, "", "no new segment: \(error)")
            trouble = (QueueError(error), context.options.now().adding(milliseconds: context.options.retryDelay))
        }
    }

    // MARK: - What others see

    /// Hands finished segments to the keeper and tells the other threads how things stand.
    private func publish() {
        let finished = ledger.takeFinished()
        if !finished.isEmpty || !awaiting.isEmpty { recycle(finished) }
        shared.publish(
            segmentToCompact: ledger.segmentToCompact,
            room: open.map { $0.capacity - $0.position - $0.indexSize } ?? 0,
            troubleUntil: open == nil ? trouble?.until : nil
        )
    }
}

extension SpoolWriter {
    /// Gives back what nobody needs any more, in order of age.
    private func recycle(_ finished: [SpoolLedger.Segment]) {
        awaiting.add(finished)
        while let segment = awaiting.take(atMost: context.options.journalBytes, { journal.isPast($0) }) {
            context.forget(segment.sequence)
            journal.forget(segment.sequence)
            keeper.submit(.recycle(segment))
        }
    }
}

extension SpoolWriter.Open {
    fileprivate var header: [UInt8] {
        SegmentHeader(
            role: .data,
            sequence: stamp.sequence,
            salt: stamp.salt,
            capacity: capacity,
            highestID: highestID
        ).encoded()
    }
}
