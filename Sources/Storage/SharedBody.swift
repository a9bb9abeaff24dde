// SharedBody.swift — long bodies of a shared queue: a file without a name while they are received, pieces in the database behind.

import Database
import Files
import Mail
import NIOCore
import Synchronization

/// A body being received, in a file that has no name any more: whatever happens, nothing is left of it.
///
/// The database makes it durable, not the disk.
final class DraftBody: LargeBody {
    private struct State {
        var size = 0
        /// Bytes not yet handed to the system.
        var waiting: [UInt8] = []
    }

    private static let pieceSize = 256 << 10

    private let file: any OpenFile
    private let state = Mutex(State())

    init(_ path: String, disk: any Disk) throws(DiskError) {
        file = try disk.open(path, .create, permissions: 0o600)
        try disk.unlink(path)
    }

    var size: Int { state.withLock { $0.size } }

    func write(_ bytes: ByteBuffer) throws(QueueError) {
        try state.withLock { state throws(QueueError) in
            state.waiting.append(contentsOf: bytes.readableBytesView)
            state.size += bytes.readableBytes
            if state.waiting.count >= Self.pieceSize { try flush(&state) }
        }
    }

    func finish() throws(QueueError) { try state.withLock { state throws(QueueError) in try flush(&state) } }

    func discard() {}

    func read(at offset: Int, count: Int) throws(QueueError) -> ByteBuffer {
        let count = min(count, max(0, size - offset))
        do throws(DiskError) {
            return ByteBuffer(bytes: try file.read(count, at: offset))
        } catch {
            throw QueueError(error)
        }
    }

    private func flush(_ state: inout State) throws(QueueError) {
        guard !state.waiting.isEmpty else { return }
        do throws(DiskError) {
            try file.write(state.waiting, at: state.size - state.waiting.count)
        } catch {
            throw QueueError(error)
        }
        state.waiting = []
    }
}

/// A body that lies in the database, read piece by piece.
final class SharedBody: LargeBody {
    private let id: QueueID
    let size: Int
    private let pool: SharedPool
    /// The piece that was read last: readers go from front to back in smaller steps.
    private let last = Mutex<(number: Int, bytes: [UInt8])?>(nil)

    init(_ id: QueueID, size: Int, _ pool: SharedPool) {
        self.id = id
        self.size = size
        self.pool = pool
    }

    func write(_ bytes: ByteBuffer) throws(QueueError) { throw .broken("a stored body is not written to") }
    func finish() throws(QueueError) {}
    func discard() {}

    func read(at offset: Int, count: Int) throws(QueueError) -> ByteBuffer {
        var buffer = ByteBuffer()
        var place = offset
        let end = min(size, offset + count)
        while place < end {
            let bytes = try piece(place / SharedMail.piece)
            let start = place % SharedMail.piece
            let step = min(end - place, bytes.count - start)
            guard step > 0 else { throw .damaged("message \(id): a piece of the body is too short") }
            buffer.writeBytes(bytes[start..<start + step])
            place += step
        }
        return buffer
    }

    private func piece(_ number: Int) throws(QueueError) -> [UInt8] {
        if let last = last.withLock({ $0 }), last.number == number { return last.bytes }
        let found: [UInt8]? = try pool.use { connection throws(ServerError) in
            let rows = try connection.rows(
                "SELECT content FROM martlet.mail WHERE id = $1 AND piece = $2",
                [.number(Int64(bitPattern: id.rawValue)), .number(Int64(number + 1))]
            )
            return rows.count > 0 ? rows.bytes(0, 0) : nil
        }
        guard let found else { throw .damaged("message \(id): a piece of the body is missing") }
        last.withLock { $0 = (number, found) }
        return found
    }
}
