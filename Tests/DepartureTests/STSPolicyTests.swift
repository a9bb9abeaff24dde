// STSPolicyTests.swift — MTA-STS policies and their records as other people write them (RFC 8461 §3).

import Mail
import Testing

@testable import Departure

struct STSPolicyTests {
    @Test func readsTheExampleOfTheStandard() throws {
        let text =
            "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmx: backupmx.example.com\nmax_age: 604800\n"
        let policy = try #require(STSPolicy(parsing: text))
        #expect(policy.mode == .enforce)
        #expect(policy.maxAge == 604_800)
        #expect(policy.hosts == ["mail.example.com", "*.example.net", "backupmx.example.com"])
    }

    @Test(arguments: [
        ("mail.example.com", true), ("MAIL.example.COM", true), ("a.example.net", true), ("a.b.example.net", false),
        ("example.net", false), ("mail.example.com.evil.test", false), ("", false),
    ])
    func namesHosts(_ host: String, _ isNamed: Bool) throws {
        let text = "version: STSv1\r\nmode: testing\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 1\r\n"
        #expect(try #require(STSPolicy(parsing: text)).names(host) == isNamed)
    }

    @Test(arguments: [
        "", "version: STSv2\nmode: none\nmax_age: 1", "mode: enforce\nmx: a.test\nmax_age: 1",
        "version: STSv1\nmode: enforce\nmax_age: 1", "version: STSv1\nmode: perhaps\nmx: a.test\nmax_age: 1",
        "version: STSv1\nmode: enforce\nmx: a.test", "version: STSv1\nmode: enforce\nmx: a.test\nmax_age: -1",
        "version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 99999999999",
    ])
    func whatIsNoPolicyIsNone(_ text: String) { #expect(STSPolicy(parsing: text) == nil) }

    /// No part of the grammar, and no reason to go without the protection that was asked for.
    @Test(arguments: ["\u{FEFF}version: STSv1\nmode: enforce\nmx: a.test.\nmx: *.b.test.\nmax_age: 9\n"])
    func aByteOrderMarkAndTrailingDotsAreForgiven(_ text: String) throws {
        let policy = try #require(STSPolicy(parsing: text))
        #expect(policy.hosts == ["a.test", "*.b.test"])
        #expect(policy.names("a.test") && policy.names("x.b.test"))
    }

    @Test func theFirstOfTwoCountsAndStrangersAreSkipped() throws {
        let text = " version :STSv1\nmode: none\nmode: enforce\nsomething else\nx: y\nmax_age:\t99999999 \n"
        let policy = try #require(STSPolicy(parsing: text))
        #expect(policy.mode == .none)
        #expect(policy.maxAge == 31_557_600)
    }

    @Test(
        arguments: [
            (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"), (["v=STSv1;id=1"], "1"),
            (["other", "v=STSv1 ; x=1; id=2;"], "2"), (["v=STSv1; id=1;", "v=STSv1; id=2;"], nil), (["v=STSv1"], nil),
            (["v=STSv1;\u{301}x; id=2"], "2"), (["v=STSv1\u{37E} id=1"], nil), (["v=STSv1; id=\u{301}1"], nil),
            (["v=STSv1; id=a b"], nil), (["v=STSv10; id=1"], nil), ([" x v=STSv1; id=1"], nil), ([], nil),
            (["v=STSv1; id=\(String(repeating: "a", count: 33))"], nil),
        ] as [([String], String?)]
    )
    func readsTheRecord(_ records: [String], _ id: String?) { #expect(STSPolicy.id(in: records) == id) }

    @Test func theSignOfKelvinIsNoHost() throws {
        let policy = try #require(STSPolicy(parsing: "version: STSv1\nmode: testing\nmx: \u{212A}.test\nmax_age: 1\n"))
        #expect(!policy.names("k.test"))
    }

    @Test func keepsAPolicyWithItsTime() throws {
        let text = "version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 100\n"
        let now = Timestamp(milliseconds: 5000)
        let kept = try #require(KeptPolicy(parsing: Array("mta-sts 1 abc 5000\n\(text)".utf8), now: now))
        #expect(kept.id == "abc")
        #expect(kept.expires.milliseconds == 105_000)
        #expect(kept.bytes == Array("mta-sts 1 abc 5000\n\(text)".utf8))
        #expect(KeptPolicy(parsing: Array(text.utf8), now: now) == nil)
        #expect(KeptPolicy(parsing: [], now: now) == nil)
        // Of a time that has not come, or that is none: it would never age.
        for time in ["5001", "9223372036854775807", "-9223372036854775808", "-1", "1e3"] {
            #expect(KeptPolicy(parsing: Array("mta-sts 1 abc \(time)\n\(text)".utf8), now: now) == nil, "\(time)")
        }
    }
}
