// MailTests.swift — the nouns: what is parsed, what is refused, what is printed.

import Mail
import Testing

@Suite struct EmailAddressTests {
    @Test(arguments: [
        "a@b.test", "first.last+tag@sub.example.org", "\"quoted @ local\"@b.test", "x@[192.0.2.1]",
        "x@[IPv6:2001:db8::1]",
        "o'brien@b.test", "пример@xn--e1afmkfd.xn--p1ai", "\"a\\\"b\"@b.test",
    ]) func readsAndPrintsTheSame(_ text: String) throws {
        #expect(EmailAddress(text)?.description == text)
    }

    @Test(arguments: [
        "", "@", "a@", "@b.test", "a", "a@b@c.test", ".a@b.test", "a.@b.test", "a..b@b.test", "a b@b.test", "a@b..test",
        "a@-b.test", "a@b-.test", "\"a@b.test", "\"a\"b@b.test", "a@[1.2.3]", "a@[IPv6:zz]", "a\r\n@b.test",
        "a@b\u{0}.test", "\"a\u{7}\"@b.test", "a@b_.test.", "a@\(String(repeating: "x", count: 64)).test",
    ]) func refuses(_ text: String) {
        // The last but one is allowed: an underscore and one trailing dot.
        #expect((EmailAddress(text) == nil) == (text != "a@b_.test."))
    }

    @Test func lowersTheDomainOnly() {
        #expect(EmailAddress("MiXed@ExAmple.ORG.")?.description == "MiXed@example.org")
    }
}

@Suite struct IPAddressTests {
    @Test(arguments: ["127.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "::", "2001:db8::a:1"])
    func readsAndPrintsTheSame(_ text: String) { #expect(IPAddress(text)?.description == text) }

    @Test(arguments: ["", "1.2.3", "1.2.3.4.5", "::g", "[::1]", "1.2.3.4/8", "127.1"])
    func refuses(_ text: String) { #expect(IPAddress(text) == nil) }

    @Test func mappedAddressIsTheIPv4Address() {
        #expect(IPAddress("::ffff:10.1.2.3") == IPAddress("10.1.2.3"))
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.1", false), ("0.0.0.0/0", "8.8.8.8", true),
        ("0.0.0.0/0", "::1", false), ("::/0", "2001:db8::1", true), ("2001:db8::/32", "2001:db9::1", false),
        ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false), ("fe80::/10", "febf::1", true),
        // As everybody pastes them from Postfix.
        ("[::ffff:127.0.0.0]/104", "127.255.0.1", true), ("[::ffff:127.0.0.0]/104", "128.0.0.1", false),
        ("::ffff:10.1.2.0/120", "10.1.2.255", true), ("::ffff:10.1.2.0/120", "10.1.3.0", false),
        ("::ffff:10.1.2.3", "10.1.2.3", true), ("::ffff:0:0/96", "8.8.8.8", true), ("[::1]/128", "::1", true),
        ("[2001:db8::]/32", "2001:db8:9::", true), ("[::1]", "::1", true),
    ]) func networkContains(_ network: String, _ address: String, _ expected: Bool) throws {
        #expect(try #require(IPNetwork(network)).contains(try #require(IPAddress(address))) == expected)
    }

    @Test(arguments: [
        "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/+8", "x/8", "::ffff:10.0.0.0/95", "[10.0.0.0]/8",
        "[::1/128]", "[]/8",
    ])
    func refusesNetwork(_ text: String) { #expect(IPNetwork(text) == nil) }
}

@Suite struct QueueIDTests {
    @Test func textIsThirteenLettersAndReadsBack() {
        for value: UInt64 in [0, 1, .max, 0x0123_4567_89AB_CDEF] {
            let id = QueueID(rawValue: value)
            #expect(id.description.utf8.count == 13)
            #expect(QueueID(id.description) == id)
        }
        #expect(QueueID("zzzzzzzzzzzzz") == nil)
        #expect(QueueID("short") == nil)
    }

    @Test func neverRunsBackwards() {
        let first = QueueID(at: Timestamp(milliseconds: 1000))
        #expect(first.next(at: Timestamp(milliseconds: 0)) > first)
        #expect(first.next(at: Timestamp(milliseconds: 1000)) > first)
        #expect(first.description < first.next(at: Timestamp(milliseconds: 2000)).description)
    }
}

@Suite struct MXTests {
    @Test(arguments: [
        ("mx.test", "mx.test:25"), ("mx.test:2525", "mx.test:2525"), ("192.0.2.1", "192.0.2.1:25"),
        ("192.0.2.1:26", "192.0.2.1:26"), ("[2001:db8::1]:27", "[2001:db8::1]:27"), ("2001:db8::1", "[2001:db8::1]:25"),
    ]) func readsTheStringForms(_ text: String, _ expected: String) {
        #expect(MX(parsing: text)?.description == expected)
    }

    @Test(arguments: ["", "mx.test:0", "mx.test:65536", "mx.test:", "mx test", "[::1", "mx.test:+1"])
    func refuses(_ text: String) { #expect(MX(parsing: text) == nil) }
}
