// Reception.swift — one message at a time on its way in: its octets as they come, header looked at, body in memory or in
// a file; then plugins, our lines in front, signatures, the queue.
//
// Guarantees: memory does not grow with a message beyond `in_memory_bytes`, nor beyond the budget of all messages; while
// a disk thread works for it nothing more is to be handed in; every reserved byte is released and every file removed,
// whatever ends the message. It is bound to one event loop; one serves a session for as long as that lasts.

package import Config
import Hooks
import Log
package import Mail
package import MessageFormat
package import NIOCore
import NIOPosix
import Queue
package import SMTP
import Storage

/// Who hands messages in hears what becomes of them, on the event loop.
package protocol ReceptionOwner: AnyObject {
    /// A disk thread is done: more of the message may come, or, with a rejection, is not wanted.
    func receptionGoesOn(_ rejection: Rejection?)
    /// The answer to ``Reception/finish(_:_:_:for:)`` that came later.
    func receptionEnded(_ admission: Admission)
}

/// A message between its first octet and its answer.
package final class Reception {
    /// Where it stands.
    package enum Phase: Hashable, Sendable {
        /// There is no message. Next: receiving.
        case idle
        /// Octets are appended to ``Reception/body``. Next: spilling, screening, asking, signing, committing, idle.
        case receiving
        /// A disk thread writes a block of it. Next: receiving, or what follows the last block.
        case spilling
        /// Milters are asked about the complete message. Next: spilling, asking, signing, committing, idle.
        case screening
        /// Plugins are asked about the complete message. Next: signing, committing, idle.
        case asking
        /// A disk thread signs it. Next: committing, idle.
        case signing
        /// The queue has it, and the disk is awaited. Next: idle.
        case committing
    }

    package internal(set) var phase = Phase.idle
    /// Decoded content that is in memory.
    package var body = ByteBuffer()
    /// Those that the next message is received by.
    package var rules: IntakeRules { didSet { trace.comment = rules.comment } }
    /// Puts the headers of the next messages right; nil leaves them as they are.
    package var mender: HeaderMender?
    /// How the next messages come in, but for their login.
    package var way = WayIn(.inside)

    let intake: Intake
    let loop: any EventLoop
    var draft: Draft?
    var pending: Pending?
    /// Milters at work.
    var screening: Screening?
    /// Milters that are told of the session step by step; nil: none is.
    package var escort: Escort?
    /// Counts what is waited for, so that an answer that comes too late is known as such.
    var serial = 0
    private var trace: TraceHeaders
    /// Bytes reserved for the envelope of the session's transaction.
    private var envelopeBytes = 0

    package init(_ intake: Intake, _ rules: IntakeRules, on loop: any EventLoop) {
        self.intake = intake
        self.rules = rules
        self.loop = loop
        trace = TraceHeaders(comment: rules.comment)
    }

    /// A thread of the disk pool works for the message: nothing more can be used until it is done.
    package var isAtDisk: Bool { phase == .spilling || phase == .signing }

    /// Others are asked about the complete message: milters, or plugins.
    package var isAsking: Bool { phase == .asking || phase == .screening }

    // MARK: Envelope

    /// The envelope of the session's transaction takes so many bytes altogether from now on.
    ///
    /// - Returns: false when the memory for mail is used up.
    package func reserveEnvelope(_ bytes: Int) -> Bool {
        guard bytes <= envelopeBytes || intake.queue.memory.reserve(bytes - envelopeBytes) else { return false }
        if bytes < envelopeBytes { intake.queue.memory.release(envelopeBytes - bytes) }
        envelopeBytes = bytes
        return true
    }

    /// There is no transaction any more.
    package func releaseEnvelope() {
        guard envelopeBytes > 0 else { return }
        intake.queue.memory.release(envelopeBytes)
        envelopeBytes = 0
    }

    // MARK: Octets

    /// A message of at most so many octets begins.
    ///
    /// - Parameter login: who hands it in; nil for somebody who has not said so.
    /// - Returns: false when there is no room for it.
    package func begin(_ octets: Int, by login: Login? = nil) -> Bool {
        guard intake.queue.hasRoom(for: octets) else { return false }
        let now = Timestamp.now()
        let header = HeaderBlock(limit: rules.headerBytes, watching: rules.tagHeader)
        draft = Draft(id: intake.queue.makeID(at: now), at: now, header: header, dkim: rules.newSignature(by: login))
        prepareEditing(by: login)
        body = ByteBuffer()
        phase = .receiving
        return true
    }

    /// Looks at what was appended to ``body``, when more is to come.
    ///
    /// - Returns: why the message is refused; it is forgotten then.
    package func look(for owner: any ReceptionOwner) -> Rejection? {
        if let rejection = lookAtHeader() { return rejection }
        guard let draft else { return nil }
        // A header that somebody edits or reads is kept until it is complete; its length has a limit.
        if draft.awaitsHeader {
            guard !reserve(body.readableBytes) else { return nil }
            discard()
            return .noRoom
        }
        hashContent()
        if draft.isSpilling {
            if body.readableBytes >= Draft.spillBlock { spill(for: owner) }
        } else if body.readableBytes > rules.inMemoryBytes || !reserve(body.readableBytes) {
            self.draft?.isSpilling = true
            spill(for: owner)
        }
        return nil
    }

    /// The message is complete.
    ///
    /// - Returns: nil when the owner will be told.
    package func finish(
        _ envelope: Envelope,
        _ provenance: Provenance,
        _ traits: ContentTraits,
        for owner: any ReceptionOwner
    ) -> Refusal? {
        if let rejection = lookAtHeader() ?? editHeader() { return Refusal(rejection) }
        guard let draft else { return Refusal(.storageFailed) }
        hashContent()
        self.draft?.signature = draft.dkim?.complete()
        if draft.dkim?.isForeign == true {
            guard !rules.refusesForeignAuthors else {
                discard()
                return Refusal(.foreignAuthor)
            }
            noteForeignAuthor(draft.id, envelope)
        }
        self.draft?.mending.formUnion(provenance.client?.mending ?? [])
        let returned = rules.returned(envelope)
        pending = Pending(
            envelope: returned == nil ? redirected(rewritten(envelope)) : envelope,
            provenance: provenance,
            traits: traits
        )
        pending?.returned = returned
        if let tag = draft.tag { pending?.envelope.notes.tag = tag }
        if let refusal = suppressedByTag(provenance) ?? count(envelope, provenance) { return refusal }
        goOn(for: owner)
        return nil
    }

    /// A whole message, which was looked at already.
    func take(_ message: LookedAt, _ submission: Submission, passesPlugins: Bool, for owner: any ReceptionOwner) {
        draft = Draft(
            id: submission.id ?? intake.queue.makeID(at: submission.time),
            at: submission.time,
            header: message.header,
            signature: message.signature
        )
        draft?.mending = message.mending
        draft?.rewriter = rules.rewriter(for: submission)
        draft?.glance = message.glance
        way = submission.way
        pending = Pending(
            envelope: redirected(rewritten(localised(submission.envelope, from: submission.provenance))),
            provenance: submission.provenance,
            traits: message.traits,
            hold: submission.hold,
            tray: submission.tray,
            passesPlugins: passesPlugins
        )
        pending?.returned = rules.returned(submission.envelope)
        if let tag = message.tag { pending?.envelope.notes.tag = tag }
        phase = .receiving
        switch message.body {
        case .memory(let bytes): body = bytes
        case .file(let file): draft?.file = file
        }
        if let refusal = suppressedByTag(submission.provenance) ?? count(submission.envelope, submission.provenance) {
            return owner.receptionEnded(.refused(refusal))
        }
        switch message.body {
        case .memory: goOn(for: owner)
        case .file:
            draft?.isSpilling = true
            screen(message.body, for: owner)
        }
    }

    /// The message is complete: what is left of it goes to its file, or it stays in memory.
    private func goOn(for owner: any ReceptionOwner) {
        guard let draft else { return }
        if !draft.isSpilling, body.readableBytes * (copies + (rules.archive.isEmpty ? 0 : 1)) <= rules.inMemoryBytes,
            reserve(body.readableBytes)
        {
            screen(.memory(body), for: owner)
        } else {
            self.draft?.isSpilling = true
            spill(isLast: true, for: owner)
        }
    }

    /// Forgets the message, if there is one: its memory is released, its file removed.
    ///
    /// One that the queue has already stays there.
    package func discard() {
        guard let draft else { return }
        self.draft = nil
        pending = nil
        screening?.cancel()
        screening = nil
        body = ByteBuffer()
        intake.queue.memory.release(draft.reserved)
        // While a disk thread works with the file, its completion finds the draft gone and removes the file.
        guard !isAtDisk else { return }
        phase = .idle
        if let file = draft.file { intake.queue.disk.submit { _ in file.discard() } }
    }

    /// Waits no longer for an answer of plugins or of the queue.
    package func abandon() {
        serial &+= 1
        discard()
        if !isAtDisk { phase = .idle }
    }

    // MARK: Header

    /// Shows new content to the header scanner.
    private func lookAtHeader() -> Rejection? {
        guard let draft, !draft.header.hasEnded else { return nil }
        self.draft?.header.consume(body, from: draft.scanned)
        self.draft?.scanned = body.readableBytes
        noteTag()
        guard let rejection = self.draft.flatMap({ rules.rejection(of: $0.header) }) else {
            return self.draft?.header.hasEnded == true ? editHeader() : nil
        }
        discard()
        return rejection
    }

    // MARK: Memory and file

    /// Sees to it that so many bytes are reserved for the message.
    private func reserve(_ bytes: Int) -> Bool {
        guard let draft, bytes > draft.reserved else { return true }
        guard intake.queue.memory.reserve(bytes - draft.reserved) else { return false }
        self.draft?.reserved = bytes
        return true
    }

    /// Hands what is in memory to a disk thread; nothing is to come until it is written.
    private func spill(isLast: Bool = false, for owner: any ReceptionOwner) {
        guard let draft else { return }
        let (queue, id, file, block) = (intake.queue, draft.id, draft.file, body)
        body = ByteBuffer()
        self.draft?.scanned = 0
        self.draft?.hashed = 0
        phase = .spilling
        let written = queue.disk.runIfActive(eventLoop: loop) { () -> Spilled in
            Spilled.write(block, to: file, of: id, in: queue, isLast: isLast)
        }
        written.assumeIsolated().whenComplete { result in
            self.spilled((try? result.get()) ?? Spilled(file: nil, error: .closing), id, isLast: isLast, for: owner)
        }
    }

    private func spilled(_ result: Spilled, _ id: QueueID, isLast: Bool, for owner: any ReceptionOwner) {
        guard draft?.id == id else {
            // The message was forgotten meanwhile.
            phase = .idle
            if let file = result.file { intake.queue.disk.submit { _ in file.discard() } }
            return owner.receptionGoesOn(nil)
        }
        phase = .receiving
        draft?.file = result.file
        if let reserved = draft?.reserved, reserved > 0 {
            intake.queue.memory.release(reserved)
            draft?.reserved = 0
        }
        if let error = result.error {
            giveBack(draft?.use)
            report(error, id)
            let isComplete = pending != nil
            discard()
            let refusal = Refusal(because: error)
            isComplete ? owner.receptionEnded(.refused(refusal)) : owner.receptionGoesOn(refusal.reason)
        } else if isLast, let file = result.file {
            screen(.file(file), for: owner)
            owner.receptionGoesOn(nil)
        } else {
            owner.receptionGoesOn(nil)
        }
    }

    // MARK: Commit

    /// Completes the message, signs it where its domain has a key, and hands it to the queue.
    func complete(_ body: Content.Body, for owner: any ReceptionOwner) {
        guard stage(for: owner), let draft, let pending else { return }
        let prologue = prologue(draft, pending)
        if let work = draft.signature {
            sign(work, body, prologue, for: owner)
        } else {
            admit(body, prologue, for: owner)
        }
    }

    /// Holds the message back where that was asked for, and hands it to the queue.
    func admit(_ body: Content.Body, _ prologue: ByteBuffer, for owner: any ReceptionOwner) {
        nameParts()
        guard let draft, let hold = pending?.hold else { return accept(body, prologue, for: owner) }
        phase = .spilling
        let (id, ids) = (draft.id, [draft.id] + draft.others)
        let written: EventLoopFuture<QueueError?> = intake.queue.disk.runIfActive(eventLoop: loop) { [intake] in
            do throws(QueueError) { try intake.queue.hold(arriving: ids, hold) } catch { return error }
            return nil
        }
        written.assumeIsolated().whenComplete { result in
            self.phase = .receiving
            guard let error = Self.trouble(result) else {
                return self.accept(body, prologue, for: owner)
            }
            self.giveBack(self.draft?.use)
            self.report(error, id)
            self.discard()
            owner.receptionEnded(.refused(Refusal(because: error)))
        }
    }

    static func trouble(_ result: Result<QueueError?, any Error>) -> QueueError? {
        do { return try result.get() } catch { return .closing }
    }

    /// Hands the complete message to the queue.
    private func accept(_ body: Content.Body, _ prologue: ByteBuffer, for owner: any ReceptionOwner) {
        guard let draft, let pending else { return }
        let copy: ArchiveCopy?
        do throws(QueueError) {
            copy = try archiveCopy(prologue)
        } catch {
            giveBack(draft.use)
            report(error, draft.id)
            discard()
            return owner.receptionEnded(.refused(Refusal(because: error)))
        }
        if copy != nil || rules.splits && pending.envelope.recipients.count > 1 {
            return acceptTogether(body, prologue, copy, for: owner)
        }
        let content = pending.content(prologue, body)
        let message = NewMessage(
            id: draft.id,
            acceptedAt: draft.startedAt,
            envelope: pending.envelope,
            content: content
        )
        let tray = pending.tray
        let serial = commits(message.residentBytes, of: draft)
        let bound = NIOLoopBound((self, owner), eventLoop: loop)
        let acceptance = Acceptance(message, pending.provenance, draft.mending, use: draft.use, seat: draft.seat)
        intake.queue.accept(message, by: pending.provenance.entrance, on: loop, into: tray) { error in
            let (reception, owner) = bound.value
            reception.committed(error, acceptance, serial, for: owner)
        }
    }

    /// The queue gets what takes so many bytes of memory; there is no draft any more.
    ///
    /// - Returns: what the answer is known by.
    func commits(_ residentBytes: Int, of draft: Draft) -> Int {
        // The queue releases exactly this; what was not reserved is ours and small, so the budget does not refuse it.
        intake.queue.memory.force(residentBytes - draft.reserved - envelopeBytes)
        envelopeBytes = 0
        self.draft = nil
        pending = nil
        body = ByteBuffer()
        phase = .committing
        serial &+= 1
        return serial
    }

    private func committed(
        _ error: QueueError?,
        _ acceptance: Acceptance,
        _ serial: Int,
        for owner: any ReceptionOwner
    ) {
        acceptance.seat?.leave()
        if let error {
            giveBack(acceptance.use)
            report(error, acceptance.id)
        } else {
            acceptance.log(to: intake.log)
            IntakeMetrics.count(acceptance.mending)
        }
        guard serial == self.serial else { return }
        phase = .idle
        owner.receptionEnded(error.map { .refused(Refusal(because: $0)) } ?? .queued(acceptance.id))
    }

    private func prologue(_ draft: Draft, _ pending: Pending) -> ByteBuffer {
        var prologue = ByteBufferAllocator().buffer(capacity: 512)
        let (envelope, client) = (pending.envelope, pending.provenance.client)
        let facts = TraceHeaders.Facts(
            id: draft.id,
            at: draft.startedAt,
            me: rules.me.name,
            helo: client?.helo,
            clientLiteral: client?.literal ?? "",
            with: client?.with ?? TraceHeaders.Transport(),
            tls: client?.tls,
            onlyRecipient: envelope.recipients.count == 1 ? envelope.recipients.first?.address : nil,
            added: draft.added
        )
        trace.write(facts, header: draft.header, to: &prologue)
        return prologue
    }

    func report(_ error: QueueError, _ id: QueueID) {
        guard error != .closing else { return }
        intake.log.write(.error, "message not stored") { line in
            line.add(.id, id.description)
            line.add(.error, String(describing: error))
        }
    }
}

extension IntakeRules {
    /// What speaks against a header, as far as it is known.
    func rejection(of header: HeaderBlock) -> Rejection? {
        if header.isTooLarge { return .headerTooLarge }
        return header.receivedCount > receivedHeaders ? .tooManyHops : nil
    }
}
