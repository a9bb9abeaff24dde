// SharedMail.swift — a message as rows: a head in the spool's coding, and its bytes in pieces. Pure.

import Database
import Mail
import NIOCore

/// How a message is cut into rows.
enum SharedMail {
    /// A message of at most so many bytes is one row: a `bytea` lies whole in memory on both sides.
    static let longestWhole = 1 << 20
    /// Bytes of a piece of a longer one.
    static let piece = 256 << 10

    /// Prologue and body stand in the first row together.
    static func isWhole(prologue: Int, body: Int) -> Bool { prologue + body <= longestWhole }

    /// Everything but prologue and body, as ``RecordHead`` reads it.
    static func head(of message: NewMessage) -> [UInt8] {
        var bytes: [UInt8] = []
        let plan = bytes.appendRecord(message, state: nil, bodyChecksum: 0)
        return Array(bytes[(plan.head.lowerBound + 24)..<plan.head.upperBound])
    }

    /// - Returns: nil for what does not make sense.
    static func head(decoding bytes: [UInt8]) -> RecordHead? {
        bytes.withUnsafeBytes { raw in
            var reader = StoredReader(raw)
            return try? RecordHead(decoding: &reader)
        }
    }

    /// The rows of `martlet.mail (id, piece, head, content)`.
    ///
    /// - Parameter connection: takes pieces as they come, so that no long message lies in memory twice.
    static func fill(
        _ message: NewMessage,
        _ rows: inout CopyRows,
        to connection: ServerConnection
    ) throws(ServerError) {
        let content = message.content
        let id = Int64(bitPattern: message.id.rawValue)
        let isWhole = isWhole(prologue: content.prologue.readableBytes, body: content.bodySize)
        rows.row(4)
        rows.add(id)
        rows.add(Int32(0))
        rows.add(head(of: message))
        content.prologue.withUnsafeReadableBytes { prologue in
            if isWhole, case .memory(let body) = content.body {
                body.withUnsafeReadableBytes { rows.add(prologue, $0) }
            } else if !isWhole {
                rows.add(prologue)
            }
        }
        if isWhole {
            if case .file(let file) = content.body {
                // A file is longer than that; one that is not is read whole.
                let body = try read(file, at: 0, count: content.bodySize)
                content.prologue.withUnsafeReadableBytes { prologue in body.withUnsafeBytes { rows.add(prologue, $0) } }
            }
            return
        }
        var place = 0
        var number: Int32 = 1
        while place < content.bodySize {
            let count = min(piece, content.bodySize - place)
            rows.row(4)
            rows.add(id)
            rows.add(number)
            rows.addNull()
            switch content.body {
            case .memory(let body):
                body.withUnsafeReadableBytes { rows.add(UnsafeRawBufferPointer(rebasing: $0[place..<place + count])) }
            case .file(let file): rows.add(try read(file, at: place, count: count))
            }
            place += count
            number += 1
            try connection.put(rows.take())
        }
    }

    private static func read(_ file: any LargeBody, at place: Int, count: Int) throws(ServerError) -> [UInt8] {
        do throws(QueueError) {
            let bytes = Array(try file.read(at: place, count: count).readableBytesView)
            guard bytes.count == count else { throw .broken("a body is shorter than it was") }
            return bytes
        } catch {
            throw ServerError(state: "", text: "\(error)")
        }
    }

    /// Puts a message together again.
    ///
    /// - Parameters:
    ///   - content: of the first row.
    ///   - rest: gives the body of one that is not whole.
    /// - Returns: nil when the parts do not fit.
    static func message(
        _ id: QueueID,
        _ head: RecordHead,
        content: [UInt8],
        rest: (_ size: Int) -> any LargeBody
    ) -> NewMessage? {
        let (prologue, body) = (head.head.prologueLength, head.head.bodyLength)
        let isWhole = isWhole(prologue: prologue, body: body)
        guard content.count == (isWhole ? prologue + body : prologue) else { return nil }
        let buffer = ByteBuffer(bytes: content)
        guard let front = buffer.getSlice(at: 0, length: prologue),
            let back = buffer.getSlice(at: prologue, length: isWhole ? body : 0)
        else { return nil }
        return NewMessage(
            id: id,
            acceptedAt: head.head.acceptedAt,
            envelope: head.envelope,
            content: Content(
                prologue: front,
                body: isWhole ? .memory(back) : .file(rest(body)),
                hasLeadingDots: head.head.flags & MessageHead.flagDots != 0,
                isEightBit: head.head.flags & MessageHead.flagEightBit != 0
            )
        )
    }
}
