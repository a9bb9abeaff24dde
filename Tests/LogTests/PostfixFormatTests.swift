// PostfixFormatTests.swift — our lines in the words of Postfix, and addresses that are not to be read.

import Testing

@testable import Log

@Suite struct PostfixFormatTests {
    private func translated(_ line: String) -> [String] {
        String(decoding: PostfixFormat().translate(Array("\(line)\n".utf8)), as: UTF8.self)
            .split(separator: "\n").map { String($0.split(separator: " postfix/", maxSplits: 1).last ?? "") }
            .map { text in text.replacing("[", with: "\u{0}", maxReplacements: 1) }
            .map { text in String(text.split(separator: "\u{0}")[0]) + String(text.drop { $0 != "]" }.dropFirst()) }
    }

    @Test func aDeliveryIsALineOfSMTP() {
        let line =
            #"2026-11-22T18:00:00.131Z notice delivered id=1kdh to=a@example.com mx=mx1.example.com:25 "#
            + #"reply="250 2.0.0 Ok \"x\"" delay_s=0.008"#
        #expect(
            translated(line) == [
                "smtp: 1kdh: to=<a@example.com>, relay=mx1.example.com[mx1.example.com]:25, delay=0.008, "
                    + #"delays=0/0/0/0.008, dsn=2.0.0, status=sent (250 2.0.0 Ok "x")"#
            ]
        )
    }

    @Test func aCombiningMarkHidesNoEqualsSign() {
        let line =
            "2026-11-22T18:00:00.131Z notice bounced id=1 to=\u{301}a@b mx=\"\u{301}h\" reply=\"550 5.1.1 no\""
        #expect(translated(line).first?.contains("dsn=5.1.1, status=bounced (550 5.1.1 no)") == true)
    }

    @Test func aReplyWithoutAnEnhancedStatusGetsOne() {
        let line = #"2026-11-22T18:00:00.131Z notice bounced id=1 to=a@b mx=- reply="550 no such user""#
        #expect(translated(line).first?.contains("dsn=5.0.0, status=bounced (550 no such user)") == true)
    }

    @Test func anAcceptedMessageHasItsThreeLines() {
        let line =
            #"2026-11-22T18:00:00.1Z notice message accepted id=1 from="" recipients=3 size=512 client=192.0.2.1"#
        let found = translated(line)
        #expect(found.count == 3)
        #expect(found.first == "smtpd: 1: client=unknown[192.0.2.1]")
        #expect(found.last == "qmgr: 1: from=<>, size=512, nrcpt=3 (queue active)")
    }

    @Test func otherLinesKeepWhatTheySay() {
        #expect(
            translated(#"2026-11-22T18:00:00.1Z error spool problem reason="a b""#)
                == [#"master: warning: spool problem: reason="a b""#]
        )
        #expect(translated("garbage") == [])
    }

    @Test func addressesLoseTheirLocalPartEverywhere() {
        let domain = AddressPrivacy.domain
        #expect(domain.redacted("550 <a.b+c@example.com> unknown, try b@x") == "550 <…@example.com> unknown, try …@x")
        #expect(domain.redacted(#"to "odd one"@example.com"#) == "to …@example.com")
        #expect(domain.redacted("@") == "@")
        #expect(domain.redacted("12:30 @ noon") == "12:30 @ noon")
        let hash = AddressPrivacy.hash { "\($0.count)abcdefghijklmnop" }
        #expect(hash.redacted("A@Example.com") == "#13abcdefghij@Example.com")
    }
}
