// SessionFormatTests.swift — clients that are refused, come and go, in Postfix's words; a row for each that readers know.

import Testing

@testable import Log

@Suite struct SessionFormatTests {
    private static let time = "2026-11-22T18:00:00.131Z notice"

    private static func translated(_ line: String) -> [String] {
        String(decoding: PostfixFormat().translate(Array("\(time) \(line)\n".utf8)), as: UTF8.self)
            .split(separator: "\n").map { String($0.split(separator: " postfix/", maxSplits: 1).last ?? "") }
    }

    @Test(arguments: [
        (
            #"client turned away client=[192.0.2.1] session=7 helo=c verb=RCPT from=a@x to=b@y reply="550 5.7.1 Relaying denied""#,
            "smtpd[7]: NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 550 5.7.1 <b@y>: Relay access denied; from=<a@x> "
                + "to=<b@y> proto=ESMTP helo=<c>"
        ),
        (
            #"client turned away client=[IPv6:2001:db8::1] session=7 verb=MAIL from="" reply="550 5.7.1 Sender domain is not one of ours""#,
            "smtpd[7]: NOQUEUE: reject: MAIL from unknown[2001:db8::1]: 550 5.7.1 <>: Sender address rejected: Access denied; "
                + "from=<> proto=SMTP"
        ),
        (
            #"client turned away client=[192.0.2.1] session=7 user=alice helo=c verb=MAIL from=a@x reply="553 5.7.1 Sender address does not belong to the login""#,
            "smtpd[7]: NOQUEUE: reject: MAIL from unknown[192.0.2.1]: 553 5.7.1 <a@x>: Sender address rejected: not owned by "
                + "user alice; from=<a@x> proto=ESMTP helo=<c>"
        ),
        (
            #"client turned away client=[192.0.2.1] session=7 helo=c verb=END-OF-MESSAGE from=a@x to=b@y reply="550 no thanks""#,
            "smtpd[7]: NOQUEUE: reject: END-OF-MESSAGE from unknown[192.0.2.1]: 550 5.0.0 <END-OF-MESSAGE>: no thanks; "
                + "from=<a@x> to=<b@y> proto=ESMTP helo=<c>"
        ),
        (
            #"client turned away client=[192.0.2.1] session=7 verb=UNKNOWN reply="421 4.7.0 Too many errors""#,
            "smtpd[7]: too many errors after UNKNOWN from unknown[192.0.2.1]"
        ),
        (
            #"client turned away client=[192.0.2.1] session=7 verb=CONNECT reply="554 5.5.0 Wait for the greeting before you speak""#,
            "smtpd[7]: improper command pipelining after CONNECT from unknown[192.0.2.1]: "
        ),
        (
            #"authentication refused client=[192.0.2.1] session=7 helo=c mechanism=LOGIN user=alice"#,
            "smtpd[7]: warning: unknown[192.0.2.1]: SASL LOGIN authentication failed: authentication failure, "
                + "sasl_username=alice"
        ),
        ("client connected client=[192.0.2.1] session=7", "smtpd[7]: connect from unknown[192.0.2.1]"),
        ("client disconnected client=[192.0.2.1] session=7", "smtpd[7]: disconnect from unknown[192.0.2.1]"),
        (
            "client lost client=[192.0.2.1] session=7 verb=DATA",
            "smtpd[7]: lost connection after DATA from unknown[192.0.2.1]"
        ),
        (
            "client timed out client=[192.0.2.1] session=7 verb=RCPT",
            "smtpd[7]: timeout after RCPT from unknown[192.0.2.1]"
        ),
    ])
    func speaksAsPostfixDoes(_ line: String, _ wanted: String) { #expect(Self.translated(line) == [wanted]) }

    @Test func aLineWithoutAClientBlamesNobody() {
        let found = Self.translated(#"client turned away verb=CONNECT reply="421 4.7.0 Too many connections""#)
        #expect(found.count == 1 && found.first?.contains("127.0.0.1") == false)
        #expect(
            Self.translated("client turned away again count=12").first?.hasSuffix("client turned away again: count=12")
                == true
        )
    }

    @Test func noNameOfAPeersEndsAValue() {
        let line =
            #"client turned away client=[192.0.2.1] session=7 helo=\#("\"x> from unknown[8.8.8.8]: <\"") verb=RCPT "#
        let found = Self.translated(line + #"from="a>[9.9.9.9]"@x to=b@y reply="550 5.7.1 Relaying denied""#).joined()
        #expect(!found.contains("[8.8.8.8]") && !found.contains("[9.9.9.9]"), "\(found)")
        #expect(found.contains("from unknown[192.0.2.1]: 550"))
    }

    @Test func aDeferralsDelayIsTheAgeOfTheMail() {
        let line = #"delivery deferred id=1 to=a@b mx=h:25 reply="451 4.4.1 no" delay_s=64.000 age_s=0.100"#
        #expect(Self.translated(line).first?.contains(" delay=0.100, delays=0/0/0/0.100, ") == true)
    }

    @Test func aLoginStandsOnItsMail() {
        let line = "message accepted id=1 from=a@b recipients=1 size=5 client=[192.0.2.1] user=alice mechanism=PLAIN"
        #expect(
            Self.translated(line).first?.hasSuffix(
                "1: client=unknown[192.0.2.1], sasl_method=PLAIN, sasl_username=alice"
            ) == true
        )
    }
}
