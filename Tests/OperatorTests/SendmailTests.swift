// SendmailTests.swift — whom a piped message goes to, and what becomes of its text.

import Glibc
import Mail
import MessageFormat
import Testing

@testable import Operator

struct SendmailTests {
    private static func letter(_ arguments: [String], _ input: String) throws -> Letter {
        try Sendmail(arguments).letter(Array(input.utf8), host: "host.example")
    }

    private static func text(_ letter: Letter) -> String { String(decoding: letter.bytes, as: UTF8.self) }

    @Test(arguments: [
        (
            ["-t"], "To: a@x.example\nCc: B <b@x.example>,\n c@x.example\nBcc: d@x.example\n\nx\n",
            "a@x.example b@x.example c@x.example d@x.example"
        ),
        (["-t"], "To: a@x.example\nBcc : b@x.example\n\nx\n", "a@x.example b@x.example"),
        (["-t", "z@x.example"], "To: a@x.example\n\nx\n", "z@x.example a@x.example"),
        (["-t"], "To: a@x.example, a@X.example\nCc: a@x.example\n\n", "a@x.example"),
        (
            ["-t"], "To: \"john doe\"@x.example, u@[IPv6:2001:db8::1], root\n\n",
            "\"john doe\"@x.example u@[IPv6:2001:db8::1] root@host.example"
        ),
        (["-t"], "To: team: a@x.example, b@x.example;\nCc: undisclosed-recipients:;\n\n", "a@x.example b@x.example"),
        (["-t"], "To: caf\u{E9}@x.example, cafe\u{301}@x.example\n\n", "caf\u{E9}@x.example cafe\u{301}@x.example"),
        (["-t"], "From ann Sun Nov 22 10:00:00 2026\nTo: a@x.example\n\nx\n", "a@x.example"),
        (
            ["-t"], "Resent-To: r@x.example\nResent-Bcc: s@x.example\nTo: a@x.example\nBcc: b@x.example\n\n",
            "r@x.example s@x.example"
        ),
        (
            ["-t"], "Resent-To: new@x.example\nReceived: x\nResent-To: old@x.example\nTo: a@x.example\n\n",
            "new@x.example"
        ),
        (
            ["-t"],
            "Resent-From: me@x.example\nResent-To: new@x.example\nResent-From: she@x.example\nResent-To: old@x.example\n\n",
            "new@x.example"
        ),
        (["a@x.example", "b@x.example,c@x.example"], "To: z@x.example\n\n", "a@x.example b@x.example c@x.example"),
        (["--", "a@x.example"], "x\n", "a@x.example"), (["root"], "x\n", "root@host.example"),
    ])
    func goesTo(arguments: [String], input: String, expected: String) throws {
        let letter = try Self.letter(arguments, input)
        #expect(letter.to.map(\.description).joined(separator: " ").utf8.elementsEqual(expected.utf8))
    }

    @Test(arguments: [
        (["-t"], "Subject: x\n\n", EX_USAGE), (["-t"], "To: John Doe a@x.example\n\n", EX_DATAERR),
        (["-t"], "To: a@x.example\nCc: (b@x.example\n\n", EX_DATAERR), ([], "x", EX_USAGE),
        (["-t"], "Resent-From: a@x.example\nTo: b@x.example\n\n", EX_USAGE), (["a b@x.example"], "x", EX_USAGE),
        (["-f", "a b", "c@x.example"], "x", EX_USAGE),
    ])
    func saysWhatIsWrongAndSendsNothing(arguments: [String], input: String, status: Int32) {
        let error = #expect(throws: OperatorError.self) { try Self.letter(arguments, input) }
        #expect(error?.status == status)
    }

    @Test(arguments: [
        (["-f", "a@x.example"], "a@x.example"), (["-fa@x.example"], "a@x.example"), (["-f", "<>"], ""),
        (["-f", ""], ""),
        (["-r", "Ann <a@x.example>"], "a@x.example"), (["-f", "ann"], "ann@host.example"),
    ])
    func isFrom(arguments: [String], expected: String) throws {
        #expect(try Self.letter(arguments + ["b@x.example"], "x\n").from.description == expected)
    }

    /// Behind `-f a@x.example -i`.
    @Test(arguments: [
        ("From: f@x.example\nSubject: s\n\ntext\n", "From: f@x.example\r\nSubject: s\r\n\r\ntext\r\n"),
        (
            "From: f@x.example\nBcc: b@x.example\nbcc :c@x.example,\n d@x.example\nResent-Bcc: e@x.example\n\nt\n",
            "From: f@x.example\r\n\r\nt\r\n"
        ),
        ("text", "From: a@x.example\r\n\r\ntext\r\n"), ("", "From: a@x.example\r\n\r\n"),
        ("Subject: s\nno field\n", "Subject: s\r\nFrom: a@x.example\r\n\r\nno field\r\n"),
        ("From: f@x.example\n\n10%\r20%\rdone\r\n\0.\n", "From: f@x.example\r\n\r\n10%\r\n20%\r\ndone\r\n?.\r\n"),
        ("From: f@x.example\r\r\nSubject: s\0t\r\r\n\r\r\nt\n", "From: f@x.example\r\nSubject: s?t\r\n\r\nt\r\n"),
        ("From f Sun Nov 22 10:00:00 2026\nFrom: f@x.example\n\nFrom here\n", "From: f@x.example\r\n\r\nFrom here\r\n"),
        ("From here on\nall is text\n", "From: a@x.example\r\n\r\nFrom here on\r\nall is text\r\n"),
        ("From: f@x.example\n\n.\nmore\n", "From: f@x.example\r\n\r\n.\r\nmore\r\n"),
    ])
    func textIsMadeLegal(input: String, expected: String) throws {
        #expect(Self.text(try Self.letter(["-f", "a@x.example", "-i", "b@x.example"], input)) == expected)
    }

    @Test func endsAtADotAsOnATerminal() throws {
        let arguments = ["-f", "a@x.example", "b@x.example"]
        #expect(
            Self.text(try Self.letter(arguments, "X: y\n\nt\n.\nmore\n")) == "X: y\r\nFrom: a@x.example\r\n\r\nt\r\n"
        )
        #expect(Self.text(try Self.letter(arguments, "X: y\r\n\r\nt\r\n.\r\nmore")).hasSuffix("\r\n\r\nt\r\n"))
        #expect(Self.text(try Self.letter(arguments, "X: y\n\nt\r.\rmore\n")).hasSuffix("\r\n\r\nt\r\n.\r\nmore\r\n"))
    }

    @Test func aNameIsQuotedWhereItHasToBe() throws {
        let arguments = ["-F", "Cron, \"the\" \nBcc: x", "-f", "a@x.example", "b@x.example"]
        let text = Self.text(try Self.letter(arguments, "\nx\n"))
        #expect(text == "From: \"Cron, \\\"the\\\" Bcc: x\" <a@x.example>\r\n\r\nx\r\n")
    }
}
