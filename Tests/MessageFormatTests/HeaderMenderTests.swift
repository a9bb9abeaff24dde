// HeaderMenderTests.swift — headers of this machine's programs and of old clients: what changes, and what stays to the octet.

import Mail
import Testing

@testable import MessageFormat

struct HeaderMenderTests {
    private static let me = Domain(unchecked: "relay.example")

    private static func mended(_ header: String, sender: String? = nil, isLenient: Bool = false) -> String? {
        let local = LocalMail(me: me, sender: sender.flatMap { EmailAddress($0) })
        return HeaderMender(local, isLenient: isLenient).mend(Array(header.utf8)).map {
            String(decoding: $0.header, as: UTF8.self)
        }
    }

    @Test(arguments: [
        ("From: root\r\n", "From: root@relay.example\r\n"),
        // As cron writes it.
        ("From: root (Cron Daemon)\r\n", "From: root@relay.example (Cron Daemon)\r\n"),
        ("From: \"Cron Daemon\" <root>\r\n", "From: \"Cron Daemon\" <root@relay.example>\r\n"),
        ("FROM : root\r\n", "FROM : root@relay.example\r\n"),
        ("To: root, ann@x.example,\r\n bob\r\n", "To: root@relay.example, ann@x.example,\r\n bob@relay.example\r\n"),
        ("Cc: staff: joe, ann@x.example;\r\n", "Cc: staff: joe@relay.example, ann@x.example;\r\n"),
        ("To: \"joe doe\"\r\n", "To: \"joe doe\"@relay.example\r\n"),
        ("To: joe(at home)\r\n", "To: joe@relay.example(at home)\r\n"),
        ("Reply-To: =?utf-8?q?J=C3=B6?= <joe>\r\n", "Reply-To: =?utf-8?q?J=C3=B6?= <joe@relay.example>\r\n"),
        ("Resent-To: joe\r\n", "Resent-To: joe@relay.example\r\n"),
        ("To: root, Ann <ann@x.example>\r\n", "To: root@relay.example, Ann <ann@x.example>\r\n"),
        ("From: \u{E9}ric\r\n", "From: \u{E9}ric@relay.example\r\n"),
    ])
    func completesAddresses(given: String, wanted: String) {
        #expect(Self.mended(given) == wanted)
        #expect(Self.mended(wanted) == nil)
        let field = "Subject: to root\r\n"
        #expect(Self.mended(field + given + field) == field + wanted + field)
    }

    @Test(arguments: [
        "From: ann@x.example\r\n", "To: undisclosed-recipients:;\r\n", "To: \r\n", "To: <>\r\n", "Subject: root\r\n",
        "X-To: root\r\n", "From: Doe, John <john@x.example>\r\n", "To: \"unclosed\r\n", "To: (unclosed\r\n",
        "To: a b c\r\n", "To: root@localhost\r\n", "Bcc: root\r\n", "Return-Path: root\r\n", "no field\r\n", "",
        "From root Sun Nov 22 10:00:00 2026\r\nSubject: x\r\n",
    ])
    func leavesWhatIsRightOrUnclear(header: String) { #expect(Self.mended(header) == nil) }

    @Test(arguments: [
        ("From: root (Cron Daemon)\r\n", "From: no@x.example (Cron Daemon)\r\n"),
        ("From: Cron <root@localhost>\r\n", "From: Cron <no@x.example>\r\n"),
        ("From: Cron <root@RELAY.example>\r\nTo: root\r\n", "From: Cron <no@x.example>\r\nTo: root@relay.example\r\n"),
        ("From: app@y.example\r\nSender: app\r\n", "From: app@y.example\r\nSender: no@x.example\r\n"),
    ])
    func sendsAsOneSender(given: String, wanted: String) {
        #expect(Self.mended(given, sender: "no@x.example") == wanted)
        #expect(Self.mended(wanted, sender: "no@x.example") == nil)
    }

    @Test func takesOutWhatALenientSessionMaySend() {
        let header = "From ann Sun Nov 22 10:00:00 2026\r\nBcc: a@x.example,\r\n b@x.example\r\nTo: c@x.example\r\n"
        #expect(Self.mended(header, isLenient: true) == "To: c@x.example\r\n")
        #expect(Self.mended(">From a\r\nResent-Bcc: d\r\nA: b\r\n", isLenient: true) == "A: b\r\n")
        #expect(Self.mended("Bcc: a@x.example\r\n", isLenient: true)?.isEmpty == true)
        let did = HeaderMender(LocalMail(me: Self.me), isLenient: true).mend(Array(header.utf8))?.did
        #expect(did == [.secret, .mailbox])
    }

    @Test func isTheSameForSendmail() {
        var message = PipedMessage(Array("From: root (Cron)\nTo: ann\n\nFrom: root\n".utf8), endsAtDot: false)
        message.completeAddresses(with: Self.me)
        let text = "From: root@relay.example (Cron)\r\nTo: ann@relay.example\r\n\r\nFrom: root\r\n"
        #expect(String(decoding: message.bytes, as: UTF8.self) == text)
    }
}
