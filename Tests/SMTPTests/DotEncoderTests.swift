// DotEncoderTests.swift — transparency out: undoing it gives the message back, and nothing ends it too early.

import NIOCore
import SMTP
import TestSupport
import Testing

struct DotEncoderTests {
    private func encode(_ text: String, pieces: Int = .max, hasLeadingDots: Bool? = nil) -> String {
        let dots = hasLeadingDots ?? (text.hasPrefix(".") || text.contains("\n."))
        var encoder = DotEncoder(hasLeadingDots: dots)
        var out = ByteBuffer()
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            encoder.encode(ByteBuffer(bytes: rest.prefix(pieces)), into: &out)
            rest = rest.dropFirst(pieces)
        }
        encoder.finish(into: &out)
        return String(buffer: out)
    }

    @Test(arguments: [1, 2, 3, 1000])
    func stuffsLeadingDots(_ pieces: Int) {
        #expect(encode(".\r\n..\r\na.b\r\n.c\r\n", pieces: pieces) == "..\r\n...\r\na.b\r\n..c\r\n.\r\n")
    }

    @Test(arguments: [1, 2, 1000])
    func endsTheLastLine(_ pieces: Int) {
        #expect(encode("a", pieces: pieces) == "a\r\n.\r\n")
        #expect(encode("a\r\n", pieces: pieces) == "a\r\n.\r\n")
        #expect(encode("a\r", pieces: pieces) == "a\r\r\n.\r\n")
        #expect(encode("", pieces: pieces) == ".\r\n")
    }

    @Test func passesWhatHasNoDots() {
        #expect(encode("a\r\nb.\r\n", hasLeadingDots: false) == "a\r\nb.\r\n.\r\n")
    }

    @Test(arguments: 0..<300)
    func comesBackWhole(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let letters = [".", "\r\n", "a", "..", "\r\n."]
        var text = ""
        for _ in 0..<Int.random(in: 0..<40, using: &random) { text += letters.randomElement(using: &random) ?? "" }
        text += "\r\n"
        let wire = encode(text, pieces: Int.random(in: 1..<7, using: &random), hasLeadingDots: true)
        var lines = wire.components("\r\n")
        // What follows the last line end is nothing, and the line before it is the dot.
        #expect(lines.popLast() == "")
        #expect(lines.popLast() == ".")
        #expect(!lines.contains("."))
        let back = lines.map { $0.hasPrefix(".") ? String($0.dropFirst()) : $0 }.joined(separator: "\r\n") + "\r\n"
        #expect(back == text)
    }
}

extension String {
    fileprivate func components(_ separator: Character) -> [String] {
        split(separator: separator, omittingEmptySubsequences: false).map(String.init)
    }
}
