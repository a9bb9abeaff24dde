// TraceHeadersTests.swift — Received to the letter, and that no client can write into it.

import Mail
import MessageFormat
import NIOCore
import Testing

struct TraceHeadersTests {
    private func write(
        comment: String? = "Martlet outbound",
        before message: String = "Date: x\r\nMessage-ID: y\r\n\r\n",
        _ change: (inout TraceHeaders.Facts) -> Void = { _ in }
    ) -> String {
        var facts = TraceHeaders.Facts(
            id: QueueID(rawValue: 1),
            at: Timestamp(milliseconds: 1_795_370_400_000),
            me: "relay.example",
            helo: "client.example",
            clientLiteral: "[192.0.2.1]",
            with: TraceHeaders.Transport(),
            onlyRecipient: EmailAddress("b@x.example")
        )
        change(&facts)
        var header = HeaderBlock(limit: 1000)
        Array(message.utf8).withUnsafeBytes { header.consume($0) }
        var output = ByteBuffer()
        var trace = TraceHeaders(comment: comment)
        trace.write(facts, header: header, to: &output)
        return String(buffer: output)
    }

    @Test func tellsWhereAMessageCameFrom() {
        let expected = """
            Received: from client.example ([192.0.2.1])\r
            \tby relay.example (Martlet outbound) with ESMTP id 0000000000001\r
            \tfor <b@x.example>;\r
            \t\(MailDate.text(Timestamp(milliseconds: 1_795_370_400_000)))\r

            """
        #expect(write() == expected)
        for (isUTF8, isSecure, isAuthenticated, name) in [
            (false, false, false, "ESMTP"), (false, true, false, "ESMTPS"), (false, false, true, "ESMTPA"),
            (false, true, true, "ESMTPSA"), (true, false, false, "UTF8SMTP"), (true, true, true, "UTF8SMTPSA"),
        ] {
            let way = TraceHeaders.Transport(isUTF8: isUTF8, isSecure: isSecure, isAuthenticated: isAuthenticated)
            #expect(write { $0.with = way }.contains(" with \(name) id "))
        }
        #expect(write { $0.with = TraceHeaders.Transport(isExtended: false) }.contains(" with SMTP id "))
        #expect(!write { $0.onlyRecipient = nil }.contains("for <"))
        #expect(write(comment: "Our house").contains(" (Our house) with "))
        #expect(write(comment: nil) == "", "no line of ours")
        #expect(write { $0.helo = nil }.hasPrefix("Received: by relay.example (Martlet outbound) id "))
    }

    @Test(arguments: ["a)b(c", "a\r\nX: y", "a;b", "a\"b\\c", "\u{E9}", "a<b>@c", "a\0b"])
    func aNameCannotForgeTheTrace(name: String) {
        let text = write { $0.helo = name }
        #expect(text.split(separator: "\r\n").count == 4)
        let shown = text.dropFirst("Received: from ".count).prefix { $0 != " " }
        #expect(shown.utf8.count == name.utf8.count)
        #expect(
            shown.utf8.allSatisfy {
                (0x30...0x5D).contains($0) || (0x5F...0x7A).contains($0) || $0 == 0x2D || $0 == 0x2E
            }
        )
        #expect(shown.contains("?"))
    }

    /// Whatever a message begins with: what we put in front is a header, and what was one stays one.
    @Test(arguments: [
        ("Date: x\r\nMessage-ID: y\r\n\r\nz\r\n", ""), ("text\r\n", "\r\n"), (" folded\r\nDate: x\r\n", "\r\n"),
        ("\r\ntext\r\n", ""), ("From a\r\nDate: x\r\n\r\n", "X-Mailbox-Line: "), ("From a\r\n", "\r\n"),
        ("From a\r\n\r\n", "\r\n"), ("From now on\r\nall is text\r\n", "\r\n"), ("Date: x\r\nno field\r\n", ""),
    ])
    func endsAsTheMessageNeedsIt(message: String, end: String) {
        let text = write(comment: nil, before: message)
        var expected = ""
        if !message.contains("Message-ID") || message.first == "\r\n" {
            expected += "Message-ID: <0000000000001@relay.example>\r\n"
        }
        if !message.contains("Date: x") || message.first == " " {
            expected += "Date: \(MailDate.text(Timestamp(milliseconds: 1_795_370_400_000)))\r\n"
        }
        #expect(text == expected + end)
    }
}
