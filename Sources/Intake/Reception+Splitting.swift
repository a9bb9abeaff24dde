// Reception+Splitting.swift — `always_split`: one message for each recipient, each with an id of its own, so that every rule
// for a message (listing, hold, retry, remove, report) is one for a recipient.
//
// Guarantees: they are accepted together or not at all, and nobody hears 250 before all of them are synced. A crash before
// may leave some of them, as it may leave a single message whose 250 was not said: the client sends again. What stands in
// memory is shared; a body in a file is written again for each, because a file belongs to one message.

import Mail
import NIOCore
import NIOPosix
import Queue
import Storage

extension Reception {
    /// Messages that the one being received becomes.
    var copies: Int { rules.splits ? max(1, pending?.envelope.recipients.count ?? 1) : 1 }

    /// Gives further messages their names, where each recipient gets one.
    func nameParts() {
        guard copies > 1, let draft, let pending else { return }
        let count = pending.envelope.apart.count
        self.draft?.others = (1..<count).map { _ in intake.queue.makeID(at: draft.startedAt) }
    }

    /// Hands the queue a message for each recipient, or the one for all of them, and the archive's copy with it.
    func acceptTogether(
        _ body: Content.Body,
        _ prologue: ByteBuffer,
        _ copy: ArchiveCopy?,
        for owner: any ReceptionOwner
    ) {
        guard let draft, let pending else { return }
        let ids = [draft.id] + draft.others
        let envelopes = rules.splits ? pending.envelope.apart : [pending.envelope]
        guard case .file(let file) = body, ids.count > 1 || copy != nil else {
            let content = pending.content(prologue, body)
            let messages = zip(ids, envelopes).map {
                NewMessage(id: $0, acceptedAt: draft.startedAt, envelope: $1, content: content)
            }
            return accept(messages, copy?.message(of: body), for: owner)
        }
        phase = .spilling
        let (id, others, queue) = (draft.id, draft.others, intake.queue)
        let copied = queue.disk.runIfActive(eventLoop: loop) {
            BodyCopies.make(of: file, for: others, copy, in: queue)
        }
        copied.assumeIsolated().whenComplete { result in
            let copies = (try? result.get()) ?? BodyCopies(files: [], error: .closing)
            self.copied(copies, id, file, envelopes, prologue, copy, for: owner)
        }
    }

    private func copied(
        _ copies: BodyCopies,
        _ id: QueueID,
        _ file: any LargeBody,
        _ envelopes: [Envelope],
        _ prologue: ByteBuffer,
        _ copy: ArchiveCopy?,
        for owner: any ReceptionOwner
    ) {
        let isForgotten = draft?.id != id
        guard !isForgotten, copies.error == nil, let draft, let pending else {
            let files = copies.files + [copies.archived].compactMap(\.self) + (isForgotten ? [file] : [])
            intake.queue.disk.submit { _ in for file in files { file.discard() } }
            guard !isForgotten, let error = copies.error else {
                // The message was forgotten meanwhile.
                phase = .idle
                return owner.receptionGoesOn(nil)
            }
            phase = .receiving
            giveBack(draft?.use)
            report(error, id)
            discard()
            return owner.receptionEnded(.refused(Refusal(because: error)))
        }
        phase = .receiving
        let messages = zip(zip([draft.id] + draft.others, envelopes), [file] + copies.files).map { part, file in
            NewMessage(
                id: part.0,
                acceptedAt: draft.startedAt,
                envelope: part.1,
                content: pending.content(prologue, .file(file))
            )
        }
        if let copy, let error = copies.archiveError { miss(copy, because: error) }
        accept(messages, copies.archived.flatMap { copy?.message(of: .file($0)) }, for: owner)
        owner.receptionGoesOn(nil)
    }

    /// The copy goes first, and the others when it is synced: where a crash before the answer leaves one of them alone, it is
    /// the copy, and no mail ever leaves without one.
    private func accept(_ messages: [NewMessage], _ copy: NewMessage?, for owner: any ReceptionOwner) {
        guard let draft, let pending else { return }
        let all = [copy].compactMap(\.self) + messages
        let serial = commits(all.reduce(0) { $0 + $1.residentBytes }, of: draft)
        let bound = NIOLoopBound((self, owner), eventLoop: loop)
        let first = messages.count > 1 ? draft.id : nil
        let ofCopy = copy.map { Acceptance($0, Provenance(.inside), Mending(), copyOf: draft.id) }
        var acceptances =
            messages.map { Acceptance($0, pending.provenance, draft.mending, partOf: first) }
            + [ofCopy].compactMap(\.self)
        // They were counted as one.
        if !messages.isEmpty { (acceptances[0].use, acceptances[0].seat) = (draft.use, draft.seat) }
        let (parts, others, hasCopy) = (acceptances, draft.others, copy != nil)
        intake.queue.accept(all, firstLeads: hasCopy, by: pending.provenance.entrance, on: loop, into: pending.tray) {
            error in
            if error == nil, hasCopy { IntakeMetrics.count(.made) }
            let (reception, owner) = bound.value
            reception.committed(error, parts, others, serial, for: owner)
        }
    }

    private func committed(
        _ error: QueueError?,
        _ acceptances: [Acceptance],
        _ others: [QueueID],
        _ serial: Int,
        for owner: any ReceptionOwner
    ) {
        guard let first = acceptances.first else { return }
        first.seat?.leave()
        if let error {
            giveBack(first.use)
            report(error, first.id)
        } else {
            for acceptance in acceptances { acceptance.log(to: intake.log) }
            IntakeMetrics.count(first.mending)
        }
        guard serial == self.serial else { return }
        phase = .idle
        owner.receptionEnded(error.map { .refused(Refusal(because: $0)) } ?? .queued(first.id, others: others))
    }
}

/// The body of a message once more for each of its further recipients.
private struct BodyCopies: Sendable {
    var files: [any LargeBody]
    /// The archive's.
    var archived: (any LargeBody)?
    /// Of all of them.
    var error: QueueError?
    /// Of the archive's alone, which a message may be taken without.
    var archiveError: QueueError?

    private static let piece = 1 << 20

    /// Blocks.
    static func make(
        of file: any LargeBody,
        for ids: [QueueID],
        _ archive: ArchiveCopy?,
        in queue: MailQueue
    ) -> BodyCopies {
        var made = BodyCopies(files: [])
        let count = ids.count + (archive?.isRequired == true ? 1 : 0)
        guard count == 0 || queue.hasRoom(for: file.size * count) else {
            made.error = .full("no room for a body of \(file.size) bytes for each of \(count) more messages")
            return made
        }
        do throws(QueueError) {
            for id in ids { made.files.append(try copy(file, for: id, in: queue)) }
        } catch {
            made.error = error
        }
        guard made.error == nil, let archive else { return made }
        do throws(QueueError) {
            made.archived = try copy(file, for: archive.id, ending: archive.ending, in: queue)
        } catch {
            if archive.isRequired { made.error = error } else { made.archiveError = error }
        }
        return made
    }

    private static func copy(
        _ file: any LargeBody,
        for id: QueueID,
        ending: [UInt8] = [],
        in queue: MailQueue
    ) throws(QueueError) -> any LargeBody {
        let copy = try queue.makeLargeBody(id)
        do throws(QueueError) {
            var offset = 0
            while offset < file.size {
                let bytes = try file.read(at: offset, count: piece)
                try copy.write(bytes)
                offset += bytes.readableBytes
            }
            if !ending.isEmpty { try copy.write(ByteBuffer(bytes: ending)) }
            try copy.finish()
        } catch {
            copy.discard()
            throw error
        }
        return copy
    }
}

extension Envelope {
    /// One envelope for each recipient; an address that is given several times gets one.
    fileprivate var apart: [Envelope] {
        var seen: Set<EmailAddress> = []
        return recipients.filter { seen.insert($0.address).inserted }.map { recipient in
            var envelope = self
            envelope.recipients = [recipient]
            return envelope
        }
    }
}
