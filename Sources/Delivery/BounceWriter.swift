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
    /// - Returns: whether the report is on disk, or nobody wants it there.
    func writeFailure(_ failed: [Verdicts.Failed], of message: Assignment) async -> Bool {
        await write(
            .failure,
            failed.map { BounceReport.Entry(recipient($0.recipient, message), .failed, $0.failure) },
            message
        )
    }

    /// Reports recipients that are still being tried.
    ///
    /// - Returns: whether the report is on disk, or nobody wants it there.
    func writeDelay(_ failed: [Verdicts.Failed], of message: Assignment) async -> Bool {
        await write(
            .delay,
            failed.map { BounceReport.Entry(recipient($0.recipient, message), .delayed, $0.failure) },
            message
        )
    }

    /// Reports recipients whose next hop took them and makes no promise about reports (RFC 3461 §5.2.2).
    ///
    /// - Returns: whether the report is on disk, or nobody wants it there.
    func writeSuccess(_ taken: [Verdicts.Taken], of message: Assignment) async -> Bool {
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
        return await write(.success, entries, message)
    }

    private func recipient(_ index: UInt32, _ message: Assignment) -> Recipient {
        message.envelope.recipients[Int(index)]
    }

    private func write(
        _ kind: BounceReport.Kind,
        _ entries: [BounceReport.Entry],
        _ message: Assignment
    ) async -> Bool {
        guard case .address(let sender) = message.envelope.sender,
            let report = await make(kind, entries, sender, message)
        else { return false }
        switch await intake.submit(report, on: loop) {
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

    private func make(
        _ kind: BounceReport.Kind,
        _ entries: [BounceReport.Entry],
        _ sender: EmailAddress,
        _ message: Assignment
    ) async -> Submission? {
        let settings = intake.settings.current
        let limit = settings.outbound.bounceMessageBytes
        guard let prefix = await beginning(of: message.content, limit) else { return nil }
        let now = Timestamp.now()
        let id = intake.queue.makeID(at: now)
        let original = BounceReport.Original(
            id: message.parcel.id.message,
            acceptedAt: message.parcel.acceptedAt,
            sender: sender,
            envelope: message.envelope,
            isEightBit: message.content.isEightBit,
            size: message.content.size,
            prefix: prefix
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
            returnLimit: limit
        ).make()
        let envelope = Envelope(
            sender: .null,
            recipients: [Recipient(sender, notify: .never)],
            isEightBit: report.isEightBit,
            needsUTF8: report.needsUTF8
        )
        let provenance = Provenance(.inside, about: message.parcel.id.message)
        return Submission(envelope, report.bytes, from: provenance, id: id, at: now)
    }

    /// As much of the message as a report may carry.
    private func beginning(of content: Content, _ limit: Int) async -> ByteBuffer? {
        var bytes = content.prologue
        switch content.body {
        case .memory(let body): bytes.writeImmutableBuffer(body)
        case .file(let file):
            // A message that is too large comes back as its header block alone, which is at its beginning.
            let count = min(file.size, content.size > limit ? 64 << 10 : limit)
            let read: EventLoopFuture<ByteBuffer?> = intake.queue.disk.runIfActive(eventLoop: loop) {
                try? file.read(at: 0, count: count)
            }
            guard let body = try? await read.get() else { return nil }
            bytes.writeImmutableBuffer(body)
        }
        return bytes
    }
}
