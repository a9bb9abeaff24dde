// MailReportTests.swift — reports of others as they really come: each case is a message and what is understood of it.

import Mail
import TestSupport
import Testing

@testable import MessageFormat

/// A message, and in words what it says.
struct ReportCase: Sendable, CustomTestStringConvertible {
    let name: String
    let text: String
    /// `delivery …`, `feedback …` or `fault …`.
    let says: String
    var testDescription: String { name }
}

extension ReportCase {
    /// A report with this machine's part, in the frame that RFC 3464 asks for.
    static func delivery(_ name: String, _ fields: String, _ says: String, more: String = "", type: String = "") -> Self
    {
        let part = """
            --=_b
            Content-Type: \(type.isEmpty ? "message/delivery-status" : type)\(more.isEmpty ? "" : "\n\(more)")

            \(fields)

            """
        return framed(name, part, says)
    }

    static func feedback(_ name: String, _ fields: String, _ original: String, _ says: String) -> Self {
        framed(name, "--=_b\nContent-Type: message/feedback-report\n\n\(fields)\n\(original)", says)
    }

    static func framed(_ name: String, _ parts: String, _ says: String, type: String = "multipart/report") -> Self {
        let text = """
            From: <mailer-daemon@mx.example>
            To: <bounces+x@b.example>
            Subject: failure notice
            MIME-Version: 1.0
            Content-Type: \(type); report-type=delivery-status;
            \tboundary="=_b"

            nobody reads this
            --=_b
            Content-Type: text/plain

            It did not work.
            \(parts)
            --=_b--

            """
        return whole(name, text, says)
    }

    static func whole(_ name: String, _ text: String, _ says: String) -> Self {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\r\n")
        return ReportCase(name: name, text: lines, says: says)
    }

    private static let ann = "Final-Recipient: rfc822; ann@c.example"
    private static let gone = "\(ann)\nAction: failed\nStatus: 5.1.1"
    private static let complaint = "Feedback-Type: abuse\nUser-Agent: Loop/1.0\nVersion: 1"
    private static let returned = "--=_b\nContent-Type: message/rfc822\n\nReturn-Path: <v@b.example>\nSubject: x\n\nx"
    private static let plain = "delivery : failed 5.1.1 550 final=ann@c.example"

    static let all: [ReportCase] = [
        delivery(
            "Postfix's form",
            """
            Reporting-MTA: dns; mx.c.example
            X-Postfix-Queue-ID: 4F1
            Arrival-Date: Mon, 30 Nov 2026 10:00:00 +0000

            \(ann)
            Original-Recipient: rfc822;bob@d.example
            Action: failed
            Status: 5.1.1
            Remote-MTA: dns; inner.c.example
            Diagnostic-Code: smtp; 550 5.1.1 <ann@c.example>: Recipient address
                rejected: User unknown
            """,
            "delivery mx.c.example: failed 5.1.1 550 final=ann@c.example original=bob@d.example remote=inner.c.example "
                + "<ann@c.example>: Recipient address rejected: User unknown"
        ),
        delivery("the least there is", "\(gone)", plain),
        delivery(
            "no empty line behind the host",
            "Reporting-MTA: dns; mx\n\(gone)",
            "delivery mx: failed 5.1.1 550 final=ann@c.example"
        ),
        delivery(
            "two empty lines",
            "Reporting-MTA: dns; mx\n\n\n\(gone)",
            "delivery mx: failed 5.1.1 550 final=ann@c.example"
        ),
        delivery(
            "two recipients without a line between",
            "\(gone)\nFinal-Recipient: rfc822; bob@c.example\nAction: failed\nStatus: 5.2.2",
            "\(plain); failed 5.2.2 550 final=bob@c.example"
        ),
        delivery(
            "two recipients with a line between",
            "\(gone)\n\nFinal-Recipient: rfc822; bob@c.example\nAction: delayed\nStatus: 4.2.2",
            "\(plain); delayed 4.2.2 450 final=bob@c.example"
        ),
        delivery("angle brackets", "Final-Recipient: RFC822;<ann@c.example>\nAction: failed\nStatus: 5.1.1", plain),
        delivery(
            "a name in front",
            "Final-Recipient: rfc822; Ann <ann@c.example>\nAction: failed\nStatus: 5.1.1",
            plain
        ),
        delivery("no type in front", "Final-Recipient: ann@c.example\nAction: failed\nStatus: 5.1.1", plain),
        delivery("small letters", "final-recipient: rfc822; ann@c.example\naction: FAILED\nstatus: 5.1.1", plain),
        delivery(
            "blanks before colons",
            "Final-Recipient : rfc822; ann@c.example\nAction : failed\nStatus : 5.1.1",
            plain
        ),
        delivery("comments", "\(ann)\nAction: failed (bad address)\nStatus: 5.1.1 (no such user)", plain),
        delivery("no action", "\(ann)\nStatus: 5.1.1", "delivery : - 5.1.1 550 final=ann@c.example"),
        delivery("no status", "\(ann)\nAction: failed", "delivery : failed - 550 final=ann@c.example"),
        delivery(
            "no status but words",
            "\(ann)\nAction: failed\nDiagnostic-Code: smtp; 552 5.2.2 full",
            "delivery : failed - 552 final=ann@c.example full"
        ),
        delivery("neither action nor status", "\(ann)", "fault nobody"),
        delivery(
            "a status of one digit",
            "\(ann)\nAction: failed\nStatus: 5",
            "delivery : failed - 550 final=ann@c.example"
        ),
        delivery(
            "a status beyond its end",
            "\(ann)\nAction: failed\nStatus: 5.1.99999",
            "delivery : failed - 550 final=ann@c.example"
        ),
        delivery(
            "an action of its own",
            "\(ann)\nAction: exploded\nStatus: 5.0.0",
            "delivery : - 5.0.0 550 final=ann@c.example"
        ),
        delivery(
            "too long in the queue",
            "\(ann)\nAction: failed\nStatus: 4.4.7",
            "delivery : failed 4.4.7 450 final=ann@c.example"
        ),
        delivery(
            "given up behind a temporary answer",
            "\(ann)\nAction: failed\nStatus: 5.4.7\nDiagnostic-Code: smtp; 451 4.7.1 greylisted",
            "delivery : failed 5.4.7 550 final=ann@c.example greylisted"
        ),
        delivery(
            "an answer of several lines",
            "\(ann)\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550-5.1.1 There is no\n 550 5.1.1 such account",
            "delivery : failed 5.1.1 550 final=ann@c.example There is no 550 5.1.1 such account"
        ),
        delivery(
            "words without a code",
            "\(ann)\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: X-Notes; no such user",
            "delivery : failed 5.1.1 550 final=ann@c.example no such user"
        ),
        delivery(
            "controls in words",
            "\(ann)\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 \u{1B}[31mno\u{202E}\u{0}x",
            "delivery : failed 5.1.1 550 final=ann@c.example [31mno x"
        ),
        delivery(
            "a word that is no address",
            "Final-Recipient: rfc822; ann\nAction: failed\nStatus: 5.1.1",
            "delivery : failed 5.1.1 550"
        ),
        delivery(
            "its name before it was forwarded alone",
            "Original-Recipient: rfc822; ann@c.example\nAction: failed\nStatus: 5.1.1",
            "delivery : failed 5.1.1 550 original=ann@c.example"
        ),
        delivery(
            "a local part of UTF-8",
            "Final-Recipient: utf-8; j\u{F6}@c.example\nAction: failed\nStatus: 5.1.1",
            "delivery : failed 5.1.1 550 final=j\u{F6}@c.example",
            type: "message/global-delivery-status"
        ),
        delivery(
            "a delay",
            "\(ann)\nAction: delayed\nStatus: 4.4.1\nWill-Retry-Until: x",
            "delivery : delayed 4.4.1 450 final=ann@c.example"
        ),
        delivery(
            "an arrival",
            "\(ann)\nAction: delivered\nStatus: 2.1.5",
            "delivery : delivered 2.1.5 250 final=ann@c.example"
        ),
        delivery("the host alone", "Reporting-MTA: dns; mx.c.example", "fault nobody"),
        delivery("nothing", "", "fault nobody"),
        delivery("base64", Base64.encode(Array(gone.utf8)), plain, more: "Content-Transfer-Encoding: base64"),
        delivery("broken base64", "!!!!", "fault nobody", more: "Content-Transfer-Encoding: base64"),
        delivery(
            "quoted-printable",
            "Final-Recipient: rfc822=3B ann=40c.example\nAction: fai=\nled\nStatus: 5.1.1",
            plain,
            more: "Content-Transfer-Encoding: quoted-printable"
        ),
        delivery(
            "a hundred and one",
            (0...100).map { "Final-Recipient: rfc822; u\($0)@c.example\nAction: failed\nStatus: 5.1.1" }
                .joined(separator: "\n\n"),
            "fault tooComplex"
        ),
        delivery("more than is read", "\(gone)\nX: \(String(repeating: "x", count: 70_000))", "fault tooLong"),
        framed(
            "inside of a list's frame",
            "--=_b\nContent-Type: multipart/report; boundary=in\n\n--in\n\nhi\n--in\nContent-Type: message/delivery-status\n\n\(gone)\n\n--in--",
            plain,
            type: "multipart/mixed"
        ),
        framed(
            "in what was forwarded to us",
            "--=_b\nContent-Type: message/rfc822\n\nContent-Type: multipart/report; boundary=in\n\n--in\nContent-Type: message/delivery-status\n\n\(gone)\n\n--in--",
            "fault noReport"
        ),
        framed(
            "two of them: the first counts",
            "--=_b\nContent-Type: message/delivery-status\n\n\(gone)\n\n--=_b\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; x@y.example\nAction: failed\nStatus: 5.0.0\n",
            plain
        ),
        framed("attachments and no report", "--=_b\nContent-Type: image/png\n\nx", "fault noReport"),
        framed(
            "parts without end",
            (0..<40).map { "--=_b\nContent-Type: text/x-\($0)\n\nx" }.joined(separator: "\n"),
            "fault tooComplex"
        ),
        framed("no last delimiter, no line end", "--=_b\nContent-Type: message/delivery-status\n\n\(gone)", plain),
        whole("an absence", "From: <a@b.example>\nSubject: I am away\n\nBack on Monday.\n", "fault noReport"),
        whole(
            "the machine's part alone",
            "Content-Type: message/delivery-status\n\n\(gone)\n",
            "fault noReport"
        ),
        whole("qmail's prose", "Subject: failure notice\n\n<ann@c.example>:\n550 no such user\n", "fault noReport"),
        whole("nothing at all", "", "fault noReport"),
        whole(
            "no boundary",
            "Content-Type: multipart/report\n\n--x\nContent-Type: message/delivery-status\n\n\(gone)\n",
            "fault noReport"
        ),
        feedback("a complaint", "\(complaint)\n", returned, "feedback abuse from=v@b.example"),
        feedback(
            "a complaint that names all",
            "\(complaint)\nOriginal-Mail-From: <w@b.example>\nOriginal-Rcpt-To: <ann@c.example>\nSource-IP: 192.0.2.1\n",
            returned,
            "feedback abuse from=w@b.example,v@b.example to=ann@c.example"
        ),
        feedback(
            "a header without its message",
            "\(complaint)\n",
            "--=_b\nContent-Type: text/rfc822-headers\n\nReturn-Path: <v@b.example>\nSubject: x\n",
            "feedback abuse from=v@b.example"
        ),
        feedback("a complaint without the message", "\(complaint)\n", "", "feedback abuse"),
        feedback("no type", "User-Agent: x\nVersion: 1\n", returned, "fault noReport"),
        feedback("another type", "Feedback-Type: Not-Spam\n", returned, "feedback not-spam from=v@b.example"),
        feedback(
            "the message's parts tell nothing",
            "\(complaint)\n",
            "--=_b\nContent-Type: message/rfc822\n\nSubject: x\nContent-Type: multipart/mixed; boundary=in\n\n--in\nReturn-Path: <evil@b.example>\n\nx\n--in--",
            "feedback abuse"
        ),
    ]
}

@Suite struct MailReportTests {
    @Test(arguments: ReportCase.all)
    func understands(_ one: ReportCase) {
        let whole = Self.read(one.text, in: .max)
        #expect(whole == one.says)
        for length in [1, 7, 80] { #expect(Self.read(one.text, in: length) == whole, "in pieces of \(length)") }
    }

    @Test func thereAreEnoughOfThem() { #expect(ReportCase.all.count >= 50) }

    @Test func looksAtNoMoreThanItSays() {
        let head = "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\n"
        let text =
            head + String(repeating: "x\r\n", count: 400_000)
            + "--b\r\nContent-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; a@b.example\r\nAction: failed\r\n"
        #expect(Self.read(text, in: 65_536) == "fault tooLong")
    }

    private static func read(_ text: String, in length: Int) -> String {
        let bytes = Array(text.utf8)
        var (reader, place) = (MailReportReader(), 0)
        while place < bytes.count {
            let end = length > bytes.count - place ? bytes.count : place + length
            bytes[place..<end].withUnsafeBytes { reader.consume($0) }
            place = end
        }
        do throws(MailReport.Fault) { return words(try reader.finish()) } catch { return "fault \(error)" }
    }

    private static func words(_ report: MailReport) -> String {
        switch report {
        case .delivery(let report):
            let recipients = report.recipients.map { one in
                var words = ["\(one.action?.rawValue ?? "-")", one.status.map { "\($0)" } ?? "-", "\(one.reply.code)"]
                if let final = one.final { words.append("final=\(final)") }
                if let original = one.original { words.append("original=\(original)") }
                if let remote = one.remote { words.append("remote=\(remote)") }
                words += one.reply.lines.filter { !$0.isEmpty }
                return words.joined(separator: " ")
            }
            return "delivery \(report.reporter ?? ""): \(recipients.joined(separator: "; "))"
        case .feedback(let report):
            var words = ["feedback", report.kind]
            if !report.senders.isEmpty { words.append("from=\(report.senders.map { "\($0)" }.joined(separator: ","))") }
            if !report.recipients.isEmpty {
                words.append("to=\(report.recipients.map { "\($0)" }.joined(separator: ","))")
            }
            return words.joined(separator: " ")
        }
    }
}
