// ComposedMessageTests.swift — text of any language in fields and parts: what is written, and that nothing can break out of it.

import Mail
import NIOCore
import Testing

@testable import MessageFormat

struct ComposedMessageTests {
    @Test(arguments: [
        ("plain words", "plain words"), ("", ""), ("Gr\u{FC}\u{DF}e", "=?UTF-8?B?R3LDvMOfZQ==?="),
        ("=?x?=", "=?UTF-8?B?PT94Pz0=?="), ("a\tb", "=?UTF-8?B?YQli?="), ("a\r\nBcc: x", "=?UTF-8?B?YQ0KQmNjOiB4?="),
        ("e\u{301}", "=?UTF-8?B?ZcyB?="), ("=?\u{301}", "=?UTF-8?B?PT/MgQ==?="),
    ])
    func textsOfFields(text: String, expected: String) { #expect(EncodedWords.text(text) == expected) }

    @Test(arguments: [
        ("Ann", "Ann"), ("Ann Author", "\"Ann Author\""), ("a \"b\" \\", "\"a \\\"b\\\" \\\\\""), ("", "\"\""),
        ("\u{C4}nn", "=?UTF-8?B?w4Rubg==?="), ("a@b.example", "\"a@b.example\""),
    ])
    func names(text: String, expected: String) { #expect(EncodedWords.phrase(text) == expected) }

    @Test func fieldsAreFoldedAtBlanks() {
        let words = String(repeating: "word ", count: 40)
        let field = EncodedWords.field("Subject", words)
        let lines = field.utf8.split(separator: UInt8(ascii: "\n"))
        #expect(lines.count > 2 && lines.allSatisfy { $0.count <= 79 && $0.last == UInt8(ascii: "\r") })
        #expect(lines.dropFirst().allSatisfy { $0.first == UInt8(ascii: " ") })
        let emoji = EncodedWords.field("Subject", EncodedWords.text(String(repeating: "\u{1F642}", count: 100)))
        #expect(emoji.utf8.split(separator: UInt8(ascii: "\n")).allSatisfy { $0.count <= 77 })
    }

    @Test(arguments: [
        ("a\n", "a\r\n"), ("a\r\nb\rc\nd", "a\r\nb\r\nc\r\nd\r\n"), ("", ""), ("\n", "\r\n"),
        ("a \nb\t", "a=20\r\nb=09\r\n"),
        ("=", "=3D\r\n"), (".", "=2E\r\n"), ("From x", "=46rom x\r\n"), ("\u{FC}", "=C3=BC\r\n"),
        ("e\u{301}\u{0}", "e=CC=81=00\r\n"),
        (String(repeating: "x", count: 76), String(repeating: "x", count: 75) + "=\r\nx\r\n"),
        (String(repeating: "x", count: 75) + ".", String(repeating: "x", count: 75) + "=\r\n=2E\r\n"),
    ])
    func quotedPrintable(text: String, expected: String) {
        var out = ByteBuffer()
        QuotedPrintable.write(text, to: &out)
        #expect(String(buffer: out).utf8.elementsEqual(expected.utf8))
    }

    @Test(arguments: [
        ("application/pdf", true), ("image/svg+xml", true), ("text", false), ("multipart/mixed", false),
        ("message/rfc822", false),
        ("a/b/c", false), ("/b", false), ("a/", false), ("a/b; c", false), ("a/b\r\nX: y", false),
        ("a/\u{301}b", false),
    ])
    func mediaTypes(text: String, isOne: Bool) { #expect(ComposedMessage.isMediaType(text) == isOne) }

    @Test(arguments: [
        ("X-A", true), ("List-Unsubscribe", true), ("from", false), ("BCC", false), ("Message-ID", false), ("", false),
        ("X A", false), ("X:", false), ("X\r\nY", false), ("X\u{301}", false),
        (String(repeating: "x", count: 77), false),
    ])
    func namesOfFields(name: String, isOne: Bool) { #expect(ComposedMessage.isFieldName(name) == isOne) }

    @Test func nothingBreaksOut() throws {
        let evil = "x\r\n\r\n--b\r\nBcc: evil@x.example\r\n.\r\n"
        let from = try #require(EmailAddress("a@x.example"))
        var message = ComposedMessage(from: Mailbox(name: evil, address: from))
        message.to = [Mailbox(name: "\u{FC}" + evil, address: from)]
        message.subject = evil
        message.fields = [("X-A", evil)]
        message.text = evil
        message.html = evil
        message.attachments = [
            ComposedMessage.Attachment(name: "\"\r\n" + evil, type: "a/b", bytes: Array(evil.utf8)),
            ComposedMessage.Attachment(name: "\u{FC}.png", type: "image/png", bytes: [], contentID: "c@x"),
        ]
        let bytes = Array(message.make().readableBytesView)
        #expect(bytes.allSatisfy { $0 < 0x80 && $0 != 0 })
        let header = Array(bytes[..<bytes.withUnsafeBytes { HeaderBlock.size(in: $0) }])
        let names = HeaderFields(header).fields.map(\.name)
        #expect(names == ["from", "to", "subject", "x-a", "mime-version", "content-type"])
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        #expect(lines.dropLast().allSatisfy { $0.last == UInt8(ascii: "\r") && $0.count <= 999 })
        #expect(!lines.contains { $0.elementsEqual(".\r".utf8) })
    }
}

struct HarmlessTextTests {
    @Test(arguments: [
        ("a  b\r\nc", "a b c"), (" a ", "a"), ("\u{1B}[31m", "[31m"), ("a\u{202E}b\u{FEFF}", "ab"),
        ("\u{85}\u{2028}", ""),
        ("0123456789abc", "0123456789..."), ("012345678\u{FC}", "012345678..."), ("e\u{301}", "e\u{301}"),
    ])
    func isOneBoundedLine(text: String, expected: String) {
        #expect(HarmlessText.line(text, limit: 10).utf8.elementsEqual(expected.utf8))
    }

    @Test(arguments: [
        ("a+2Bb", "a+b"), ("+", "+"), ("+2", "+2"), ("+zz", "+zz"), ("+C3+BC", "\u{FC}"), ("+2\u{301}B", "+2\u{301}B"),
    ])
    func xtext(text: String, expected: String) { #expect(Xtext.decode(text).utf8.elementsEqual(expected.utf8)) }

    @Test(arguments: [
        (Int64(0), "Thu, 1 Jan 1970 00:00:00 +0000"), (-1, "Wed, 31 Dec 1969 23:59:59 +0000"),
        (951_782_400_000, "Tue, 29 Feb 2000 00:00:00 +0000"), (1_795_370_400_000, "Sun, 22 Nov 2026 18:00:00 +0000"),
    ])
    func dates(milliseconds: Int64, text: String) {
        #expect(MailDate.text(Timestamp(milliseconds: milliseconds)) == text)
    }

    @Test(arguments: [Int64.min, Int64.max]) func datesOfNoCalendarAreText(milliseconds: Int64) {
        #expect(!MailDate.text(Timestamp(milliseconds: milliseconds)).isEmpty)
    }
}
