// ServerHandler+Message.swift — from DATA to the 250: header looked at, body in memory or in a file, prologue, commit.
//
// Guarantees: memory does not grow with a message beyond `in_memory_bytes`, nor beyond the budget of all messages; while
// a block is written the socket is not read; every reserved byte is released, whatever ends the message.

import Config
import Hooks
import Log
import Mail
import MessageFormat
import NIOCore
import NIOPosix
import Queue
import SMTP
import Storage

extension ServerHandler {
    /// The machine is about to receive a message of at most so many octets.
    func beginMessage(_ octets: Int) {
        guard door.queue.hasRoom(for: octets) else {
            machine.begun(false, &output)
            return
        }
        let now = Timestamp.now()
        draft = Draft(id: door.queue.makeID(at: now), at: now, headerLimit: settings.headerBytes, dkim: newSignature())
        body = ByteBuffer()
        machine.begun(true, &output)
    }

    /// Some content arrived, and more is to come.
    func lookAtContent() {
        guard lookAtHeader(), let draft else { return }
        hashContent()
        if draft.isSpilling {
            if body.readableBytes >= Draft.spillBlock { spill() }
        } else if body.readableBytes > settings.inMemoryBytes || !reserve(body.readableBytes) {
            self.draft?.isSpilling = true
            spill()
        }
    }

    /// The message is complete.
    func commit() {
        guard lookAtHeader() else { return }
        guard let draft else {
            machine.refuseMessage(.storageFailed, &output)
            return
        }
        hashContent()
        if !draft.isSpilling, body.readableBytes <= settings.inMemoryBytes, reserve(body.readableBytes) {
            accept(.memory(body))
        } else {
            self.draft?.isSpilling = true
            spill(isLast: true)
        }
    }

    /// Forgets the message, if there is one: its memory is released, its file removed.
    func discardDraft() {
        guard let draft else { return }
        self.draft = nil
        body = ByteBuffer()
        door.queue.memory.release(draft.reserved)
        // While a disk thread works with the file, its completion finds the draft gone and removes the file.
        if let file = draft.file, !isDiskBusy { door.queue.disk.submit { _ in file.discard() } }
    }

    // MARK: Header

    /// Shows new content to the header scanner.
    ///
    /// - Returns: false when the message is refused for its header, which is told to the machine.
    private func lookAtHeader() -> Bool {
        guard let draft, !draft.header.hasEnded else { return true }
        self.draft?.header.consume(body, from: draft.scanned)
        self.draft?.scanned = body.readableBytes
        guard let header = self.draft?.header else { return true }
        if header.isTooLarge {
            refuse(.headerTooLarge)
            return false
        }
        if header.receivedCount > settings.receivedHeaders {
            refuse(.tooManyHops)
            return false
        }
        return true
    }

    func refuse(_ objection: ServerMachine.Objection) {
        discardDraft()
        if machine.isCommitting { machine.refuseMessage(objection, &output) } else { machine.object(objection) }
    }

    // MARK: Memory and file

    /// Sees to it that so many bytes are reserved for the message.
    private func reserve(_ bytes: Int) -> Bool {
        guard let draft, bytes > draft.reserved else { return true }
        guard door.queue.memory.reserve(bytes - draft.reserved) else { return false }
        self.draft?.reserved = bytes
        return true
    }

    /// Hands what is in memory to a disk thread; nothing is read until it is written.
    private func spill(isLast: Bool = false) {
        guard let context, let draft else { return }
        let (queue, id, file, block) = (door.queue, draft.id, draft.file, body)
        body = ByteBuffer()
        self.draft?.scanned = 0
        self.draft?.hashed = 0
        isDiskBusy = true
        let written = queue.disk.runIfActive(eventLoop: context.eventLoop) { () -> Spilled in
            Spilled.write(block, to: file, of: id, in: queue, isLast: isLast)
        }
        written.assumeIsolated().whenComplete { result in
            self.spilled((try? result.get()) ?? Spilled(file: nil, error: .closing), id, isLast: isLast)
        }
    }

    private func spilled(_ result: Spilled, _ id: QueueID, isLast: Bool) {
        isDiskBusy = false
        guard draft?.id == id else {
            // The message was forgotten meanwhile.
            if let file = result.file { door.queue.disk.submit { _ in file.discard() } }
            resume()
            return
        }
        draft?.file = result.file
        if let reserved = draft?.reserved, reserved > 0 {
            door.queue.memory.release(reserved)
            draft?.reserved = 0
        }
        if let error = result.error {
            report(error, id)
            refuse(Self.objection(error))
        } else if isLast, let file = result.file {
            accept(.file(file))
        }
        resume()
    }

    private static func objection(_ error: QueueError) -> ServerMachine.Objection {
        if case .full = error { .noRoom } else { .storageFailed }
    }

    // MARK: Commit

    private func accept(_ body: Content.Body) {
        guard let draft, var envelope = machine.takeEnvelope() else { return }
        envelope.notes.client = client
        if door.plugins.asks(.queueOutbound) {
            ask(about: envelope, of: draft, body)
        } else {
            store(draft, envelope, body)
        }
    }

    /// Completes the message, signs it where its domain has a key, and hands it to the queue.
    func store(_ draft: Draft, _ envelope: Envelope, _ body: Content.Body) {
        let prologue = prologue(draft, envelope)
        if let work = draft.dkim?.finish(prologue, coverage, at: draft.startedAt) {
            sign(work, body, envelope, prologue)
        } else {
            accept(body, envelope, prologue)
        }
    }

    /// Hands the complete message to the queue.
    func accept(_ body: Content.Body, _ envelope: Envelope, _ prologue: ByteBuffer) {
        guard let context, let draft else { return }
        let content = Content(
            prologue: prologue,
            body: body,
            hasLeadingDots: machine.hasLeadingDots,
            isEightBit: machine.isEightBit
        )
        // The queue releases exactly this; the prologue is ours and small, so the budget does not refuse it.
        door.queue.memory.force(content.residentBytes - draft.reserved)
        let message = NewMessage(id: draft.id, acceptedAt: draft.startedAt, envelope: envelope, content: content)
        self.draft = nil
        self.body = ByteBuffer()
        commitSerial &+= 1
        let serial = commitSerial
        let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
        let receipt = Receipt(message, client: clientLiteral, helo: machine.heloName, tls: protection)
        door.queue.accept(message, by: entrance, on: context.eventLoop) { error in
            handler.value.committed(error, receipt, serial)
        }
    }

    private func prologue(_ draft: Draft, _ envelope: Envelope) -> ByteBuffer {
        var prologue = ByteBufferAllocator().buffer(capacity: 512)
        let facts = TraceHeaders.Facts(
            id: draft.id,
            at: draft.startedAt,
            me: machine.me.name,
            helo: machine.heloName,
            clientLiteral: clientLiteral,
            with: TraceHeaders.Transport(
                isExtended: machine.hello == .ehlo,
                isUTF8: envelope.needsUTF8,
                isSecure: machine.isSecure,
                isAuthenticated: envelope.user != nil
            ),
            tls: protection,
            onlyRecipient: envelope.recipients.count == 1 ? envelope.recipients.first?.address : nil
        )
        trace.write(facts, header: draft.header, to: &prologue)
        return prologue
    }

    private func committed(_ error: QueueError?, _ receipt: Receipt, _ serial: Int) {
        if let error {
            report(error, receipt.id)
        } else {
            receipt.log(to: door.log)
        }
        guard serial == commitSerial else { return }
        switch error {
        case nil: machine.committed(.queued(receipt.id), &output)
        case .full: machine.committed(.noRoom, &output)
        case .closing: machine.committed(.closing, &output)
        case .broken, .damaged, .locked: machine.committed(.storageFailed, &output)
        }
        resume()
    }

    private func report(_ error: QueueError, _ id: QueueID) {
        guard error != .closing else { return }
        door.log.write(.error, "message not stored") { line in
            line.add(.id, id.description)
            line.add(.error, String(describing: error))
        }
    }
}

/// What the log says of an accepted message, kept while the disk syncs it.
struct Receipt: Sendable {
    let id: QueueID
    private let sender: ReversePath
    private let recipients: Int
    private let size: Int
    private let client: String
    private let helo: String
    private let user: String?
    private let tls: String?

    init(_ message: NewMessage, client: String, helo: String, tls: String? = nil) {
        id = message.id
        sender = message.envelope.sender
        recipients = message.envelope.recipients.count
        size = message.content.size
        self.client = client
        self.helo = helo
        user = message.envelope.user
        self.tls = tls
    }

    func log(to log: LogSink) {
        log.write(.notice, "message accepted") { line in
            line.add(.id, id.description)
            switch sender {
            case .null: line.add(.from, "")
            case .address(let address): line.add(.from, address.local, UInt8(ascii: "@"), address.domain.name)
            }
            line.add(.recipients, recipients)
            line.add(.size, size)
            line.add(.client, client)
            line.add(.helo, helo)
            if let user { line.add(.user, user) }
            if let tls { line.add(.tls, tls) }
        }
    }
}

/// What a disk thread did for a message.
private struct Spilled: Sendable {
    let file: (any LargeBody)?
    let error: QueueError?

    /// Blocks: appends a block, to a new file if there is none, and syncs the file when it is the last one.
    static func write(
        _ block: ByteBuffer,
        to file: (any LargeBody)?,
        of id: QueueID,
        in queue: MailQueue,
        isLast: Bool
    )
        -> Spilled
    {
        var open = file
        do throws(QueueError) {
            let file = if let file { file } else { try queue.makeLargeBody(id) }
            open = file
            if block.readableBytes > 0 { try file.write(block) }
            if isLast { try file.finish() }
            return Spilled(file: file, error: nil)
        } catch {
            return Spilled(file: open, error: error)
        }
    }
}
