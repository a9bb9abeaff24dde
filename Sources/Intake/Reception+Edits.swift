// Reception+Edits.swift — what plugins want changed in a message: fields put in front or taken out, a hold, a tag; before it is
// signed.
//
// Guarantees: a message that nobody edits is not looked at; the text is never touched; a body in a file is written anew on a
// disk thread, under another name, because a file belongs to one message.

import Hooks
import Mail
import MessageFormat
import NIOCore
import NIOPosix
import Queue
import Storage

extension Reception {
    /// Changes the complete message, then goes on with it.
    func apply(_ edits: MessageEdits, to body: Content.Body, for owner: any ReceptionOwner) {
        guard let draft else { return }
        if let reason = edits.hold, pending?.hold == nil { pending?.hold = Hold(since: .now(), reason: reason) }
        var removed = edits.removed
        for field in edits.added { self.draft?.added += Array(field.lines.utf8) }
        if let tag = edits.tag, let name = rules.tagHeader, let lines = HeaderLine.make(name, tag) {
            self.draft?.added += Array(lines.utf8)
            pending?.envelope.notes.tag = tag
            removed.insert(name.lowercasedASCII)
        }
        switch body {
        case _ where removed.isEmpty:
            complete(body, for: owner)
            owner.receptionGoesOn(nil)
        case .memory(var bytes):
            let header = bytes.getBytes(at: bytes.readerIndex, length: draft.header.size) ?? []
            if let left = HeaderLine.without(removed, header) {
                bytes.replaceHeader(of: header.count, with: left)
                take(header: left, of: bytes)
                self.body = bytes
            }
            complete(.memory(bytes), for: owner)
            owner.receptionGoesOn(nil)
        case .file(let file): remove(removed, from: file, for: owner)
        }
    }

    /// The header that the message has now.
    private func take(header: [UInt8], of message: ByteBuffer) {
        var block = HeaderBlock(limit: rules.headerBytes)
        block.consume(message, from: 0)
        draft?.header = block
        draft?.signature?.header = header
    }

    private func remove(_ names: Set<String>, from file: any LargeBody, for owner: any ReceptionOwner) {
        guard let draft else { return }
        phase = .spilling
        let (id, size, queue, new) = (
            draft.id, draft.header.size, intake.queue, intake.queue.makeID(at: draft.startedAt)
        )
        let made = queue.disk.runIfActive(eventLoop: loop) {
            EditedBody.make(of: file, header: size, without: names, named: new, in: queue)
        }
        made.assumeIsolated().whenComplete { result in
            let edited = (try? result.get()) ?? EditedBody(error: .closing)
            self.removed(edited, from: file, id, new, for: owner)
        }
    }

    private func removed(
        _ edited: EditedBody,
        from file: any LargeBody,
        _ id: QueueID,
        _ new: QueueID,
        for owner: any ReceptionOwner
    ) {
        guard draft?.id == id else {
            // The message was forgotten meanwhile.
            phase = .idle
            let files = [file] + [edited.file].compactMap(\.self)
            intake.queue.disk.submit { _ in for file in files { file.discard() } }
            return owner.receptionGoesOn(nil)
        }
        phase = .receiving
        if let error = edited.error {
            report(error, id)
            discard()
            return owner.receptionEnded(.refused(Refusal(because: error)))
        }
        guard let changed = edited.file else {
            complete(.file(file), for: owner)
            return owner.receptionGoesOn(nil)
        }
        intake.queue.disk.submit { _ in file.discard() }
        draft?.id = new
        draft?.file = changed
        take(header: edited.header, of: edited.beginning)
        complete(.file(changed), for: owner)
        owner.receptionGoesOn(nil)
    }
}

/// A body with another header.
private struct EditedBody: Sendable {
    private static let piece = 1 << 20

    /// nil: nothing was to be taken out.
    var file: (any LargeBody)?
    var header: [UInt8] = []
    /// The header, and the line behind it.
    var beginning = ByteBuffer()
    var error: QueueError?

    /// Blocks.
    static func make(
        of file: any LargeBody,
        header size: Int,
        without names: Set<String>,
        named id: QueueID,
        in queue: MailQueue
    ) -> EditedBody {
        var edited = EditedBody()
        do throws(QueueError) {
            let old = try file.read(at: 0, count: size)
            guard let header = HeaderLine.without(names, Array(old.readableBytesView)) else { return edited }
            let new = try queue.makeLargeBody(id)
            edited.file = new
            edited.header = header
            edited.beginning = ByteBuffer(bytes: header)
            var line = try file.read(at: size, count: 1000)
            edited.beginning.writeBuffer(&line)
            try new.write(ByteBuffer(bytes: header))
            var offset = size
            while offset < file.size {
                let bytes = try file.read(at: offset, count: piece)
                try new.write(bytes)
                offset += bytes.readableBytes
            }
            try new.finish()
        } catch {
            edited.file?.discard()
            edited.file = nil
            edited.error = error
        }
        return edited
    }
}
