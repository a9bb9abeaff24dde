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

    @Test func foldsTheCaseOfASCIIAlone() {
        #expect("\u{212A}".lowercased() == "k")
        #expect("o\u{212A}".lowercasedASCII != "ok")
        #expect("pla\u{131}n".uppercased() == "PLAIN")
        #expect("pla\u{131}n".uppercasedASCII != "PLAIN")
        #expect("plain-1".uppercasedASCII == "PLAIN-1")
    }

    @Test func aMarkBelongsToTheLineItStandsIn() {
        #expect("a\r\n\u{301}b\n\nc".filledLines.map { $0.utf8.count } == [1, 3, 1])
        #expect(" \t\u{301}a ".trimmedStart.utf8.count == 4)
        #expect("[::1]:\u{301}25".lastIndex(ofOctet: ":") != nil)
    }

    @Test(arguments: [("tls", nil), ("VERIFY", TLSLevel.verify), ("ver\u{131}fy", nil)])
    func levelsOfTLSAreWordsOfASCII(word: String, level: TLSLevel?) { #expect(TLSLevel(name: word) == level) }

    @Test func aMarkMovesNoBracket() {
        #expect(IPAddress(literal: "[IPv6:::1]") == IPAddress("::1"))
        #expect(IPAddress(literal: "[192.0.2.1]\u{301}") == nil)
        #expect(IPAddress(literal: "[\u{301}192.0.2.1]") == nil)
        #expect(IPNetwork("192.0.2.0/\u{301}8") == nil)
    }
}
