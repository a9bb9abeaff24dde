// ReturnedMail.swift — mail to an address of `[bounces]`: whom the report is about, and what it makes of that. Pure; its table is
// `Tests/Tables/returned_mail.table`.
//
// Guarantees: only what was sent from here is believed of, and only of the recipient it was sent to: the tag in the address says so.

import Config
import History
import Mail
import MessageFormat

/// Where a message is going that comes to an address for reports.
enum ReturnedMail: Hashable, Sendable {
    /// To the sender that one message had for one recipient.
    case sent(ReturnPaths.Sent)
    /// To the address itself: the report says which message.
    case complaint
    /// To such an address among others.
    case crowd

    /// What becomes of it.
    enum Verdict: Hashable, Sendable {
        /// An event of this message.
        case news(QueueID, ReportFact)
        /// It is well written and no news.
        case nothing
        /// Nobody wants it, in these words.
        case refused(String)
    }

    /// Decides what a report is worth.
    func verdict(
        on report: MailReport,
        _ paths: ReturnPaths,
        by classes: ReplyClassifier,
        at now: Timestamp
    ) -> Verdict {
        switch (self, report) {
        case (.crowd, _): .refused(Self.alone)
        case (.sent(let sent), .delivery(let report)): Self.bounce(sent, report, paths, classes, now)
        case (.sent(let sent), .feedback(let report)): Self.complaint(sent, report, paths, now)
        case (.complaint, .delivery):
            .refused("a delivery report goes to the sender that the message had when it left here")
        case (.complaint, .feedback(let report)):
            Self.sent(report, paths, now).map { Self.complaint($0, report, paths, now) }
                ?? .refused("the report names no message that left here")
        }
    }

    static let alone = "a report goes to one address alone"

    private static func bounce(
        _ sent: ReturnPaths.Sent,
        _ report: DeliveryReport,
        _ paths: ReturnPaths,
        _ classes: ReplyClassifier,
        _ now: Timestamp
    ) -> Verdict {
        // Of several the one that names our recipient; where the address does, whatever the report calls it.
        let named = report.recipients.first { entry in
            [entry.original, entry.final].contains { $0.map { paths.confirms(sent, $0) } ?? false }
        }
        let entry = named ?? (sent.recipient == nil ? nil : report.recipients.first(where: \.isFailed))
        guard let entry else {
            return sent.recipient == nil ? .refused("the report names no recipient of the message") : .nothing
        }
        let confirmed = [entry.original, entry.final].compactMap(\.self).first { paths.confirms(sent, $0) }
        guard entry.isFailed, let recipient = sent.recipient ?? confirmed else { return .nothing }
        var fact = ReportFact(.bouncedLate, of: "\(recipient)".lowercasedASCII, at: now)
        let words = entry.reply.lines.joined(separator: " ")
        fact.words = EventData.Words(code: entry.reply.code, enhanced: entry.reply.status, text: words)
        fact.host = entry.remote ?? report.reporter
        fact.reporter = report.reporter
        fact.reason = FailureReason(Failure(.recipient, at: .recipient, entry.reply), by: classes)
        return .news(sent.id, fact)
    }

    private static func complaint(
        _ sent: ReturnPaths.Sent,
        _ report: FeedbackReport,
        _ paths: ReturnPaths,
        _ now: Timestamp
    ) -> Verdict {
        guard let recipient = sent.recipient ?? report.recipients.first(where: { paths.confirms(sent, $0) }) else {
            return .refused("the report names no recipient of the message")
        }
        guard report.isComplaint else { return .nothing }
        var fact = ReportFact(.complained, of: "\(recipient)".lowercasedASCII, at: now)
        fact.reporter = report.agent
        return .news(sent.id, fact)
    }

    /// The message that a complaint is about.
    private static func sent(_ report: FeedbackReport, _ paths: ReturnPaths, _ now: Timestamp) -> ReturnPaths.Sent? {
        for sender in report.senders {
            if case .sent(let sent) = paths.returned(sender, at: now) { return sent }
        }
        return nil
    }
}

extension IntakeRules {
    /// What a message is that goes to an address for reports; nil: it does not.
    func returned(_ envelope: Envelope) -> ReturnedMail? {
        guard let paths = rewriting.returnPaths else { return nil }
        let kinds = envelope.recipients.map { paths.returned($0.address, at: .now()) }
        guard let kind = kinds.first(where: { $0 != .other }) else { return nil }
        guard kinds.count == 1 else { return .crowd }
        return switch kind {
        case .sent(let sent): .sent(sent)
        case .complaint: .complaint
        // It was refused at its RCPT; nobody else makes one.
        case .refused, .other: .crowd
        }
    }
}
