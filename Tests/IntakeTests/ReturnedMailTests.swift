// ReturnedMailTests.swift — what reports are believed to say, and of whom.

import History
import Mail
import TestSupport
import Testing

@testable import Config
@testable import Intake
@testable import MessageFormat

struct ReturnedMailTests {
    private static let now = Timestamp(milliseconds: 1_800_000_000_000)
    private static let id = QueueID(at: now)

    private static func paths() throws -> ReturnPaths {
        ReturnPaths(
            try #require(EmailAddress("bounces@b.example")),
            senders: [Domain(unchecked: "a.example")],
            secrets: [Secret("sixteen letters!")],
            days: 21
        )
    }

    @Test(arguments: try TruthTable.load("returned_mail").rows)
    func decides(_ row: TruthTable.Row) throws {
        let paths = try Self.paths()
        let isLong = try row.cell("to") == "long"
        let local = isLong ? "a-name-that-is-much-too-long-for-it-all" : "ann"
        let recipient = try #require(EmailAddress("\(local)@c.example"))
        let sender = paths.sender(of: Self.id, to: recipient, at: Self.now)
        #expect(sender.local.contains("=") != isLong)
        let about: EmailAddress? =
            switch try row.cell("about") {
            case "*": recipient
            case "-": nil
            default: EmailAddress(try row.cell("about"))
            }
        let to: ReturnedMail =
            if try row.cell("to") == "plain" {
                .complaint
            } else if case .sent(let sent) = paths.returned(sender, at: Self.now) {
                .sent(sent)
            } else {
                .crowd
            }
        let verdict = to.verdict(
            on: try Self.report(row, about, sender),
            paths,
            by: .shipped,
            at: Self.now
        )
        switch verdict {
        case .nothing: #expect(try row.cell("verdict") == "nothing")
        case .refused(let sentence): #expect(try row.cell("verdict") == "refused", "\(sentence)")
        case .news(let id, let fact):
            let kind = fact.type == .complained ? "complaint" : "bounce:\(fact.reason?.replyClass.name ?? "")"
            #expect(kind == (try row.cell("verdict")))
            #expect(id == Self.id && fact.recipient == "\(recipient)")
        }
    }

    private static func report(
        _ row: TruthTable.Row,
        _ about: EmailAddress?,
        _ sender: EmailAddress
    ) throws -> MailReport {
        guard try row.cell("kind") == "delivery" else {
            var report = FeedbackReport()
            report.kind = try row.cell("action")
            report.recipients = about.map { [$0] } ?? []
            report.senders = [sender]
            return .feedback(report)
        }
        let status = EnhancedStatus(leading: Substring(try row.cell("status")).utf8)
        var report = DeliveryReport()
        report.recipients = [
            DeliveryReport.Recipient(
                final: about,
                action: DeliveryReport.Action(rawValue: try row.cell("action")),
                status: status,
                reply: Reply(status?.class == 4 ? 450 : 550, status, "")
            )
        ]
        return .delivery(report)
    }

    @Test func severalAddressesAreNoReport() throws {
        let verdict = ReturnedMail.crowd.verdict(
            on: .feedback(FeedbackReport()),
            try Self.paths(),
            by: .shipped,
            at: .now()
        )
        #expect(verdict == .refused(ReturnedMail.alone))
    }
}
