// Reception+Returned.swift — a message to an address of `[bounces]`: read, told to the history, and kept nowhere.
//
// It is answered with 250 when its event is on the disk, or with a refusal that says what is taken there; its memory and its file are
// given back in either case. A report that is sent again, because its 250 was lost or by two hosts, is one event.

import Config
import History
import Log
import Mail
import MessageFormat
import NIOCore
import NIOPosix
import Queue
import SMTP
import Storage

extension Reception {
    /// Octets that are read of a file at once.
    private static let piece = 256 << 10

    /// Reads the complete message.
    func read(_ returned: ReturnedMail, _ body: Content.Body, for owner: any ReceptionOwner) {
        guard returned != .crowd else { return end(.failure(.noReport), returned, for: owner) }
        switch body {
        case .memory(let bytes): end(Self.report(bytes), returned, for: owner)
        case .file(let file): read(file, returned, for: owner)
        }
    }

    private func read(_ file: any LargeBody, _ returned: ReturnedMail, for owner: any ReceptionOwner) {
        guard let id = draft?.id else { return }
        phase = .spilling
        let read: EventLoopFuture<Result<MailReport, MailReport.Fault>?> =
            intake.queue.disk.runIfActive(eventLoop: loop) { Self.report(file) }
        read.assumeIsolated().whenComplete { result in
            self.phase = .receiving
            guard self.draft?.id == id else {
                // The message was forgotten meanwhile.
                self.phase = .idle
                self.intake.queue.disk.submit { _ in file.discard() }
                return owner.receptionGoesOn(nil)
            }
            guard let report = (try? result.get()) ?? nil else {
                self.discard()
                return owner.receptionEnded(.refused(Refusal(.storageFailed)))
            }
            self.end(report, returned, for: owner)
            if !self.isAtDisk { owner.receptionGoesOn(nil) }
        }
    }

    private static func report(_ bytes: ByteBuffer) -> Result<MailReport, MailReport.Fault> {
        var reader = MailReportReader()
        bytes.withUnsafeReadableBytes { reader.consume($0) }
        return reader.result
    }

    /// - Returns: nil when the file cannot be read.
    private static func report(_ file: any LargeBody) -> Result<MailReport, MailReport.Fault>? {
        var (reader, place) = (MailReportReader(), 0)
        while place < file.size, !reader.hasAll {
            guard let bytes = try? file.read(at: place, count: piece), bytes.readableBytes > 0 else { return nil }
            bytes.withUnsafeReadableBytes { reader.consume($0) }
            place += bytes.readableBytes
        }
        return reader.result
    }

    /// Answers, and forgets the message.
    private func end(
        _ result: Result<MailReport, MailReport.Fault>,
        _ returned: ReturnedMail,
        for owner: any ReceptionOwner
    ) {
        guard let draft, let pending, let paths = rules.rewriting.returnPaths else { return }
        let now = Timestamp.now()
        let verdict: ReturnedMail.Verdict
        switch result {
        case .success(let report): verdict = returned.verdict(on: report, paths, by: rules.replyClasses, at: now)
        case .failure(let fault): verdict = .refused(returned == .crowd ? ReturnedMail.alone : fault.sentence)
        }
        if case .news(let id, let fact) = verdict { return tell(fact, of: id, for: owner) }
        discard()
        switch verdict {
        case .news: break
        case .refused(let sentence):
            note("report refused", draft.id, pending) { $0.add(.reason, sentence) }
            owner.receptionEnded(.refused(Refusal(unreported: sentence)))
        case .nothing:
            IntakeMetrics.count(.other)
            note("report without news", draft.id, pending) { _ in }
            owner.receptionEnded(.taken(draft.id))
        }
    }

    /// Answers when the event is on the disk.
    private func tell(_ fact: ReportFact, of id: QueueID, for owner: any ReceptionOwner) {
        guard let draft else { return }
        phase = .spilling
        let told: EventLoopFuture<Bool> = intake.queue.disk.runIfActive(eventLoop: loop) { [intake] in
            intake.queue.tell(fact, of: id)
        }
        told.assumeIsolated().whenComplete { result in
            self.phase = .receiving
            guard self.draft?.id == draft.id, let pending = self.pending else {
                // The message was forgotten meanwhile; its event is there.
                self.phase = .idle
                if let file = draft.file { self.intake.queue.disk.submit { _ in file.discard() } }
                return owner.receptionGoesOn(nil)
            }
            self.discard()
            guard (try? result.get()) ?? false else {
                owner.receptionEnded(.refused(Refusal(.storageFailed)))
                return owner.receptionGoesOn(nil)
            }
            IntakeMetrics.count(fact.type == .complained ? .complaint : .bounce)
            self.note(fact.type == .complained ? "complaint" : "late bounce", id, pending) { line in
                line.add(.to, fact.recipient)
                if let words = fact.words { line.add(.reply, "\(Reply(words.code, words.enhanced, words.text))") }
                if let host = fact.host ?? fact.reporter { line.add(.host, host) }
            }
            owner.receptionEnded(.taken(draft.id))
            owner.receptionGoesOn(nil)
        }
    }

    private func note(
        _ message: StaticString,
        _ id: QueueID,
        _ pending: Pending,
        _ more: (inout LogLine) -> Void
    ) {
        intake.log.write(.notice, message) { line in
            line.add(.id, id.description)
            line.add(.from, pending.envelope.sender.description)
            if let client = pending.provenance.client { line.add(.client, client.literal) }
            more(&line)
        }
    }
}

extension MailReportReader {
    fileprivate var result: Result<MailReport, MailReport.Fault> {
        var reader = self
        do throws(MailReport.Fault) { return .success(try reader.finish()) } catch { return .failure(error) }
    }
}
