// Spool.swift — the embedded store: a segmented log under `queue/`, large bodies beside it.
//
//   queue/lock                      one process per spool
//   queue/00000000000000000042.seg  segments, oldest first; those that hold no records are spares
//   queue/large/<id>.eml            bodies above the in-memory limit
//   queue/corrupt/                  what could not be read; for a human, never removed by us
//
// Guarantees: see Durability.md in the documentation of `martlet`.

package import Files
import Glibc
package import Mail
import NIOCore
import Synchronization

/// The embedded store: a segmented log and large bodies beside it.
package final class Spool: QueueStore {
    /// Sizes and limits; the defaults are for real use, tests take smaller ones.
    package struct Options: Sendable {
        /// Bytes of a segment; made smaller on a small file system, see ``recover(_:)``.
        package var segmentSize = 64 << 20
        /// Empty segments kept for use.
        package var sparesKept = 4
        /// Open files among the segments.
        package var openSegments = 64
        /// After so many settled and attempt records without a message, sync.
        package var unsyncedNotesMax = 4096
        /// Notes kept in memory while nothing can be written.
        package var heldNotesMax = 100_000
        /// Milliseconds between attempts to open a new segment while the disk refuses.
        package var retryDelay: Int64 = 3000
        /// Milliseconds between attempts to read what could not be read at start-up.
        package var readPause: UInt32 = 250
        /// False does the housekeeping on the writer's thread, so that a test sees the same system calls every time.
        package var worksInBackground = true
        /// ``Spool/recover(_:)`` visits nothing and leaves all to ``Spool/recoverRest(_:)``, so that it takes the same time
        /// whatever waits.
        package var recoversBehind = false
        /// Somebody follows the log: segments wait until they were read.
        package var isFollowed = false
        /// Bytes of segments that wait for the follower; beyond, the oldest go unread.
        package var journalBytes = 1 << 30
        package var now: @Sendable () -> Uptime = { Uptime.now() }
        /// Makes the salt of a segment.
        package var makeSalt: @Sendable () -> UInt64 = { UInt64.random(in: 1...UInt64.max) }

        package init() {}
    }

    /// A message of at most so many bytes is certainly kept in the log.
    private static let largestInMemory = 1 << 20

    private struct Space {
        var until = Int64.min
        var known: DiskSpace?
    }

    let context: SpoolContext
    private let keeper: SpoolKeeper
    let commits = GroupCommit()
    let journal: SpoolJournal
    private let shared = SpoolShared()
    private let space = Mutex(Space())
    /// What was found, until the writer starts with it.
    private let recovered = Mutex<SpoolRecovery.Result?>(nil)
    /// What is left for ``recoverRest(_:)``.
    private let rest = Mutex<SpoolRecovery?>(nil)
    let holdsWriter = Mutex(HoldsWriter())
    private let highest = Mutex(QueueID(rawValue: 0))
    private let isClosing = Atomic<Bool>(false)
    private let lockFile = Mutex<(any OpenFile)?>(nil)

    /// Nothing is touched before ``recover(_:)``.
    ///
    /// - Parameters:
    ///   - directory: the `queue` directory; it is made when missing.
    ///   - report: told about damage and failing calls, on any thread.
    package init(
        directory: String,
        disk: any Disk = LinuxDisk(),
        options: Options = Options(),
        report: @escaping @Sendable (SpoolProblem) -> Void
    ) {
        var options = options
        if let space = try? disk.space(at: Self.existing(directory, disk)) {
            // A sixteenth of the file system at most, in whole MiB, so that a small one is not all spares.
            options.segmentSize = min(options.segmentSize, max(4 << 20, (space.totalBytes / 16) & ~0xF_FFFF))
            // What waits to be read must not keep mail out.
            options.journalBytes = min(options.journalBytes, space.totalBytes / 8)
        }
        context = SpoolContext(disk: disk, directory: directory, options: options, report: report)
        keeper = SpoolKeeper(context)
        journal = SpoolJournal(isFollowed: options.isFollowed)
    }

    /// The directory, or the nearest one above it that is there.
    private static func existing(_ directory: String, _ disk: any Disk) -> String {
        var path = directory
        while (try? disk.status(path, following: true)) == nil, let slash = path.lastIndex(ofOctet: "/") {
            path = slash == path.startIndex ? "/" : String(path[..<slash])
            if path == "/" { break }
        }
        return path
    }
}

// MARK: - Start and stop

extension Spool {
    package func recover(_ visit: (RecoveredMessage) -> Void) throws(QueueError) {
        try prepareDirectories()
        try lock()
        var recovery: SpoolRecovery
        do throws(DiskError) {
            recovery = try SpoolRecovery.find(context)
        } catch {
            throw QueueError(error)
        }
        highest.withLock { $0 = recovery.result.highestID }
        if context.options.recoversBehind {
            recovery.result.ledger.isComplete = false
            recovered.withLock { $0 = recovery.result }
            // The writer and the keeper take those over.
            recovery.result.unsealed = []
            rest.withLock { $0 = recovery }
            return
        }
        var ledger = recovery.result.ledger
        _ = recovery.visitAll { messages, _ in
            for message in messages {
                ledger.add(message.location)
                visit(message)
            }
            return true
        }
        for sequence in recovery.unreadable { ledger.keep(sequence) }
        recovery.result.ledger = ledger
        recovered.withLock { $0 = recovery.result }
    }

    /// Visits what ``recover(_:)`` left, after ``start(committed:)``; ends early when the store is closed.
    package func recoverRest(_ visit: ([RecoveredMessage], RecoveryProgress) -> Void) {
        let left = rest.withLock { rest in
            defer { rest = nil }
            return rest
        }
        guard var recovery = left else { return }
        let segments = recovery.sources.count
        let isWhole = recovery.visitAll { messages, segmentsLeft in
            // Ahead of every note about them.
            guard !isClosing.load(ordering: .relaxed), commits.submit(.found(messages.map(\.location))) else {
                return false
            }
            visit(messages, RecoveryProgress(done: segments - segmentsLeft, of: segments))
            return true
        }
        guard isWhole else { return }
        commits.submit(.foundAll(kept: recovery.unreadable))
        finish(recovery.result)
    }

    package func endRecovery() { isClosing.store(true, ordering: .relaxed) }

    package var visitsNewestFirst: Bool { true }

    package var highestID: QueueID { highest.withLock { $0 } }

    /// What recovery leaves to be done, once there is somebody to do it.
    private func finish(_ found: SpoolRecovery.Result) {
        for (stamp, capacity, dataEnd) in found.unsealed {
            keeper.submit(.seal(stamp, capacity: capacity, dataEnd: dataEnd))
        }
        for (id, location) in found.finished { appendSettled(id, at: location) }
    }

    package func start(committed: @escaping @Sendable ([CommitResult]) -> Void) throws(QueueError) {
        let found = recovered.withLock { recovered in
            defer { recovered = nil }
            return recovered
        }
        guard let found else { throw .closing }
        keeper.start(nextSequence: found.nextSequence, newest: found.newest, spares: found.spares)
        if found.spares.isEmpty { makeFirstSegment() }
        if journal.isFollowed { show(found) }
        let (context, keeper, shared, journal) = (context, keeper, shared, journal)
        let isRunning = commits.start {
            SpoolWriter(
                context,
                keeper,
                shared,
                journal,
                found.ledger,
                highestID: found.highestID,
                committed: committed
            )
        }
        guard isRunning else { throw .broken("no thread for the writer") }
        finish(found)
    }

    private func prepareDirectories() throws(QueueError) {
        do throws(DiskError) {
            try context.disk.makeDirectory(context.directory, permissions: 0o700)
            for name in ["corrupt", "large"] {
                if let status = try context.disk.status(context.path(name), following: false), status.kind != .directory
                {
                    // A file or a link in the place of a directory: not ours.
                    let spare = name == "corrupt" ? "\(name).foreign" : "corrupt/\(name)"
                    try context.disk.rename(context.path(name), to: context.path(spare))
                    context.report(.foreign, name, "is no directory; moved to \(spare)")
                }
                try context.disk.makeDirectory(context.path(name), permissions: 0o700)
            }
            try context.disk.syncDirectory(context.directory)
            if let slash = context.directory.lastIndex(ofOctet: "/"), slash != context.directory.startIndex {
                try context.disk.syncDirectory(String(context.directory[..<slash]))
            }
        } catch {
            throw QueueError(error)
        }
    }

    private func lock() throws(QueueError) {
        let path = context.path("lock")
        do throws(DiskError) {
            let file = try context.disk.open(path, .updateOrCreate, permissions: 0o600)
            guard try file.lock() else {
                let text = String(
                    decoding: try file.read(20, at: 0).prefix { (0x30...0x39).contains($0) },
                    as: UTF8.self
                )
                throw DiskError("flock \(text)", path, EWOULDBLOCK)
            }
            try file.truncate(to: 0)
            try file.write(Array("\(getpid())\n".utf8), at: 0)
            lockFile.withLock { $0 = file }
        } catch {
            guard error.code == EWOULDBLOCK else { throw QueueError(error) }
            let holder = error.call.dropFirst("flock ".count)
            throw .locked("\(context.directory) is in use by process \(holder.isEmpty ? "unknown" : String(holder))")
        }
    }

    /// The first segment of a new spool; without space for it the writer tries again later.
    private func makeFirstSegment() {
        do throws(DiskError) {
            try keeper.makeSpare(inSteps: false)
        } catch {
            context.report(.failed, "", "no first segment: \(error)")
        }
    }

    package func close() {
        endRecovery()
        commits.stop()
        keeper.stop()
        lockFile.withLock { $0 = nil }
    }
}

// MARK: - Writing

extension Spool {
    package func append(_ message: NewMessage) { commits.submit(.message(message)) }

    package func append(_ state: DeliveryState, of id: QueueID, _ facts: Facts) {
        commits.submit(.attempt(id, state, facts))
    }

    package func appendSettled(_ id: QueueID, at location: Location, _ facts: Facts) {
        commits.submit(.settled(id, location, facts))
    }

    package func append(_ facts: Facts, of id: QueueID) { commits.submit(.facts(id, facts)) }

    /// Waits until everything appended so far is written and synced, or cannot be.
    ///
    /// Blocks.
    package func sync() { _ = confirm() }

    package func confirm() -> Bool {
        let bell = SyncBell()
        return commits.submit(.sync(bell)) && bell.wait()
    }

    package func makeLargeBody(_ id: QueueID) throws(QueueError) -> any LargeBody {
        do throws(DiskError) {
            return try SpoolBody(creating: id, context)
        } catch {
            throw QueueError(error)
        }
    }

    package var wantsRoom: Bool { shared.segmentToCompact != nil }

    package func isBeingEmptied(_ location: Location) -> Bool { location.segment == shared.segmentToCompact }

    /// A message that was settled or moved meanwhile stays where it is: its old location is returned.
    package func move(_ id: QueueID, from location: Location, _ state: DeliveryState) throws(QueueError) -> Location {
        let move = SpoolMove(try read(id, at: location), state, from: location)
        guard commits.submit(.move(move)) else { throw .closing }
        return try move.wait()
    }

    package var freeBytes: Int? { known(at: context.options.now()).map(\.freeBytes) }

    /// What is left on the disk, looked at once a second.
    private func known(at now: Uptime) -> DiskSpace? {
        space.withLock { space in
            if now.milliseconds >= space.until, let fresh = try? context.disk.space(at: context.directory) {
                space = Space(until: now.milliseconds + 1000, known: fresh)
            }
            return space.known
        }
    }

    package func hasRoom(for bytes: Int) -> Bool {
        let now = context.options.now()
        guard !shared.isInTrouble(at: now), let free = known(at: now) else { return false }
        // Room in segments that are there already counts: their blocks are ours.
        let own = max(0, shared.openRoom) + keeper.spareBytes
        let wanted = max(0, bytes) &+ max(0, bytes) / 2 &+ context.options.segmentSize
        // A body beyond memory becomes a file, which takes blocks of its own.
        let fits = bytes <= min(own, Self.largestInMemory) || free.freeBytes >= wanted
        return free.freeFiles > 16 && free.freeBytes &+ own >= wanted && fits
    }
}

// MARK: - Reading

extension Spool {
    package func read(_ id: QueueID, at location: Location) throws(QueueError) -> NewMessage {
        try read(id, at: location, settingAside: true)
    }

    /// Reads a message.
    ///
    /// - Parameter settingAside: false leaves a damaged one where it is.
    func read(_ id: QueueID, at location: Location, settingAside: Bool) throws(QueueError) -> NewMessage {
        let (stamp, buffer) = try record(at: location)
        let message = buffer.withUnsafeReadableBytes { raw in
            Self.message(raw, buffer, id, at: location, in: stamp)
        }
        guard let (message, parts) = message else {
            throw settingAside ? damaged(id, at: location, buffer) : .damaged("the record is damaged")
        }
        guard parts.head.isLarge else { return message }
        do throws(DiskError) {
            return try withBody(message, parts.head, settingAside: settingAside)
        } catch {
            guard error.isMissing else { throw QueueError(error) }
            throw settingAside ? damaged(id, at: location, buffer) : .damaged("the body file is missing")
        }
    }

    package func readEnvelope(_ id: QueueID, at location: Location) throws(QueueError) -> Envelope {
        guard let envelope = RecordHead(id, at: location, in: context)?.envelope else {
            // The whole record decides whether it is damaged, and sets it aside.
            return try read(id, at: location).envelope
        }
        return envelope
    }

    package func setAside(_ id: QueueID, at location: Location, because text: String) {
        guard let (_, buffer) = try? record(at: location) else { return }
        _ = damaged(id, at: location, buffer, text)
    }

    /// Reads a record's bytes, verified or not.
    private func record(at location: Location) throws(QueueError) -> (SegmentStamp, ByteBuffer) {
        do throws(DiskError) {
            guard let (stamp, file) = try context.segment(location.segment) else {
                throw DiskError("read", SegmentFile.name(location.segment), ESTALE)
            }
            let length = Int(location.length)
            var buffer = ByteBuffer()
            buffer.reserveCapacity(length)
            var failure: DiskError?
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: length) { raw in
                do throws(DiskError) {
                    let room = UnsafeMutableRawBufferPointer(rebasing: raw[..<length])
                    return try file.read(into: room, at: Int(location.offset))
                } catch {
                    failure = error
                    return 0
                }
            }
            if let failure { throw failure }
            return (stamp, buffer)
        } catch {
            throw QueueError(error)
        }
    }

    /// Verifies and decodes; prologue and body share the buffer.
    private static func message(
        _ raw: UnsafeRawBufferPointer,
        _ buffer: ByteBuffer,
        _ id: QueueID,
        at location: Location,
        in stamp: SegmentStamp
    ) -> (NewMessage, SpoolRecord.Parts)? {
        guard let frame = SpoolRecord.frame(raw, at: Int(location.offset), in: stamp),
            SpoolRecord.verify(raw, frame, in: stamp) == .sound,
            frame.kind == SpoolKind.message.rawValue || frame.kind == SpoolKind.moved.rawValue,
            let parts = try? SpoolRecord.parts(raw, length: frame.length), parts.id == id
        else { return nil }
        var reader = StoredReader(UnsafeRawBufferPointer(rebasing: raw[24..<parts.state.upperBound]))
        guard let envelope = try? RecordHead(decoding: &reader).envelope,
            let prologue = buffer.getSlice(
                at: buffer.readerIndex + parts.prologue.lowerBound,
                length: parts.prologue.count
            ),
            let body = buffer.getSlice(at: buffer.readerIndex + parts.body.lowerBound, length: parts.body.count)
        else { return nil }
        let content = Content(
            prologue: prologue,
            body: .memory(body),
            hasLeadingDots: parts.head.flags & MessageHead.flagDots != 0,
            isEightBit: parts.head.flags & MessageHead.flagEightBit != 0
        )
        let message = NewMessage(id: id, acceptedAt: parts.head.acceptedAt, envelope: envelope, content: content)
        return (message, parts)
    }

    private func withBody(
        _ message: NewMessage,
        _ head: MessageHead,
        settingAside: Bool
    ) throws(DiskError) -> NewMessage {
        let body = try SpoolBody(
            opening: message.id,
            size: head.bodyLength,
            checksum: head.bodyChecksum,
            settingAside: settingAside,
            context
        )
        let content = message.content
        return NewMessage(
            id: message.id,
            acceptedAt: message.acceptedAt,
            envelope: message.envelope,
            content: Content(
                prologue: content.prologue,
                body: .file(body),
                hasLeadingDots: content.hasLeadingDots,
                isEightBit: content.isEightBit
            )
        )
    }

    /// Sets a damaged record aside and closes the file on the message, so that it is not tried for ever.
    private func damaged(
        _ id: QueueID,
        at location: Location,
        _ record: ByteBuffer,
        _ text: String = "is damaged"
    ) -> QueueError {
        guard context.knows(location.segment) else { return .broken("\(id) was moved while it was read") }
        let name = "\(SegmentFile.name(location.segment).dropLast(4))-\(location.offset).bin"
        context.report(
            .damaged,
            SegmentFile.name(location.segment),
            "message \(id) \(text); set aside as corrupt/\(name)"
        )
        if context.setAside(Array(record.readableBytesView), as: name) {
            keepBody(of: id)
            appendSettled(id, at: location)
        }
        return .damaged("message \(id) in \(SegmentFile.name(location.segment)) at \(location.offset)")
    }

    /// The body of a message that was set aside goes with it.
    private func keepBody(of id: QueueID) {
        guard context.large.withLock({ $0.remove(id) }) != nil else { return }
        if (try? context.disk.status(context.largePath(id), following: false)) != nil {
            _ = context.moveAside("large/\(id).eml", as: "\(id).eml")
        }
    }
}
