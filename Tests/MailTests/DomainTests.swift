// DomainTests.swift — one normal form for a domain, however it was written.

import Mail
import Testing

struct DomainTests {
    @Test(arguments: [
        ("Example.ORG", "example.org"), ("example.org.", "example.org"), ("a_b.example", "a_b.example"),
        ("bücher.example", "xn--bcher-kva.example"), ("BÜCHER.Example.", "xn--bcher-kva.example"),
        ("bu\u{308}cher.example", "xn--bcher-kva.example"), ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("bücher。example", "xn--bcher-kva.example"), ("bücher.example。", "xn--bcher-kva.example"),
        ("ｅｘａｍｐｌｅ.org", "example.org"), ("straße.example", "xn--strae-oqa.example"),
        ("пример.рф", "xn--e1afmkfd.xn--p1ai"), ("_dmarc.bücher.example", "_dmarc.xn--bcher-kva.example"),
        ("[192.0.2.1]", "[192.0.2.1]"), ("[IPv6:2001:DB8::1]", "[IPv6:2001:db8::1]"),
    ])
    func hasOneNormalForm(text: String, name: String) {
        #expect(Domain(text)?.name == name)
        #expect(Domain(name)?.name == name)
    }

    @Test(arguments: [
        "", ".", "a..b", ".a", "-a.b", "a-.b", "a b", "a@b", "ü..example", "-ü.example", "ü-.example", "ü\0.example",
        "\u{200B}", "☃\u{301}\u{FFFF}.example", "ü/x.example", "℀.example", "[ü]", "[192.0.2.ü]",
        String(repeating: "a", count: 64), String(repeating: "ü", count: 64) + ".example",
        String(repeating: "bücher.", count: 40) + "example", String(repeating: "ü", count: 100_000),
    ])
    func refuses(text: String) { #expect(Domain(text) == nil) }

    @Test func isItselfWhicheverWayItWasWritten() throws {
        let names = try ["bücher.example", "bu\u{308}cher.example", "xn--bcher-kva.example"].map {
            try #require(Domain($0))
        }
        #expect(Set(names).count == 1)
        #expect(names[0].parent?.name == "example")
    }

    @Test func recordsOfOlderVersionsAreRead() {
        #expect(Domain(stored: "bücher.example").name == "xn--bcher-kva.example")
        #expect(Domain(stored: "example.org").name == "example.org")
        #expect(Domain(stored: "ü..example").name == "ü..example", "no DNS knows it")
    }

    @Test func addressesAreTheSameWhenTheirOctetsAre() throws {
        let one = try #require(EmailAddress("caf\u{E9}@bücher.example"))
        let two = try #require(EmailAddress("cafe\u{301}@xn--bcher-kva.example"))
        #expect(one != two)
        #expect(Set([one, two, one]).count == 2)
        #expect(one == EmailAddress("caf\u{E9}@BÜCHER.example."))
        #expect(!one.isASCII)
        #expect(try #require(EmailAddress("a@bücher.example")).isASCII, "any server takes it")
    }

    @Test(arguments: [
        ("ann@bücher.example", "ann@xn--bcher-kva.example", true, true),
        ("ann@xn--bcher-kva.example", "ann@bücher.example", true, true),
        ("bücher.example", "bob@xn--bcher-kva.example", true, true),
        ("bob@bücher.example", "ann@xn--bcher-kva.example", false, true),
        ("ann@bücher.example", "ann@bucher.example", false, false),
    ])
    func constraintsKnowBothSpellings(login: String, sender: String, byAddress: Bool, byDomain: Bool) throws {
        let path = ReversePath.address(try #require(EmailAddress(sender)))
        #expect(SenderConstraint.login.allows(path, by: login) == byAddress)
        #expect(SenderConstraint.domain.allows(path, by: login) == byDomain)
    }
}
