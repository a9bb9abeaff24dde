// SpoolBody.swift — a body file under large/, being written or read back.
//
// Guarantees: written in large pieces; its checksum goes into the message's record. Read from front to back it is
// verified on the way, and the last piece is handed out only when the checksum was right: a damaged mail is never
// completed.

import Files
import Mail
import NIOCore
import Synchronization

final class SpoolBody: LargeBody {
    private struct State {
        var size: Int
        /// The checksum of all bytes written, or of the whole file as the record tells it.
        var checksum: CRC32C
        /// Bytes not yet handed to the system.
        var waiting: [UInt8] = []
        /// Where the next piece of a reading from front to back begins.
        var next = 0
        var running = CRC32C()
        var isVerified = false
    }

    private static let pieceSize = 256 << 10

    let id: QueueID
    private let context: SpoolContext
    private let file: any OpenFile
    /// Whether damage moves the file to `corrupt/`; looking at a spool offline does not.
    private let setsAside: Bool
    private let state: Mutex<State>

    /// Makes the file of a new body.
    init(creating id: QueueID, _ context: SpoolContext) throws(DiskError) {
        self.id = id
        self.context = context
        setsAside = true
        file = try context.disk.open(context.largePath(id), .create, permissions: 0o600)
        state = Mutex(State(size: 0, checksum: CRC32C()))
    }

    /// Opens the file of a stored body.
    init(
        opening id: QueueID,
        size: Int,
        checksum: UInt32,
        settingAside: Bool,
        _ context: SpoolContext
    ) throws(DiskError) {
        self.id = id
        self.context = context
        setsAside = settingAside
        file = try context.disk.open(context.largePath(id), .read, permissions: 0)
        state = Mutex(State(size: size, checksum: CRC32C(continuing: checksum)))
    }

    var size: Int { state.withLock { $0.size } }
    var checksum: UInt32 { state.withLock { $0.checksum.value } }

    func write(_ bytes: ByteBuffer) throws(QueueError) {
        try state.withLock { state throws(QueueError) in
            bytes.withUnsafeReadableBytes { raw in
                state.checksum.update(raw)
                state.waiting.append(contentsOf: raw)
            }
            state.size += bytes.readableBytes
            if state.waiting.count >= Self.pieceSize { try flush(&state) }
        }
    }

    private func flush(_ state: inout State) throws(QueueError) {
        guard !state.waiting.isEmpty else { return }
        do throws(DiskError) {
            try file.write(state.waiting, at: state.size - state.waiting.count)
        } catch {
            throw QueueError(error)
        }
        state.waiting.removeAll(keepingCapacity: true)
    }

    func finish() throws(QueueError) {
        try state.withLock { state throws(QueueError) in
            try flush(&state)
            state.waiting = []
        }
        do throws(DiskError) {
            try file.sync()
            try context.disk.syncDirectory(context.largeDirectory)
        } catch {
            throw QueueError(error)
        }
    }

    func discard() {
        do throws(DiskError) {
            try context.disk.unlink(context.largePath(id))
        } catch {
            // Without a record it is removed at the next start.
            context.report(.failed, "large/\(id).eml", "not removed: \(error)")
        }
    }

    func read(at offset: Int, count: Int) throws(QueueError) -> ByteBuffer {
        try state.withLock { state throws(QueueError) in
            let wanted = max(0, min(count, state.size - offset))
            var bytes = ByteBuffer()
            bytes.reserveCapacity(wanted)
            let got = try fill(&bytes, wanted, at: offset)
            guard got == wanted else {
                throw damaged("is \(state.size) bytes in the record, but ends at \(offset + got)")
            }
            try verify(&state, bytes, at: offset)
            return bytes
        }
    }

    private func fill(_ bytes: inout ByteBuffer, _ count: Int, at offset: Int) throws(QueueError) -> Int {
        var failure: DiskError?
        let got = bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { raw in
            do throws(DiskError) {
                return try file.read(into: UnsafeMutableRawBufferPointer(rebasing: raw[..<count]), at: offset)
            } catch {
                failure = error
                return 0
            }
        }
        if let failure { throw QueueError(failure) }
        return got
    }

    /// Follows a reading from front to back; the last piece passes only with the whole.
    private func verify(_ state: inout State, _ bytes: ByteBuffer, at offset: Int) throws(QueueError) {
        if offset == 0 {
            state.next = 0
            state.running = CRC32C()
        }
        if offset == state.next {
            bytes.withUnsafeReadableBytes { state.running.update($0) }
            state.next += bytes.readableBytes
        }
        guard offset + bytes.readableBytes == state.size, !state.isVerified else { return }
        // Read in some other order, for example by two sessions at once: go through all of it.
        let whole = state.next == state.size ? state.running : try runThrough(state.size)
        guard whole == state.checksum else { throw damaged("has another checksum than its record says") }
        state.isVerified = true
    }

    private func runThrough(_ size: Int) throws(QueueError) -> CRC32C {
        var crc = CRC32C()
        var position = 0
        while position < size {
            var bytes = ByteBuffer()
            let got = try fill(&bytes, min(Self.pieceSize, size - position), at: position)
            guard got > 0 else { throw damaged("is too short") }
            bytes.withUnsafeReadableBytes { crc.update($0) }
            position += got
        }
        return crc
    }

    private func damaged(_ text: String) -> QueueError {
        context.report(.damaged, "large/\(id).eml", text)
        // Without its body the record counts as damaged when it is read next, and the message leaves the queue.
        if setsAside, (try? context.disk.status(context.largePath(id), following: false)) != nil {
            _ = context.moveAside("large/\(id).eml", as: "\(id).eml")
        }
        return .damaged("large/\(id).eml \(text)")
    }
}
