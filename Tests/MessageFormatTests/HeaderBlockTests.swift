// HeaderBlockTests.swift — what is found in a header, where it ends, and that pieces make no difference.

import MessageFormat
import NIOCore
import TestSupport
import Testing

struct HeaderBlockTests {
    struct Facts: Equatable {
        var hasMessageID = false
        var hasDate = false
        var received = 0
        var ended = false
        var isMissing = false
        var isMailbox = false
    }

    private static func scan(_ text: [UInt8], size: Int, limit: Int = 1 << 20) -> (facts: Facts, isTooLarge: Bool) {
        var header = HeaderBlock(limit: limit)
        for start in stride(from: 0, to: text.count, by: size) {
            text[start..<min(text.count, start + size)].withUnsafeBytes { header.consume($0) }
        }
        let facts = Facts(
            hasMessageID: header.hasMessageID,
            hasDate: header.hasDate,
            received: header.receivedCount,
            ended: header.hasEnded,
            isMissing: header.isMissing,
            isMailbox: header.beginsAsMailbox
        )
        return (facts, header.isTooLarge)
    }

    @Test(arguments: [
        ("Date: x\r\nMessage-ID: <a@b>\r\n\r\n", Facts(hasMessageID: true, hasDate: true, ended: true)),
        ("DATE:\r\nmessage-id :x\r\n\r\n", Facts(hasMessageID: true, hasDate: true, ended: true)),
        ("Dates: x\r\nXDate: x\r\nMessage-I: y\r\nMessage-IDs: z\r\n\r\n", Facts(ended: true)),
        (
            "Received: a\r\n\tb\r\nX: Received: c\r\n Received: d\r\nreceived: e\r\n\r\n",
            Facts(received: 2, ended: true)
        ),
        ("Subject: x\r\n\r\nDate: in the body\r\n", Facts(ended: true)),
        ("Subject: x\r\nDate: y\r\n", Facts(hasDate: true)),
        ("no header\r\nDate: y\r\n\r\n", Facts(ended: true, isMissing: true)),
        ("hello\r\n", Facts(ended: true, isMissing: true)),
        (" folded first\r\nDate: y\r\n", Facts(ended: true, isMissing: true)),
        (": nameless\r\n", Facts(ended: true, isMissing: true)),
        ("X: y\r\nnot a field\r\nDate: z\r\n\r\n", Facts(ended: true)),
        ("\r\nDate: in the body\r\n", Facts(ended: true)),
        ("", Facts()),
        ("From a Sun Nov 22 10:00:00 2026\r\nDate: y\r\n\r\n", Facts(hasDate: true, ended: true, isMailbox: true)),
        (">From a\r\n\tb\r\n>>From c\r\nMessage-ID: y\r\n", Facts(hasMessageID: true, isMailbox: true)),
        ("From \r\nReceived: y\r\n", Facts(received: 1, isMailbox: true)),
        ("From a\r\n\r\nDate: y\r\n", Facts(ended: true, isMissing: true)),
        ("From a\r\nto b\r\nDate: y\r\n", Facts(ended: true, isMissing: true)),
        ("From a\r\n", Facts(isMissing: true)),
        ("From : a\r\nDate: x\r\n", Facts(hasDate: true)),
        ("Date: x\r\nFrom a\r\nReceived: y\r\n", Facts(hasDate: true, ended: true)),
        ("FROM a\r\nDate: y\r\n", Facts(ended: true, isMissing: true)),
        ("From\ta\r\nDate: y\r\n", Facts(ended: true, isMissing: true)),
        ("Fromage a\r\nDate: y\r\n", Facts(ended: true, isMissing: true)),
        ("X>From a\r\nDate: y\r\n", Facts(ended: true, isMissing: true)),
        ("__proto__: x\r\nconstructor: y\r\n\r\n", Facts(ended: true)),
    ])
    func finds(text: String, facts: Facts) {
        for size in 1...20 { #expect(Self.scan(Array(text.utf8), size: size).facts == facts, "pieces of \(size)") }
    }

    /// What stands before the bar is the header; how it ended, and what is the text's.
    @Test(arguments: [
        ("A: b\r\n|\r\nc\r\n", HeaderBlock.End.emptyLine), ("A: b\r\n|no field\r\n\r\nc\r\n", .text),
        ("A: b\r\n|n\r\n", .text), ("A: b\r\n c\r\n|d e: f\r\n", .text), ("A: b\r\n|: c\r\n", .text),
        ("A: b\r\n|\u{FC}: c\r\n", .text), ("A: b\r\n|From c\r\n", .text), ("|text\r\n", .text),
        ("|\r\nA: b\r\n", .emptyLine), ("A: b\r\n|", nil), ("A: b\r\nC :\r\n|", nil), ("|", nil),
        ("From a\r\nA: b\r\n|\r\n", .emptyLine), ("|From a\r\n\r\n", .text), ("|From a\r\nb\r\n", .text),
        ("From a\r\nA: b\r\n|c\r\n", .text),
    ])
    func endsWhereTheTextBegins(text: String, end: HeaderBlock.End?) {
        let parts = text.utf8.split(separator: UInt8(ascii: "|"), omittingEmptySubsequences: false).map(Array.init)
        let message = parts[0] + parts[1]
        for cut in 1...max(1, message.count) {
            var header = HeaderBlock(limit: 1000)
            for start in stride(from: 0, to: message.count, by: cut) {
                message[start..<min(message.count, start + cut)].withUnsafeBytes { header.consume($0) }
            }
            #expect(header.end == end && header.size == parts[0].count, "pieces of \(cut)")
        }
        #expect(message.withUnsafeBytes { HeaderBlock.size(in: $0) } == parts[0].count)
    }

    @Test func aHeaderHasALimitAndABodyHasNone() {
        let field = Array("X: 0123456789\r\n".utf8)
        let body = Array(repeating: UInt8(ascii: "b"), count: 10_000)
        for size in [1, 7, 4096] {
            #expect(!Self.scan(field + field + [13, 10] + body, size: size, limit: 30).isTooLarge)
            #expect(Self.scan(field + field + field + [13, 10], size: size, limit: 44).isTooLarge)
            #expect(Self.scan(Array(repeating: UInt8(ascii: "n"), count: 1000), size: size, limit: 99).isTooLarge)
        }
    }

    @Test func cuttingMakesNoDifference() {
        var random = SeededRandom(seed: 5322)
        let parts = ["Date", "Received", "Message-ID", ":", " ", "\t", "\r\n", "\r\n", "x", ": y\r\n", "\u{FC}"]
        for _ in 0..<Effort.count(3000) {
            var text: [UInt8] = []
            for _ in 0..<Int.random(in: 0...12, using: &random) {
                text += Array((parts.randomElement(using: &random) ?? "").utf8)
            }
            let whole = Self.scan(text, size: 1000, limit: 60)
            let pieces = Self.scan(text, size: Int.random(in: 1...5, using: &random), limit: 60)
            #expect(whole.facts == pieces.facts && whole.isTooLarge == pieces.isTooLarge, "\(text)")
        }
    }
}
