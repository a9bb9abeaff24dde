// BounceWriter.swift — a report becomes a message in the queue, and is on disk before anybody relies on it.

import Config
import Glibc
import Intake
import Log
import Loop
import Mail
import MessageFormat
import NIOCore
import NIOPosix
import Queue
import SMTP
import Storage

/// Writes delivery status notifications.
///
/// Never to the null sender (RFC 5321 §6.1).
struct BounceWriter: Sendable {
    let intake: Intake
    let loop: any EventLoop

    /// Reports recipients that failed for good.
    ///
    /// - Parameter tray: where it waits for the note of what it tells; nil: it is queued by itself.
    /// - Returns: whether the report is on disk or in the tray, or nobody wants it there.
    func writeFailure(_ failed: [Verdicts.Failed], of message: Assignment, into tray: ReportTray?) async -> Bool {
        await write(
            .failure,
            failed.map { BounceReport.Entry(recipient($0.recipient, message), .failed, $0.failure) },
            message,
            tray
        )
    }

    /// Reports recipients that are still being tried.
    ///
    /// - Parameter tray: where it waits for the note of what it tells; nil: it is queued by itself.
    /// - Returns: whether the report is on disk or in the tray, or nobody wants it there.
    func writeDelay(_ failed: [Verdicts.Failed], of message: Assignment, into tray: ReportTray?) async -> Bool {
        await write(
            .delay,
            failed.map { BounceReport.Entry(recipient($0.recipient, message), .delayed, $0.failure) },
            message,
            tray
        )
    }

    /// Reports recipients whose next hop took them and makes no promise about reports (RFC 3461 §5.2.2).
    ///
    /// - Parameter tray: where it waits for the note of what it tells; nil: it is queued by itself.
    /// - Returns: whether the report is on disk or in the tray, or nobody wants it there.
    func writeSuccess(_ taken: [Verdicts.Taken], of message: Assignment, into tray: ReportTray?) async -> Bool {
        let entries = taken.map { taken in
            BounceReport.Entry(
                recipient(taken.recipient, message),
                // LMTP speaks for the mailbox itself.
                taken.receipt.isLMTP ? .delivered : .relayed,
                status: EnhancedStatus(2, 0, 0),
                reason: taken.receipt.reply.description,
                remote: taken.receipt.host
            )
        }
        return await write(.success, entries, message, tray)
    }

    /// A report of ours could not be delivered: it goes once more, shorter, where its length or what it brings back may be to
    /// blame; else somebody is told.
    ///
    /// Never more than that: the copy for the postmaster has the null sender, and nobody hears of its end.
    /// - Returns: whether what takes its place is on disk or in the tray, or nothing does.
    func replace(_ failed: [Verdicts.Failed], of report: Assignment, into tray: ReportTray?) async -> Bool {
        guard let first = failed.first, let form = report.envelope.reportForm else { return true }
        if form == .whole, first.failure.blamesContent, let isStored = await shorten(report, tray) { return isStored }
        DeliveryMetrics.countLostReport()
        intake.log.write(.warning, "report could not be delivered") { line in
            line.add(.id, report.parcel.id.message.description)
            line.add(.to, recipient(first.recipient, report).address.description)
            line.add(.reply, first.failure.reply.description)
        }
        guard form != .copy, let postmaster = intake.settings.current.outbound.postmaster else { return true }
        let entries = failed.map { BounceReport.Entry(recipient($0.recipient, report), .failed, $0.failure) }
        return await write(.lostReport, entries, report, tray, to: postmaster)
    }

    private func recipient(_ index: UInt32, _ message: Assignment) -> Recipient {
        message.envelope.recipients[Int(index)]
    }

    /// Whether the shorter report is on disk; nil when there is no shorter one.
    private func shorten(_ report: Assignment, _ tray: ReportTray?) async -> Bool? {
        let body = Content(prologue: ByteBuffer(), body: report.content.body, hasLeadingDots: false, isEightBit: false)
        let made: EventLoopFuture<Result<ByteBuffer?, QueueError>> = intake.queue.disk.runIfActive(eventLoop: loop) {
            do throws(QueueError) {
                var shorter = ShorterReport()
                var offset = 0
                while offset < body.size {
                    let piece = try body.read(at: offset, count: 64 << 10)
                    offset += piece.count
                    guard !piece.isEmpty, shorter.take(ByteBuffer(bytes: piece)) else { break }
                }
                return .success(shorter.finish())
            } catch {
                return .failure(error)
            }
        }
        switch (try? await made.get()) ?? .failure(.closing) {
        case .failure: return false
        case .success(nil): return nil
        case .success(let bytes?):
            intake.log.write(.notice, "report refused, sent again without the message") { line in
                line.add(.id, report.parcel.id.message.description)
            }
            var envelope = report.envelope
            envelope.reportForm = .header
            return await submit(envelope, .memory(bytes), intake.queue.makeID(at: .now()), about: report, tray)
        }
    }

    private func write(
        _ kind: BounceReport.Kind,
        _ entries: [BounceReport.Entry],
        _ message: Assignment,
        _ tray: ReportTray?,
        to postmaster: EmailAddress? = nil
    ) async -> Bool {
        guard let addressee = postmaster ?? message.envelope.sender.address else { return false }
        let settings = intake.settings.current
        let now = Timestamp.now()
        let id = intake.queue.makeID(at: now)
        let original = BounceReport.Original(
            id: message.parcel.id.message,
            acceptedAt: message.parcel.acceptedAt,
            sender: addressee,
            envelope: message.envelope,
            size: message.content.size
        )
        let report = BounceReport(
            kind,
            of: original,
            entries: entries,
            me: settings.me,
            id: id,
            now: now,
            pid: getpid(),
            template: settings.bounceTemplate.isEmpty ? .failure : BounceTemplate(settings.bounceTemplate),
            returnLimit: settings.outbound.bounceMessageBytes
        )
        let (queue, most) = (intake.queue, settings.listener.inMemoryBytes)
        let made: EventLoopFuture<Content.Body?> = queue.disk.runIfActive(eventLoop: loop) {
            try? BodyMaking.body(of: report, about: message.content, in: queue, most)
        }
        guard let body = try? await made.get() else { return false }
        var envelope = Envelope(
            sender: .null,
            recipients: [Recipient(addressee, notify: .never)],
            isEightBit: report.needsUTF8,
            needsUTF8: report.needsUTF8
        )
        envelope.reportForm = postmaster == nil ? .whole : .copy
        return await submit(envelope, body, id, about: message, tray)
    }

    private func submit(
        _ envelope: Envelope,
        _ body: Content.Body,
        _ id: QueueID,
        about message: Assignment,
        _ tray: ReportTray?
    ) async -> Bool {
        let provenance = Provenance(.inside, about: message.parcel.id.message)
        var submission = Submission(envelope, body, from: provenance, id: id)
        submission.tray = tray
        switch await intake.submit(submission, on: loop) {
        case .queued, .taken: return true
        case .refused(let refusal):
            intake.log.write(.error, "report not stored") { line in
                line.add(.about, message.parcel.id.message.description)
                line.add(.reply, refusal.reply.description)
            }
            // A plugin that refuses it for good has decided that nobody hears of it.
            return refusal.reason == .plugin && refusal.reply.severity == .permanent
        }
    }
}

/// A report while it is made: in memory, or in a file once it is too long for that.
private struct BodyMaking {
    private let queue: MailQueue
    private let id: QueueID
    private let most: Int
    private var bytes = ByteBuffer()
    private var file: (any LargeBody)?

    /// Makes a report.
    ///
    /// Blocks.
    /// - Parameter most: bytes that are kept in memory.
    /// - Throws: ``QueueError`` when the message cannot be read, or the report not be written.
    static func body(
        of report: BounceReport,
        about content: Content,
        in queue: MailQueue,
        _ most: Int
    ) throws(QueueError) -> Content.Body {
        var making = BodyMaking(queue: queue, id: report.id, most: most)
        do throws(QueueError) {
            try report.make { (offset, count) throws(QueueError) in
                ByteBuffer(bytes: try content.read(at: offset, count: count))
            } to: { (piece) throws(QueueError) in
                try making.append(piece)
            }
            return try making.finish()
        } catch {
            making.file?.discard()
            throw error
        }
    }

    private init(queue: MailQueue, id: QueueID, most: Int) {
        self.queue = queue
        self.id = id
        self.most = most
    }

    private mutating func append(_ piece: ByteBuffer) throws(QueueError) {
        bytes.writeImmutableBuffer(piece)
        guard bytes.readableBytes > most else { return }
        let open = if let file { file } else { try queue.makeLargeBody(id) }
        file = open
        try open.write(bytes)
        bytes.clear()
    }

    private mutating func finish() throws(QueueError) -> Content.Body {
        guard let file else { return .memory(bytes) }
        try file.write(bytes)
        try file.finish()
        return .file(file)
    }
}

extension ReversePath {
    fileprivate var address: EmailAddress? {
        if case .address(let address) = self { address } else { nil }
    }
}

extension Failure {
    /// The peer refused what was sent, and not whom it was for.
    fileprivate var blamesContent: Bool {
        guard scope == .message, reply.severity == .permanent else { return false }
        switch stage {
        case .mail, .data, .body, .endOfData: return true
        case .route, .connect, .greeting, .hello, .tls, .auth, .recipient: return false
        }
    }
}
