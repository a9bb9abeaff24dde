// FuzzTarget+Report.swift — what others report of our mail.

import Mail
import MessageFormat

extension FuzzTarget {
    /// What is understood does not depend on how the message was cut, and its texts are printable and bounded.
    static func report(_ bytes: [UInt8]) -> String? {
        let cut = Cut(bytes)
        func read(_ pieces: [ArraySlice<UInt8>]) -> Result<MailReport, MailReport.Fault> {
            var reader = MailReportReader()
            for piece in pieces { piece.withUnsafeBytes { reader.consume($0) } }
            do throws(MailReport.Fault) { return .success(try reader.finish()) } catch { return .failure(error) }
        }
        let whole = read([cut.bytes])
        if whole != read(cut.pieces) { return "cutting makes a difference" }
        guard case .success(let report) = whole else { return nil }
        let texts: [String] =
            switch report {
            case .delivery(let report):
                [report.reporter ?? ""] + report.recipients.flatMap { [$0.remote ?? ""] + $0.reply.lines }
            case .feedback(let report): [report.kind, report.agent ?? ""]
            }
        if texts.contains(where: { $0.utf8.count > 520 }) { return "a text that is too long" }
        let isOdd = texts.contains { $0.utf8.contains { $0 < 0x20 || $0 == 0x7F } }
        return isOdd ? "a control character in a text" : nil
    }
}
