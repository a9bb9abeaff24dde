// Reception+Filters.swift — milters: asked about the complete message, one after the other, before plugins and before our own
// signatures.
//
// Only where `milters.ini` names some that the message concerns; otherwise nothing is made for them. Those that went along with the
// session (``Escort``) are told the rest; the others the whole conversation, from the client's connection to the message's end: what
// they say of client, HELO, MAIL or RCPT is answered at its end. A recipient that one does not want then is reported to the sender
// before the others' mail is taken.

import Config
import Filters
import Log
import Loop
package import Mail
import MessageFormat
import Milter
import NIOCore
import NIOPosix
import Queue
import SMTP
package import Storage

extension Reception {
    /// Asks milters about the complete message, then plugins.
    func screen(_ body: Content.Body, for owner: any ReceptionOwner) {
        if let returned = pending?.returned { return read(returned, body, for: owner) }
        guard rules.hasMilters, let draft, let pending, let filters = intake.filters,
            let way = MilterSettings.Way(pending.provenance.entrance)
        else { return ask(body, for: owner) }
        let client = pending.provenance.client.map { ($0.address, $0.here, rules.listeners.everywhere) }
        let desks = filters.desks { $0.concerns(pending.envelope, by: way, from: client) }
        guard !desks.isEmpty else { return ask(body, for: owner) }
        phase = .screening
        serial &+= 1
        let screening = Screening(
            ScreenedMail(draft, pending, body, rules),
            desks,
            escort,
            disk: intake.queue.disk,
            queue: intake.queue,
            on: loop
        )
        self.screening = screening
        screening.start { [serial] end in self.screened(end, body, serial, for: owner) }
    }

    private func screened(_ end: Screening.End, _ body: Content.Body, _ serial: Int, for owner: any ReceptionOwner) {
        // The client is gone, or the session has ended for another reason: so has the draft.
        guard phase == .screening, serial == self.serial, let draft else {
            if case .passed(let result) = end { result.text?.discard(intake.queue) }
            return
        }
        screening = nil
        let id = draft.id
        switch end {
        case .discarded(let milter):
            note("message discarded by a milter", id, milter, nil)
            discard()
            owner.receptionEnded(.taken(id))
        case .refused(let milter, let reply):
            note("message rejected by a milter", id, milter, reply)
            discard()
            owner.receptionEnded(.refused(Refusal(byMilter: reply)))
        case .failed(let error):
            report(error, id)
            discard()
            owner.receptionEnded(.refused(Refusal(because: error)))
        case .passed(let result): passed(result, body, for: owner)
        }
    }

    private func note(_ message: StaticString, _ id: QueueID, _ milter: String, _ reply: Reply?) {
        guard let pending else { return }
        intake.log.write(.notice, message) { line in
            line.add(.id, id.description)
            line.add(.milter, milter)
            line.add(.from, pending.envelope.sender.description)
            line.add(.recipients, pending.envelope.recipients.count)
            if let client = pending.provenance.client { line.add(.client, client.literal) }
            if let reply { line.add(.reply, reply.description) }
        }
    }

    /// All milters let it pass: recipients that they do not want are told of, then it goes on.
    private func passed(_ result: Screening.Passed, _ body: Content.Body, for owner: any ReceptionOwner) {
        guard let draft, let pending else { return }
        if let reason = result.hold { self.pending?.hold = Hold(since: .now(), reason: reason) }
        guard !result.refused.isEmpty else { return take(result, body, for: owner) }
        for refused in result.refused {
            intake.log.write(.notice, "recipient rejected by a milter") { line in
                line.add(.id, draft.id.description)
                line.add(.milter, refused.milter)
                line.add(.to, "\(refused.recipient.address)")
                line.add(.reply, refused.reply.description)
            }
        }
        // Nobody can be told later, or whoever hands it in waits for an answer anyway.
        if pending.provenance.client == nil || pending.envelope.sender == .null, let first = result.refused.first {
            result.text?.discard(intake.queue)
            discard()
            return owner.receptionEnded(.refused(Refusal(byMilter: first.named)))
        }
        let told = pending.envelope
        let content = Content(prologue: ByteBuffer(), body: body, hasLeadingDots: false, isEightBit: false)
        let (reports, time, serial) = (intake.refusals, draft.startedAt, serial)
        let report = RefusedRecipients(
            id: draft.id,
            at: time,
            envelope: told,
            content: content,
            refused: result.refused
        )
        loop.makeFutureWithTask { await reports.write(report) }.assumeIsolated().whenComplete { outcome in
            guard self.phase == .screening, serial == self.serial else {
                result.text?.discard(self.intake.queue)
                return
            }
            guard (try? outcome.get()) == true else {
                result.text?.discard(self.intake.queue)
                self.discard()
                return owner.receptionEnded(.refused(Refusal(.storageFailed)))
            }
            self.take(result, body, for: owner)
            owner.receptionGoesOn(nil)
        }
    }

    /// Goes on with what milters have made of the message.
    private func take(_ result: Screening.Passed, _ body: Content.Body, for owner: any ReceptionOwner) {
        pending?.envelope = result.envelope
        guard result.isChanged, let draft else {
            ask(body, for: owner)
            return owner.receptionGoesOn(nil)
        }
        let assembly = Assembly(
            id: draft.id,
            header: result.header,
            needsGap: result.needsGap,
            text: result.text,
            old: body,
            oldText: result.oldText,
            inMemory: rules.inMemoryBytes / max(1, copies)
        )
        // From here on the old file is the disk thread's.
        self.draft?.file = nil
        phase = .spilling
        let (rules, queue, id) = (rules, intake.queue, draft.id)
        let login = draft.login
        let made = queue.disk.runIfActive(eventLoop: loop) { () -> Result<LookedAt, Refusal> in
            let body: Content.Body
            do throws(QueueError) { body = try assembly.make(queue) } catch { return .failure(Refusal(because: error)) }
            let looked: Result<LookedAt, Refusal> =
                switch body {
                case .memory(let bytes): LookedAt.make(bytes, rules, by: login)
                case .file(let file): LookedAt.make(file, rules, by: login)
                }
            if case .failure = looked, case .file(let file) = body { file.discard() }
            return looked
        }
        made.assumeIsolated().whenComplete { outcome in
            self.taken((try? outcome.get()) ?? .failure(Refusal(.closing)), id, for: owner)
        }
    }

    private func taken(_ result: Result<LookedAt, Refusal>, _ id: QueueID, for owner: any ReceptionOwner) {
        guard draft?.id == id else {
            // The message was forgotten meanwhile.
            phase = .idle
            if case .success(let looked) = result, case .file(let file) = looked.body {
                intake.queue.disk.submit { _ in file.discard() }
            }
            return owner.receptionGoesOn(nil)
        }
        phase = .receiving
        switch result {
        case .failure(let refusal):
            discard()
            owner.receptionEnded(.refused(refusal))
        case .success(let looked):
            draft?.header = looked.header
            draft?.signature = looked.signature
            pending?.traits = looked.traits
            if looked.traits.isEightBit { pending?.envelope.isEightBit = true }
            switch looked.body {
            case .memory(let bytes):
                body = bytes
                let reserved = draft?.reserved ?? 0
                intake.queue.memory.force(max(0, bytes.readableBytes - reserved))
                draft?.reserved = max(reserved, bytes.readableBytes)
            case .file(let file):
                draft?.file = file
                draft?.isSpilling = true
                body = ByteBuffer()
                if let reserved = draft?.reserved, reserved > 0 {
                    intake.queue.memory.release(reserved)
                    draft?.reserved = 0
                }
            }
            ask(looked.body, for: owner)
            owner.receptionGoesOn(nil)
        }
    }
}

extension MilterSettings.Way {
    /// - Returns: nil for what the relay makes itself: reports, and mail of plugins.
    init?(_ entrance: Entrance) {
        switch entrance {
        case .smtp: self = .smtp
        case .smtps: self = .smtps
        case .api: self = .api
        case .inside: return nil
        }
    }
}

/// Recipients that a milter does not want, of a message whose other recipients get it.
package struct RefusedRecipients: Sendable {
    package let id: QueueID
    package let at: Timestamp
    package let envelope: Envelope
    package let content: Content
    let refused: [Screening.Refused]

    /// Positions in the envelope, with what is said of them; those whose sender wants no report are left out.
    package var entries: [(index: UInt32, reply: Reply)] {
        refused.compactMap { refused in
            guard refused.recipient.wantsFailureReport,
                let index = envelope.recipients.firstIndex(where: { $0.address == refused.recipient.address })
            else { return nil }
            return (UInt32(index), refused.reply)
        }
    }
}

/// Who writes reports about recipients that were refused; the wiring knows.
package final class RefusalReports: Sendable {
    /// Writes a report; whether it is on disk, or nobody wants one.
    package typealias Writer = @Sendable (RefusedRecipients) async -> Bool

    private let writer = InForce<Writer?>(nil)

    package init() {}

    /// From now on.
    package func use(_ writer: @escaping Writer) { _ = self.writer.replace(with: writer) }

    /// - Returns: whether the report is on disk, or nobody wants one.
    func write(_ report: RefusedRecipients) async -> Bool { await writer.current?(report) ?? false }
}
