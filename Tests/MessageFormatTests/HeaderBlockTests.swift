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
            isMissing: header.isMissing
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
        ("__proto__: x\r\nconstructor: y\r\n\r\n", Facts(ended: true)),
    ])
    func finds(text: String, facts: Facts) {
        for size in 1...20 { #expect(Self.scan(Array(text.utf8), size: size).facts == facts, "pieces of \(size)") }
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
