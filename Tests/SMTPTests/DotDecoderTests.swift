// DotDecoderTests.swift — transparency, the one end of a message, and indifference to how it was cut.

import NIOCore
import TestSupport
import Testing

@testable import SMTP

struct DotDecoderTests {
    struct Result: Equatable {
        var body: [UInt8] = []
        var rest: [UInt8] = []
        var ended = false
        var isClean = true
        var isTooLarge = false
        var hasLeadingDots = false
        var isEightBit = false
    }

    /// Decodes `text` cut into pieces of the given lengths, the last one repeated.
    static func decode(_ text: [UInt8], cuts: [Int], limit: Int = 1 << 20) -> Result {
        var decoder = DotDecoder(limit: limit)
        var (body, rest) = (ByteBuffer(), ByteBuffer())
        var (at, cut) = (0, 0)
        var ended = false
        while at < text.count {
            let size = max(1, cuts[min(cut, cuts.count - 1)])
            var piece = ByteBuffer(bytes: text[at..<min(text.count, at + size)])
            at += size
            cut += 1
            if !ended { ended = decoder.decode(&piece, into: &body) }
            rest.writeBuffer(&piece)
        }
        return Result(
            body: decoder.isClean && !decoder.isTooLarge ? Array(buffer: body) : [],
            rest: Array(buffer: rest),
            ended: ended,
            isClean: decoder.isClean,
            isTooLarge: decoder.isTooLarge,
            hasLeadingDots: decoder.hasLeadingDots,
            isEightBit: decoder.isEightBit
        )
    }

    /// The same by the letter of RFC 5321 §4.5.2, octet by octet and slowly.
    static func reference(_ text: [UInt8], limit: Int = 1 << 20) -> Result {
        var result = Result()
        var (line, index, size) = ([UInt8](), 0, 0)
        while index < text.count {
            line.append(text[index])
            index += 1
            guard line.suffix(2) == [13, 10] else { continue }
            if line == [46, 13, 10] {
                result.ended = true
                result.rest = Array(text[index...])
                line = []
                break
            }
            note(&line, &result)
            size += line.count
            result.body += line
            line = []
        }
        if !result.ended, !line.isEmpty {
            // A dot alone, or with CR, may still become the end.
            if line != [46], line != [46, 13] {
                let endsInCR = line.last == 13
                note(&line, &result, open: endsInCR)
                size += line.count
                result.body += line
            }
        }
        result.isTooLarge = size > limit
        if !result.isClean || result.isTooLarge { result.body = [] }
        return result
    }

    private static func note(_ line: inout [UInt8], _ result: inout Result, open: Bool = false) {
        for (place, byte) in line.enumerated() {
            let next = place + 1 < line.count ? line[place + 1] : open ? 10 : 0
            if byte == 13, next != 10 { result.isClean = false }
            if byte == 10, place == 0 || line[place - 1] != 13 { result.isClean = false }
            if byte == 0 { result.isClean = false }
            if byte > 127 { result.isEightBit = true }
        }
        if line.first == 46 { line.removeFirst() }
        if line.first == 46 { result.hasLeadingDots = true }
    }

    @Test(arguments: [
        ("a\r\n.\r\n", "a\r\n", ""),
        (".\r\n", "", ""),
        ("a\r\n..b\r\n.\r\nQUIT\r\n", "a\r\n.b\r\n", "QUIT\r\n"),
        ("...\r\n.\r\n", "..\r\n", ""),
        (".x\r\n.\r\n", "x\r\n", ""),
        ("\r\n.\r\n", "\r\n", ""),
    ])
    func takesTransparencyAway(wire: String, body: String, rest: String) {
        for size in 1...8 {
            let result = Self.decode(Array(wire.utf8), cuts: [size])
            #expect(result.ended)
            #expect(result.isClean)
            #expect(String(decoding: result.body, as: UTF8.self) == body)
            #expect(String(decoding: result.rest, as: UTF8.self) == rest)
        }
    }

    /// CVE-2023-51764, -51765, -51766, CVE-2023-52354, CVE-2024-27938: none of these ends a message.
    @Test(arguments: [
        "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\n.\r", "\r.\n", "\r.\r\n", "\r\n\0.\r\n", "\r\n.\0\r\n",
        "\r\n.\r\0\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\n .\r\n", "\r\n. \r\n", "\n\n.\n\n", "\r\n\n.\r\n",
        "\r\n.\n\r\n",
        "\n.\n\r\n", "\0\r\n.\n", "\r\n.\u{B}\r\n", "\r\n\t.\r\n",
    ])
    func nothingElseEndsAMessage(fake: String) {
        let smuggled = "MAIL FROM:<x@example.org>\r\n"
        let wire = Array("first\(fake)\(smuggled)\r\n.\r\nNOOP\r\n".utf8)
        for size in 1...wire.count {
            let result = Self.decode(wire, cuts: [size])
            #expect(result.ended)
            #expect(result.rest == Array("NOOP\r\n".utf8))
            let isPlain =
                !fake.contains("\0") && fake.replacing("\r\n", with: "").allSatisfy { $0 != "\r" && $0 != "\n" }
            #expect(result.isClean == isPlain)
        }
    }

    @Test func octetsBehindTheEndAreNotJudged() {
        let result = Self.decode(Array("plain\r\n.\r\n\0\n\r\u{FF}".utf8), cuts: [4096])
        #expect(result.isClean)
        #expect(!result.isEightBit)
    }

    @Test func keepsNothingBeyondTheLimitAndFindsTheEnd() {
        var decoder = DotDecoder(limit: 100)
        var body = ByteBuffer()
        var input = ByteBuffer(string: String(repeating: "0123456789\r\n", count: 1000) + ".\r\nQUIT\r\n")
        #expect(decoder.decode(&input, into: &body))
        #expect(decoder.isTooLarge)
        #expect(body.readableBytes <= 100)
        #expect(decoder.size == 12_000)
        #expect(String(buffer: input) == "QUIT\r\n")
    }

    @Test func agreesWithTheReferenceHoweverCut() {
        var random = SeededRandom(seed: 20_261_122)
        let alphabet = Array("\r\n..\r\n\r\n.ab\0\u{E9} ".utf8)
        for _ in 0..<Effort.count(1500) {
            var text: [UInt8] = []
            for _ in 0..<Int.random(in: 0...40, using: &random) {
                switch Int.random(in: 0..<12, using: &random) {
                case 0: text += Array("\r\n.\r\n".utf8)
                case 1: text += Array(repeating: 97, count: Int.random(in: 0...300, using: &random))
                case 2: text += Array("\r\n..".utf8)
                default: text.append(alphabet.randomElement(using: &random) ?? 0)
                }
            }
            let expected = Self.reference(text)
            let cuts = (0..<8).map { _ in Int.random(in: 1...300, using: &random) }
            #expect(Self.decode(text, cuts: [text.count]) == expected)
            #expect(Self.decode(text, cuts: cuts) == expected)
            if expected != Self.decode(text, cuts: cuts) { break }
        }
    }
}
