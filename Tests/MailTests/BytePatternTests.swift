// BytePatternTests.swift — what a regular expression finds, what is refused, and that nothing makes it slow.

import TestSupport
import Testing

@testable import Mail

@Suite struct BytePatternTests {
    @Test(arguments: [
        ("too many", "421 Too Many connections", true), ("too  many", "too many", false), ("", "x", true),
        ("^421", "421 x", true), ("^21", "421 x", false), ("x$", "421 x", true), ("1$", "421 x", false),
        ("a.c", "abc", true), ("a.c", "ac", false), ("(ab|cd)+e", "xababcde", true), ("(ab|cd)+e", "xabe", true),
        ("(ab|cd)+e", "xe", false), ("a{2,3}b", "aab", true), ("^a{2,3}b", "ab", false), ("^a{2,3}b", "aaaab", false),
        ("^a{2}$", "aa", true), ("^a{2,}$", "aaaaa", true), ("^a{2,}$", "a", false), ("[a-c]x", "BX", true),
        ("[^a-c]x", "bx", false), ("[]x]y", "]y", true), ("[a-]b", "-b", true), ("[\\d.]+$", "1.2.3", true),
        ("\\d{3} 4\\.7\\.", "421 4.7.0", true), ("\\bip\\b", "your IP address", true), ("\\bip\\b", "ship", false),
        ("(a|)b", "b", true), ("(?:a|b)c", "bc", true), ("a?b?c", "c", true), ("\\[1\\]", "[1]", true),
        ("a|b|c", "c", true),
        ("(a*)*b", "b", true), ("(a*)+$", "", true), ("\\s\\S", " x", true), ("\\w\\W", "a-", true),
        ("é", "caf\u{e9}", true),
        ("^caf..$", "caf\u{e9}", true),
    ])
    func finds(_ pattern: String, _ text: String, _ isFound: Bool) throws {
        #expect(try BytePattern(pattern).fits(text) == isFound)
    }

    @Test(arguments: [
        "(", ")", "a)", "[", "[a", "[z-a]", "*", "a|*", "^*", "a{", "a{2", "a{3,2}", "a{101}", "\\", "\\q", "\\1",
        "(?=a)",
        "((a{100}){100}){100}", String(repeating: "(", count: 30) + String(repeating: ")", count: 30),
    ])
    func refuses(_ pattern: String) { #expect(throws: BytePattern.Mistake.self) { try BytePattern(pattern) } }

    /// What takes others an age, counted in steps: a text twice as long takes twice as many.
    @Test(arguments: ["(a*)*b", "(a|a)*b", "(a?){50}a{50}b", "(.*)(.*)(.*)x", "(a+)+$"])
    func isLinear(_ pattern: String) throws {
        let pattern = try BytePattern(pattern)
        #expect(pattern.program.count < 300)
        #expect(!pattern.fits(octets: Array(repeating: UInt8(ascii: "a"), count: 20_000) + [0x21]))
    }

    @Test func anyTextIsReadOrRefused() {
        var random = SeededRandom(seed: 5)
        let alphabet = Array("ab()[]{}|*+?^$\\-,.12d".utf8)
        for _ in 0..<2000 {
            let octets = (0..<Int.random(in: 0...12, using: &random)).map { _ in
                alphabet.randomElement(using: &random) ?? 0
            }
            guard let pattern = try? BytePattern(String(decoding: octets, as: UTF8.self)) else { continue }
            _ = pattern.fits("ab1d-ab")
        }
    }

    @Test func aReplyIsMatchedWithItsCodes() throws {
        let pattern = ReplyPattern.text(try BytePattern("^421 4\\.7\\.0 .*tss04"))
        #expect(pattern.fits(Reply(421, EnhancedStatus(4, 7, 0), lines: ["one", "[TSS04] two"]), kinds: []))
        #expect(!pattern.fits(Reply(421, nil, "TSS04"), kinds: []))
    }
}
