// OtherText.swift — the text that a milter puts in a message's place: in memory while it is short, then in a file of its own; and
// the message that is made of it.

import Glibc
import Mail
import MessageFormat
import NIOCore
import NIOPosix
import Queue
import Storage

/// A text while it comes, bound to one event loop; it is handed to a disk thread when it is complete.
final class OtherText: @unchecked Sendable {
    // Whoever holds it changes hands, and never has two at a time: the loop until the message is complete, a disk thread behind.

    /// Octets that are gathered before they are written.
    private static let block = 128 << 10

    private(set) var size = 0
    private var waiting = ByteBuffer()
    private var isMidLine = false
    var file: (any LargeBody)?
    /// A disk thread has it.
    var isAtDisk = false

    /// Appends octets; lines end with CRLF whatever ended them, and no NUL stays, as in every message.
    ///
    /// - Returns: whether so many wait that they are to be written.
    func append(_ octets: ByteBuffer) -> Bool {
        let before = waiting.readableBytes
        waiting.reserveCapacity(before + octets.readableBytes + 2)
        octets.withUnsafeReadableBytes { bytes in
            var start = 0
            while start < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[start...])
                let feed = rest.baseAddress.flatMap { memchr($0, 0x0A, rest.count) }.map { UnsafeRawPointer($0) }
                let length = if let feed, let base = rest.baseAddress { feed - base } else { rest.count }
                append(line: UnsafeRawBufferPointer(rebasing: rest[..<length]), isWhole: feed != nil)
                start += length + 1
            }
        }
        size += waiting.readableBytes - before
        return waiting.readableBytes >= Self.block
    }

    /// Appends a line, or a piece of one, without its CR.
    private func append(line: UnsafeRawBufferPointer, isWhole: Bool) {
        var line = line
        if line.last == 0x0D { line = UnsafeRawBufferPointer(rebasing: line.dropLast()) }
        let isClean =
            line.baseAddress.map { memchr($0, 0x0D, line.count) == nil && memchr($0, 0x00, line.count) == nil } ?? true
        if isClean { waiting.writeBytes(line) } else { waiting.writeBytes(line.filter { $0 != 0x0D && $0 != 0x00 }) }
        if isWhole { waiting.writeStaticString("\r\n") }
        isMidLine = isWhole ? false : isMidLine || !line.isEmpty
    }

    /// There is no more of it: its last line has an end.
    func complete() {
        guard isMidLine else { return }
        isMidLine = false
        waiting.writeStaticString("\r\n")
        size += 2
    }

    func takeWaiting() -> ByteBuffer {
        defer { waiting = ByteBuffer() }
        return waiting
    }

    /// All of it, where none of it is in a file.
    var inMemory: ByteBuffer? { file == nil ? waiting : nil }

    /// Removes its file; one that a disk thread has is removed when it comes back.
    func discard(_ queue: MailQueue) {
        guard let file, !isAtDisk else { return }
        self.file = nil
        queue.disk.submit { _ in file.discard() }
    }
}

/// A message that is put together again.
struct Assembly: Sendable {
    /// Octets that are copied at once.
    private static let piece = 256 << 10

    let id: QueueID
    let header: [UInt8]
    let needsGap: Bool
    /// In place of the old one; nil: the old one stays.
    let text: OtherText?
    let old: Content.Body
    /// Where the old text begins, its empty line included.
    let oldText: Int
    /// Octets that may stay in memory.
    let inMemory: Int

    /// Makes the message; the files of old and other text are gone then.
    ///
    /// Blocks.
    func make(_ queue: MailQueue) throws(QueueError) -> Content.Body {
        // A file that has no name any more can still be read.
        if case .file(let file) = old { file.discard() }
        defer { text?.file?.discard() }
        var head = ByteBuffer(bytes: header)
        if needsGap { head.writeStaticString("\r\n") }
        let rest: Content.Body = text.map { text in text.file.map { .file($0) } ?? .memory(text.takeWaiting()) } ?? old
        let start = text == nil ? oldText : 0
        if head.readableBytes + rest.size - start <= inMemory {
            try copy(rest, from: start) { (piece) throws(QueueError) in head.writeImmutableBuffer(piece) }
            return .memory(head)
        }
        let file = try queue.makeLargeBody(id)
        do throws(QueueError) {
            try file.write(head)
            try copy(rest, from: start) { (piece) throws(QueueError) in try file.write(piece) }
            try file.finish()
        } catch {
            file.discard()
            throw error
        }
        return .file(file)
    }

    private func copy(
        _ body: Content.Body,
        from start: Int,
        _ take: (ByteBuffer) throws(QueueError) -> Void
    ) throws(QueueError) {
        switch body {
        case .memory(let bytes):
            if let rest = bytes.getSlice(at: bytes.readerIndex + start, length: bytes.readableBytes - start) {
                try take(rest)
            }
        case .file(let file):
            var offset = start
            while offset < file.size {
                let piece = try file.read(at: offset, count: Self.piece)
                guard piece.readableBytes > 0 else { throw .broken("the message cannot be read") }
                try take(piece)
                offset += piece.readableBytes
            }
        }
    }
}
