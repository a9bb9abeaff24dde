// SpoolKeeper.swift — the housekeeping thread: spare segments, indexes of full ones, recycling of empty ones.
//
// Guarantees: segments are recycled strictly in order, and the name of one is durably gone before the next is touched; no
// record of one is overwritten before its headers durably say that none counts; a spare's blocks were really written, so
// that a commit into it syncs data and no metadata.

import Files
import Glibc
import Mail
import Synchronization

/// A segment file without content, ready to be written.
struct SpareSegment: Sendable {
    let sequence: UInt32
    let file: any OpenFile
    let capacity: Int
}

final class SpoolKeeper: Sendable {
    enum Job: Sendable {
        case prepareSpare
        /// Records end at `dataEnd`; the segment is not written any more.
        case seal(SegmentStamp, capacity: Int, dataEnd: Int)
        case recycle(SpoolLedger.Segment)
        case removeLarge([QueueID])
        case stop
    }

    private struct Pool {
        var spares: [SpareSegment] = []
        var nextSequence: UInt32 = 1
        /// The newest segment that was ever written.
        var newest: UInt32 = 0
        var isPreparing = false
        /// Segments to be recycled, oldest first.
        var finished: [SpoolLedger.Segment] = []
    }

    private let context: SpoolContext
    private let pool = Mutex(Pool())
    private let jobs = Mutex<[Job]>([])
    private let bell = Doorbell()
    private let thread = Mutex<SpoolThread?>(nil)

    init(_ context: SpoolContext) { self.context = context }

    /// - Parameter sequence: the next free one; every segment written so far is below it.
    func start(nextSequence sequence: UInt32, newest: UInt32, spares: [SpareSegment]) {
        pool.withLock { pool in
            pool.nextSequence = sequence
            pool.newest = newest
            pool.spares = spares
        }
        guard context.options.worksInBackground else { return }
        thread.withLock { $0 = SpoolThread { self.work() } }
    }

    func stop() {
        submit(.stop)
        thread.withLock { thread in
            thread?.join()
            thread = nil
        }
    }

    func submit(_ job: Job) {
        guard thread.withLock({ $0 != nil }) else {
            perform(job)
            return
        }
        jobs.withLock { $0.append(job) }
        bell.ring()
    }

    private func work() {
        while true {
            bell.wait()
            let job = jobs.withLock { $0.isEmpty ? nil : $0.removeFirst() }
            if case .stop? = job { return }
            if let job { perform(job) }
        }
    }

    private func perform(_ job: Job) {
        switch job {
        case .prepareSpare: prepareSpare()
        case .seal(let stamp, let capacity, let dataEnd): seal(stamp, capacity: capacity, dataEnd: dataEnd)
        case .recycle(let segment):
            pool.withLock { $0.finished.append(segment) }
            recycleFinished()
        case .removeLarge(let ids): removeLarge(ids)
        case .stop: break
        }
    }
}

// MARK: - Spares

extension SpoolKeeper {
    /// The spare with the lowest number, to be written now; nil when none is ready.
    func takeSpare() -> SpareSegment? {
        pool.withLock { pool in
            guard !pool.spares.isEmpty else { return nil }
            let spare = pool.spares.removeFirst()
            pool.newest = spare.sequence
            return spare
        }
    }

    /// Bytes in spares.
    var spareBytes: Int { pool.withLock { $0.spares.reduce(0) { $0 + $1.capacity } } }

    /// Asks for a spare to be made, unless there is one or one is being made.
    func wantSpare() {
        let isWanted = pool.withLock { pool in
            guard pool.spares.isEmpty, !pool.isPreparing else { return false }
            pool.isPreparing = true
            return true
        }
        if isWanted { submit(.prepareSpare) }
    }

    /// Makes a segment at once, with reserved blocks that were never written: the first syncs are slower, but nobody waits.
    func makeSegment() throws(DiskError) -> SpareSegment {
        let sequence = takeSequence(isWritten: true)
        let path = context.path(sequence)
        let file = try context.disk.open(path, .create, permissions: 0o600)
        do throws(DiskError) {
            try file.allocate(context.options.segmentSize)
            // Until its first batch is synced, a restart must take it for what it is.
            try Self.markSpare(file, context.options.segmentSize)
            try context.disk.syncDirectory(context.directory)
        } catch {
            do throws(DiskError) { try context.disk.unlink(path) } catch {}  // the next start does
            throw error
        }
        return SpareSegment(sequence: sequence, file: file, capacity: context.options.segmentSize)
    }

    private func takeSequence(isWritten: Bool) -> UInt32 {
        pool.withLock { pool in
            let sequence = pool.nextSequence
            pool.nextSequence &+= 1
            if isWritten { pool.newest = sequence }
            return sequence
        }
    }

    private func prepareSpare() {
        defer { pool.withLock { $0.isPreparing = false } }
        do throws(DiskError) {
            try makeSpare(inSteps: true)
        } catch {
            // No space now; the writer makes do with what it can get, and asks again at the next segment.
            context.report(.failed, "spare.tmp", "no spare segment: \(error)")
        }
    }

    /// Writes a whole segment of zeros and adds it to the spares.
    ///
    /// - Parameter inSteps: sync piece by piece, so that commits that run meanwhile do not wait behind 64 MiB.
    func makeSpare(inSteps: Bool) throws(DiskError) {
        let path = context.path("spare.tmp")
        let capacity = context.options.segmentSize
        do throws(DiskError) { try context.disk.unlink(path) } catch  where error.isMissing {}
        let file = try context.disk.open(path, .create, permissions: 0o600)
        do throws(DiskError) {
            try Self.fill(file, capacity, step: inSteps ? 4 << 20 : capacity)
            try Self.markSpare(file, capacity)
            try add(path, file, capacity)
        } catch {
            do throws(DiskError) { try context.disk.unlink(path) } catch {}  // removed at the next start
            throw error
        }
    }

    private static func fill(_ file: any OpenFile, _ capacity: Int, step: Int) throws(DiskError) {
        let zeros = [UInt8](repeating: 0, count: min(1 << 20, capacity))
        var position = 0
        while position < capacity {
            try file.write(Array(zeros.prefix(capacity - position)), at: position)
            position += min(zeros.count, capacity - position)
            if position % step == 0 { try file.syncData() }
        }
    }

    /// Writes headers that say that nothing in the file counts, and syncs.
    private static func markSpare(_ file: any OpenFile, _ capacity: Int) throws(DiskError) {
        let header = SegmentHeader(role: .spare, sequence: 0, salt: 0, capacity: capacity).encoded()
        try file.write(header, at: capacity - SegmentHeader.size)
        try file.write(header, at: 0)
        try file.sync()
    }

    /// Writes zeros over the first records of an earlier life, and syncs.
    ///
    /// Should both headers be lost, nobody must take them for mail: see ``SegmentSeeker``. Only where the headers already
    /// say so on the disk: a power cut may keep any part of the zeros, and where the segment still counted, a message
    /// would outlive the note beside it that it is settled.
    private static func blank(_ file: any OpenFile, _ capacity: Int) throws(DiskError) {
        let zeros = [UInt8](repeating: 0, count: SegmentFile.blank(capacity) - SegmentHeader.size)
        try file.write(zeros, at: SegmentHeader.size)
        try file.syncData()
    }

    /// Names a file as the next spare.
    ///
    /// Spares stand behind every written segment; so when the writer has overtaken the
    /// number meanwhile, another one is taken.
    private func add(_ path: String, _ file: any OpenFile, _ capacity: Int) throws(DiskError) {
        var current = path
        while true {
            let sequence = takeSequence(isWritten: false)
            try context.disk.rename(current, to: context.path(sequence))
            try context.disk.syncDirectory(context.directory)
            current = context.path(sequence)
            let isAdded = pool.withLock { pool in
                guard sequence > pool.newest else { return false }
                pool.spares.append(SpareSegment(sequence: sequence, file: file, capacity: capacity))
                return true
            }
            if isAdded { return }
        }
    }
}

// MARK: - Full and empty segments

extension SpoolKeeper {
    /// Gives back what holds nothing live: renamed as a spare, or removed when there are enough.
    ///
    /// One that cannot be given back stops the line; it is tried again with the next one.
    private func recycleFinished() {
        while let segment = pool.withLock({ $0.finished.first }) {
            do throws(DiskError) {
                try recycle(segment)
            } catch {
                context.report(.failed, SegmentFile.name(segment.sequence), "not recycled: \(error)")
                return
            }
            pool.withLock { pool in _ = pool.finished.removeFirst() }
        }
    }

    private func recycle(_ segment: SpoolLedger.Segment) throws(DiskError) {
        let path = context.path(segment.sequence)
        if segment.isKept {
            let name = SegmentFile.name(segment.sequence)
            guard context.moveAside(name, as: name) else { throw DiskError("rename", path, EIO) }
            try context.disk.syncDirectory(context.directory)
            return
        }
        let hasEnough = pool.withLock { $0.spares.count >= context.options.sparesKept }
        if !hasEnough, !segment.isBroken, segment.size == context.options.segmentSize {
            do throws(DiskError) {
                let file = try context.disk.open(path, .update, permissions: 0)
                try Self.markSpare(file, segment.size)
                try Self.blank(file, segment.size)
                try add(path, file, segment.size)
                return
            } catch {
                // Removing it is as good.
                context.report(.failed, SegmentFile.name(segment.sequence), "no spare made of it: \(error)")
            }
        }
        do throws(DiskError) { try context.disk.unlink(path) } catch  where error.isMissing {}
        try context.disk.syncDirectory(context.directory)
    }

    /// Writes the index at the end of a full segment and syncs both.
    ///
    /// The segment is read back for it, which also proves that what was written can be read; one that is damaged gets no
    /// index, so that the next start looks at all of it.
    private func seal(_ stamp: SegmentStamp, capacity: Int, dataEnd: Int) {
        let name = SegmentFile.name(stamp.sequence)
        guard context.knows(stamp.sequence) else { return }  // recycled already
        do throws(DiskError) {
            guard let (_, file) = try context.segment(stamp.sequence) else { return }
            try file.syncData()
            let scan = SpoolScanner.scan(file, stamp, until: dataEnd)
            guard scan.damage.isEmpty, scan.end == dataEnd else {
                context.report(.damaged, name, "what was written reads back differently; no index written")
                return
            }
            let footer = SegmentFooter(
                indexOffset: dataEnd,
                indexLength: scan.index.bytes.count,
                indexChecksum: SpoolScanner.checksum(scan.index.bytes, in: stamp)
            )
            guard dataEnd + scan.index.bytes.count <= capacity - SegmentFile.reserve else { return }
            try file.write(scan.index.bytes, at: dataEnd)
            try file.write(footer.encoded(in: stamp), at: capacity - SegmentFile.reserve)
            try file.syncData()
        } catch {
            // Not fatal: without an index the segment is scanned at the next start.
            context.report(.failed, name, "no index written: \(error)")
        }
    }

    private func removeLarge(_ ids: [QueueID]) {
        for id in ids {
            do throws(DiskError) {
                try context.disk.unlink(context.largePath(id))
            } catch  where error.isMissing {
            } catch {
                context.report(.failed, "large/\(id).eml", "not removed: \(error)")
            }
        }
    }
}
