// BounceReportTests.swift — reports taken apart again, golden text, and everything a hostile peer can put into one.

import Mail
import NIOCore
import Testing

@testable import MessageFormat

private let sender = EmailAddress(local: "alice", domain: Domain(unchecked: "a.example"))
private let recipient = EmailAddress(local: "bob", domain: Domain(unchecked: "b.example"))
private let moment = Timestamp(milliseconds: 1_795_370_400_000)
private let message = "From: alice@a.example\r\nSubject: hi\r\n\r\n.leading dot\r\nbye\r\n"

private func original(
    _ text: String = message,
    from: EmailAddress = sender,
    size: Int? = nil,
    _ change: (inout Envelope) -> Void = { _ in }
) -> Message {
    var envelope = Envelope(sender: .address(from), recipients: [])
    change(&envelope)
    return Message(
        text: text,
        original: BounceReport.Original(
            id: QueueID(at: moment),
            acceptedAt: moment,
            sender: from,
            envelope: envelope,
            size: size ?? text.utf8.count
        )
    )
}

/// A message and what is known of it.
private struct Message {
    var text: String
    var original: BounceReport.Original
}

/// A report that is still to be made, of a message that is at hand.
private struct Draft {
    var report: BounceReport
    var text: String

    func make() -> ByteBuffer {
        var out = ByteBuffer()
        let whole = Array(text.utf8)
        report.make { offset, count in
            ByteBuffer(bytes: whole[min(offset, whole.count)..<min(offset + count, whole.count)])
        } to: { piece in
            out.writeImmutableBuffer(piece)
        }
        return out
    }
}

private func failed(
    _ text: String = "no such user",
    _ recipient: Recipient = Recipient(recipient)
) -> BounceReport.Entry {
    BounceReport.Entry(
        recipient,
        .failed,
        Failure(
            .recipient,
            at: .recipient,
            Reply(550, EnhancedStatus(5, 1, 1), text),
            remote: "mx.b.example[192.0.2.1]:25"
        )
    )
}

private func makeReport(
    _ kind: BounceReport.Kind = .failure,
    of message: Message = original(),
    entries: [BounceReport.Entry] = [failed()]
) -> Draft {
    let report = BounceReport(
        kind,
        of: message.original,
        entries: entries,
        me: Domain(unchecked: "relay.example"),
        id: QueueID(at: moment).next(at: moment),
        now: moment,
        pid: 4711,
        salt: 7
    )
    return Draft(report: report, text: message.text)
}

/// A report taken apart as a mail program would.
private struct Parsed {
    var header: String
    var parts: [(header: String, body: String)] = []

    init(_ made: ByteBuffer) throws {
        let text = String(buffer: made)
        #expect(text.utf8.allSatisfy { $0 < 128 } || text.contains("\r\nTo: jörg"))
        try #require(text.utf8.suffix(2).elementsEqual([0x0D, 0x0A]))
        let top = try Self.cut(text)
        header = top.header
        let mark = try #require(header.firstMatch(of: /boundary="([^"]+)"/)).1
        // Boundaries count at the start of a line only, and nothing else may look like one.
        var sections = ("\r\n" + top.body).split(separator: "\r\n--\(mark)", omittingEmptySubsequences: false)
        #expect(("\r\n" + top.body).split(separator: mark, omittingEmptySubsequences: false).count == sections.count)
        #expect(sections.removeLast() == "--\r\n")
        for section in sections.dropFirst() {
            #expect(section.hasPrefix("\r\n"))
            parts.append(try Self.cut(String(section.unicodeScalars.dropFirst(2))))
        }
        try #require(parts.count == 3)
    }

    static func cut(_ text: String) throws -> (header: String, body: String) {
        if text.hasPrefix("\r\n") { return ("", String(text.unicodeScalars.dropFirst(2))) }
        let scalars = Array(text.unicodeScalars)
        let end = try #require(
            scalars.indices.dropLast(3).first { scalars[$0...($0 + 3)].elementsEqual("\r\n\r\n".unicodeScalars) }
        )
        return (string(scalars[..<(end + 2)]), string(scalars[(end + 4)...]))
    }

    private static func string(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }
}

@Suite struct BounceReportTests {
    @Test func writesAMultipartReport() throws {
        let made = makeReport().make()
        let expected = """
            From: Mail Delivery System <MAILER-DAEMON@relay.example>
            To: alice@a.example
            Subject: Undelivered mail returned to sender
            Date: \(MailDate.text(moment))
            Message-ID: <\(QueueID(at: moment).next(at: moment))@relay.example>
            Auto-Submitted: auto-replied
            MIME-Version: 1.0
            Content-Type: multipart/report; report-type=delivery-status;
            \tboundary="=_\(QueueID(at: moment).next(at: moment))_7"

            """
        let parsed = try Parsed(made)
        #expect(parsed.header == expected.split(separator: "\n").joined(separator: "\r\n") + "\r\n")
        #expect(
            parsed.parts[0].header == "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n"
        )
        #expect(parsed.parts[0].body.contains("Reason:    550 5.1.1 no such user\r\n"))
        #expect(parsed.parts[0].body.contains("Recipient: bob@b.example\r\n"))
        #expect(parsed.parts[1].header == "Content-Type: message/delivery-status\r\n")
        let status = """
            Reporting-MTA: dns; relay.example
            Arrival-Date: \(MailDate.text(moment))

            Final-Recipient: rfc822; bob@b.example
            Action: failed
            Status: 5.1.1
            Remote-MTA: dns; mx.b.example
            Diagnostic-Code: smtp; 550 5.1.1 no such user
            Last-Attempt-Date: \(MailDate.text(moment))

            """
        #expect(
            parsed.parts[1].body
                == status.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\r\n")
        )
        #expect(parsed.parts[2].header == "Content-Type: message/rfc822\r\n")
        #expect(parsed.parts[2].body == message)
    }

    @Test func fillsEveryFieldOfTheTemplateOnce() throws {
        var report = makeReport()
        report.report.template = BounceTemplate("{pid}|{date}|{me}|{from}|{msgid}|{to}|{reason}|{other}|{|}\n\n")
        report.report.entries = [failed("try {from}")]
        let body = try Parsed(report.make()).parts[0].body
        let id = QueueID(at: moment)
        #expect(
            body
                == "4711|\(MailDate.text(moment))|relay.example|alice@a.example|\(id)|bob@b.example|550 5.1.1 try {from}|{other}|{|}\r\n"
        )
    }

    /// The text that Haraka ships, and the fields of later versions.
    @Test func fillsTheFieldsOfLaterTemplates() throws {
        let text = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n {me}\r\n\r\nx\r\n"
        var report = makeReport(of: original(text), entries: [failed("try {from}"), failed("no\r\nthanks")])
        report.report.template = BounceTemplate("To: {recipients}; about {subject}\n{extended_reason}\n.\n")
        #expect(
            try Parsed(report.make()).parts[0].body == """
                To: bob@b.example, bob@b.example; about Gr=C3=BC=C3=9Fe {me}\r
                bob@b.example: 550 5.1.1 try {from}\r
                bob@b.example: 550 5.1.1 no thanks\r
                .\r

                """
        )
        report.report.entries = Array(repeating: failed("x"), count: 60)
        report.report.template = BounceTemplate("{extended_reason}")
        let lines = try Parsed(report.make()).parts[0].body.utf8.split(separator: UInt8(ascii: "\n"))
        #expect(lines.count == 51 && lines.last.map { String(Substring($0)) } == "and 10 more\r")
    }

    @Test func takesTheHeaderBlockOfAnOldTemplateOff() throws {
        var report = makeReport()
        report.report.template = BounceTemplate(
            "From: MAILER-DAEMON@{me}\nTo: {from}\nSubject: failure\n for {to}\n\nHi {from}\n".replacing(
                "\n for",
                with: " for"
            )
        )
        let parsed = try Parsed(report.make())
        #expect(parsed.header.contains("\r\nSubject: failure for bob@b.example\r\n"))
        #expect(parsed.header.contains("From: Mail Delivery System <MAILER-DAEMON@relay.example>\r\n"))
        #expect(parsed.parts[0].body == "Hi alice@a.example\r\n")
    }

    @Test func returnsHeadersWhenAskedOrWhenTooLargeOrWhenNoFailure() throws {
        let headers = "From: alice@a.example\r\nSubject: hi\r\n"
        var tooLarge = makeReport()
        tooLarge.report.returnLimit = 50
        let reports = [
            makeReport(of: original { $0.returns = .headers }), tooLarge, makeReport(.delay), makeReport(.success),
            makeReport(of: original(size: 1 << 30)),
        ]
        for report in reports {
            let parts = try Parsed(report.make()).parts
            let part = parts[2]
            let isCut = report.report.original.size > report.report.returnLimit
            #expect(parts[0].body.contains("Only the header of your message is returned: it has") == isCut)
            #expect(part.header == "Content-Type: text/rfc822-headers\r\n")
            #expect(part.body == headers)
        }
    }

    @Test(arguments: [
        ("A: b\r\n", "no field\r\n\r\nsecret\r\n"), ("A: b\r\n", "n\r\n"), ("A: b\r\n c\r\n", "\r\nsecret\r\n"),
        ("X-Mailbox-Line: From a\r\nA: b\r\n", "\r\nsecret\r\n"), ("A: b\r\n", ""), ("A: b\r\n", "\u{FC}: secret\r\n"),
    ])
    func aHeaderBringsNoTextBack(header: String, text: String) {
        let message = original(header + text) { $0.returns = .headers }
        let part = ReturnedPart.header(of: ByteBuffer(string: message.text), limit: 1000)
        #expect(String(decoding: part, as: UTF8.self) == header)
    }

    @Test func cutsAHeaderBlockThatIsTooLongBetweenLines() throws {
        var report = makeReport()
        report.report.returnLimit = 30
        #expect(try Parsed(report.make()).parts[2].body == "From: alice@a.example\r\n")
        report.report.returnLimit = 0
        #expect(try Parsed(report.make()).parts[2].body.isEmpty)
    }

    @Test func namesTheOriginalRecipientAndEnvelope() throws {
        let entry = failed("x", Recipient(recipient, original: "rfc822;Bob+2BList@b.example"))
        let status = try Parsed(makeReport(of: original { $0.envelopeID = "QQ+3D314+0D+0Ax" }, entries: [entry]).make())
            .parts[1]
            .body
        #expect(status.contains("\r\nOriginal-Envelope-Id: QQ=314 x\r\n"))
        #expect(status.contains("\r\nOriginal-Recipient: rfc822; Bob+List@b.example\r\nFinal-Recipient"))
    }

    @Test(arguments: ["rfc822", ";x", "a b;x", "rfc822\r\nX;y", "rfc822;", "rfc822;+0D+0A"])
    func leavesAnOddOriginalRecipientOut(_ odd: String) throws {
        let status = try Parsed(makeReport(entries: [failed("x", Recipient(recipient, original: odd))]).make()).parts[1]
            .body
        #expect(!status.contains("Original-Recipient"))
        #expect(!status.contains("\nX"))
    }

    @Test func saysWhatBecameOfEachRecipient() throws {
        let other = EmailAddress(local: "carol", domain: Domain(unchecked: "b.example"))
        let entries = [
            BounceReport.Entry(
                Recipient(recipient),
                .relayed,
                status: EnhancedStatus(2, 0, 0),
                reason: "250 ok",
                remote: nil
            ),
            BounceReport.Entry(
                Recipient(other),
                .delayed,
                status: EnhancedStatus(4, 4, 1),
                reason: "no answer",
                remote: nil
            ),
        ]
        let status = try Parsed(makeReport(.delay, entries: entries).make()).parts[1].body
        #expect(status.contains("Final-Recipient: rfc822; bob@b.example\r\nAction: relayed\r\nStatus: 2.0.0\r\n"))
        #expect(status.contains("Final-Recipient: rfc822; carol@b.example\r\nAction: delayed\r\nStatus: 4.4.1\r\n"))
        #expect(status.contains("Diagnostic-Code: x-martlet; no answer\r\n"))
        #expect(!status.contains("Remote-MTA"))
    }

    /// RFC 6533: a report is in seven bits whatever the addresses are; only a sender with such an address stands in To.
    @Test func escapesAddressesOutsideASCII() throws {
        let wide = EmailAddress(local: "jörg", domain: Domain(unchecked: "b.example"))
        let plain = makeReport(of: original { $0.needsUTF8 = true }, entries: [failed("x", Recipient(wide))])
        #expect(!plain.report.needsUTF8)
        let parts = try Parsed(plain.make()).parts
        #expect(parts[1].body.contains("Final-Recipient: utf-8; j\\x{F6}rg@b.example\r\n"))
        #expect(parts[0].header.contains("quoted-printable"))
        #expect(parts[0].body.contains("j=C3=B6rg@b.example"))
        #expect(parts[2].header == "Content-Type: message/rfc822\r\n")

        let wideSender = makeReport(of: original(from: wide), entries: [failed("x", Recipient(wide))])
        #expect(wideSender.report.needsUTF8)
        let parsed = try Parsed(wideSender.make())
        #expect(parsed.header.contains("\r\nTo: jörg@b.example\r\n"))
        #expect(parsed.parts[1].header == "Content-Type: message/delivery-status\r\n")
        #expect(parsed.parts[1].body.contains("Final-Recipient: utf-8; j\\x{F6}rg@b.example\r\n"))
    }

    @Test(arguments: [
        ("utf-8;j\\x{F6}rg@b.example", "utf-8; j\\x{F6}rg@b.example"),
        ("utf-8;jörg@b.example", "utf-8; j\\x{F6}rg@b.example"),
    ])
    func namesTheOriginalRecipientOfAnyLetters(given: String, expected: String) throws {
        let report = makeReport(entries: [failed("x", Recipient(recipient, original: given))])
        #expect(try Parsed(report.make()).parts[1].body.contains("\r\nOriginal-Recipient: \(expected)\r\n"))
    }

    @Test func anOriginalOfEightBitsAndLongLinesComesBackInSeven() throws {
        let long = String(repeating: "y", count: 5000)
        let parsed = try Parsed(makeReport(of: original("Subject: Grüße \(long)\r\n\r\nÄ \(long)\r\n")).make())
        #expect(parsed.parts[2].header == "Content-Type: message/rfc822\r\n")
        #expect(parsed.parts[2].body.contains("Content-Transfer-Encoding: quoted-printable\r\n"))
        #expect(parsed.parts[2].body.contains("\r\n\r\n=C3=84 yyy"))
        #expect(
            String(buffer: makeReport(of: original("A: \(long)\r\n\r\n\(long)\r\n")).make()).utf8
                .split(separator: 0x0A).allSatisfy { $0.count <= 999 }
        )
        // A signature does not keep the sender from reading it; what nobody can encode does.
        let signed = try Parsed(makeReport(of: original("DKIM-Signature: d=x.example\r\n\r\nÄ\r\n")).make())
        #expect(signed.parts[2].body.contains("=C3=84"))
        let unfit = try Parsed(makeReport(of: original("Content-Transfer-Encoding: x-uu\r\nA: ü\r\n\r\nÄ\r\n")).make())
        #expect(unfit.parts[2].header == "Content-Type: text/rfc822-headers\r\n")
        #expect(unfit.parts[2].body == "Content-Transfer-Encoding: x-uu\r\nA: =?UTF-8?B?w7w=?=\r\n")
        #expect(unfit.parts[0].body.contains("Only the header of your message is returned"))
    }

    @Test func aSubjectOfAnyLettersIsEncoded() throws {
        var report = makeReport()
        report.report.template = BounceTemplate("From: x\nTo: {from}\nSubject: Unzustellbar für {to}\n\nGrüße\n")
        let parsed = try Parsed(report.make())
        #expect(parsed.header.contains("\r\nSubject: =?UTF-8?B?"))
        #expect(parsed.parts[0].body == "Gr=C3=BC=C3=9Fe\r\n")
    }

    /// What was refused for its size would be refused for it again.
    @Test func aMessageThatWasTooLargeDoesNotComeBack() throws {
        let entry = BounceReport.Entry(
            Recipient(recipient),
            .failed,
            status: EnhancedStatus(5, 3, 4),
            reason: "552 5.3.4 too big",
            remote: nil
        )
        let parts = try Parsed(makeReport(entries: [entry]).make()).parts
        #expect(parts[2].header == "Content-Type: text/rfc822-headers\r\n")
        #expect(parts[0].body.contains("Only the header of your message is returned, because it is large"))
    }

    @Test func aReportBecomesShorter() throws {
        let made = makeReport().make()
        for size in [1, 50, 100_000] {
            var shorter = ShorterReport()
            var rest = made
            while let piece = rest.readSlice(length: min(size, rest.readableBytes)), piece.readableBytes > 0,
                shorter.take(piece)
            {}
            let finished = shorter.finish()
            let short = try #require(finished)
            let (before, after) = (try Parsed(made), try Parsed(short))
            #expect(before.header == after.header)
            #expect(before.parts[1].body == after.parts[1].body)
            #expect(after.parts[2].header == "Content-Type: text/rfc822-headers\r\n")
            #expect(after.parts[2].body == "From: alice@a.example\r\nSubject: hi\r\n")
            var again = ShorterReport()
            _ = again.take(short)
            let shorterStill = again.finish()
            #expect(shorterStill == nil)
        }
        var other = ShorterReport()
        let goesOn = other.take(ByteBuffer(string: message))
        let nothing = other.finish()
        #expect(!goesOn && nothing == nil)
    }
}

/// A12: whatever a peer says, the report stays one well-formed report.
@Suite struct HostileBounceTests {
    static let hostile: [String] = [
        "\r\nBcc: victim@example.org\r\n\r\nbody",
        "\n\n--=_0000000000000_7\nContent-Type: text/html\n\n<script>",
        "\r\n--=_" + String(repeating: "0", count: 13) + "_7--\r\n",
        "\u{0}\u{1}\u{7}\u{8}\u{1B}[31m\u{7F}\u{85}\u{2028}\u{202E}",
        String(repeating: "line of two thousand\r\n", count: 2000),
        String(repeating: "x", count: 100_000),
        String(repeating: "é", count: 5000),
        "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x",
        ".\r\n.\r\nMAIL FROM:<x@y>\r\n",
        "{pid}{from}{reason}{", "=_=_=20=3D", "  \t  ", "", "\r", "\n", "..", "-- \r\n", "🐦 日本語",
    ]

    private func check(_ made: ByteBuffer, _ note: String) throws {
        let parsed = try Parsed(made)
        let bytes = Array(made.readableBytesView)
        var column = 0
        for (index, byte) in bytes.enumerated() {
            switch byte {
            case 0x0D: #expect(index + 1 < bytes.count && bytes[index + 1] == 0x0A, "bare CR: \(note)")
            case 0x0A:
                #expect(index > 0 && bytes[index - 1] == 0x0D, "bare LF: \(note)")
                column = 0
                continue
            case 0x00: Issue.record("NUL: \(note)")
            default: break
            }
            column += 1
            if column > 999 { Issue.record("long line: \(note)") }
        }
        let names = parsed.header.split(separator: "\r\n").filter { !$0.hasPrefix("\t") }.map {
            $0.prefix { $0 != ":" }
        }
        #expect(
            names == [
                "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
            ]
        )
        let fields: Set<Substring> = [
            "Reporting-MTA", "Arrival-Date", "Original-Envelope-Id", "Original-Recipient", "Final-Recipient", "Action",
            "Status", "Remote-MTA", "Diagnostic-Code", "Last-Attempt-Date",
        ]
        for line in parsed.parts[1].body.split(separator: "\r\n") where !line.hasPrefix(" ") {
            #expect(fields.contains(line.prefix { $0 != ":" }), "\(line)")
        }
        #expect(parsed.parts[1].body.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F || $0 == 0x0D || $0 == 0x0A })
        #expect(bytes.count < 65_536)
    }

    @Test(arguments: hostile.indices)
    func aHostileReplyStaysText(_ row: Int) throws {
        let text = Self.hostile[row]
        let entry = BounceReport.Entry(
            Recipient(recipient, original: "rfc822;\(text)"),
            .failed,
            status: EnhancedStatus(5, 0, 0),
            reason: text,
            remote: text
        )
        let made = makeReport(of: original { $0.envelopeID = text }, entries: [entry]).make()
        try check(made, "row \(row)")
        #expect(try Parsed(made).parts[2].body == message)
    }

    @Test(arguments: hostile.indices)
    func aHostileTemplateStaysText(_ row: Int) throws {
        let text = Self.hostile[row]
        var report = makeReport()
        report.report.template = BounceTemplate(text)
        let made = report.make()
        #expect(try Parsed(made).parts.count == 3)
    }

    /// Seeded, so that a failure comes again.
    private struct Seeded: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 29
        }
    }

    @Test func anyBytesInAnyFieldKeepTheStructure() throws {
        var random = Seeded(state: 20_261_122)
        let alphabet: [String] = [
            "\r", "\n", "\r\n", "-", "--", "=_", ":", " ", "\t", ";", "{", "}", "to", "+0D", "+", "\u{0}", "\u{7F}",
            "é", "😀",
            "\"", "\\", "<", ">", "a", "Subject: x", ".", "%",
        ]
        func text(_ count: Int) -> String {
            (0..<Int.random(in: 0...count, using: &random)).map { _ in alphabet.randomElement(using: &random) ?? "" }
                .joined()
        }
        for round in 0..<1500 {
            let body = "Subject: x\r\n\r\n" + text(20).replacing("\r", with: "").replacing("\n", with: "\r\n") + "\r\n"
            let entries = (0..<Int.random(in: 1...3, using: &random)).map { _ in
                BounceReport.Entry(
                    Recipient(recipient, original: text(6)),
                    .failed,
                    status: EnhancedStatus(5, 0, 0),
                    reason: text(60),
                    remote: text(6)
                )
            }
            var report = makeReport(
                of: original(body.replacing("\u{0}", with: "")) { $0.envelopeID = text(8) },
                entries: entries
            )
            report.report.salt = random.next()
            try check(report.make(), "round \(round)")
        }
    }
}
