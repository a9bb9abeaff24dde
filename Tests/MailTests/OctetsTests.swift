// OctetsTests.swift — text as octets, where Characters would see something else.

import Mail
import Testing

@Suite struct OctetsTests {
    @Test func aCombiningMarkHidesNoPrefix() {
        let text = "@env:\u{301}PATH"
        #expect(!text.hasPrefix("@env:"))
        #expect(text.starts(withOctets: "@env:"))
        #expect(text.rest(behind: "@env:").map { Array($0.utf8) } == [0xCC, 0x81] + Array("PATH".utf8))
        #expect(text.rest(behind: "@file:") == nil)
    }

    @Test func aCombiningMarkHidesNoSeparator() {
        #expect("a,\u{301}b".split(octet: ",").count == 2)
        #expect("a\r\nb".contains(octet: "\n"))
        #expect("../\u{301}x".split(octet: "/").first == "..")
        #expect("a=\u{301}b".firstIndex(ofOctet: "=") != nil)
        #expect(" \u{301}x".words.map { Array($0.utf8) } == [[0xCC, 0x81, 0x78]])
    }

    @Test func canonicalEquivalenceIsNotTheSame() {
        #expect("\u{e9}" == "e\u{301}")
        #expect(!"\u{e9}".isSame(octets: "e\u{301}"))
    }

    @Test(arguments: [
        ("abc", "", true), ("abc", "c", true), ("abc", "bd", false), ("aab", "ab", true), ("", "a", false),
        ("", "", true),
    ])
    func finds(text: String, wanted: String, isThere: Bool) { #expect(text.contains(octets: wanted) == isThere) }

    @Test func cutsEnds() {
        #expect("queue.eml".rest(before: ".eml") == "queue")
        #expect("queue.eml".rest(before: ".txt") == nil)
        #expect("eml".rest(before: ".eml") == nil)
        #expect(" \ta b\t ".trimmed == "a b")
        #expect("  ".trimmed.isEmpty)
        #expect("*.a".dropping(octets: 2) == "a")
        #expect("a..b".split(octet: ".", omittingEmpty: false) == ["a", "", "b"])
        #expect("a.b.c".split(octet: ".", maxSplits: 1) == ["a", "b.c"])
        #expect("\u{c9}A".lowercasedASCII == "\u{c9}a")
    }
}
