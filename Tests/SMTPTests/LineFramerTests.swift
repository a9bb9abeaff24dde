// LineFramerTests.swift — CRLF and nothing else, in bounded memory, in step again after every fault.

import NIOCore
import TestSupport
import Testing

@testable import SMTP

struct LineFramerTests {
    /// Lines as text, faults as `!` and their name.
    static func frames(_ wire: [UInt8], size: Int, limit: Int = 20) -> (frames: [String], held: Int) {
        var framer = LineFramer(limit: limit)
        var buffer = ByteBuffer()
        var frames: [String] = []
        var held = 0
        for start in stride(from: 0, to: wire.count, by: size) {
            buffer.writeBytes(wire[start..<min(wire.count, start + size)])
            reading: while true {
                switch framer.next(&buffer) {
                case .incomplete: break reading
                case .refused(let fault): frames.append("!\(fault)")
                case .line(let length):
                    frames.append(buffer.readString(length: length) ?? "?")
                    buffer.moveReaderIndex(forwardBy: framer.lineEnd)
                }
            }
            held = max(held, buffer.readableBytes)
        }
        return (frames, held)
    }

    @Test(arguments: [
        ("a\r\nbc\r\n\r\n", ["a", "bc", ""]),
        ("a\nb\r\nc\r\n", ["!bareLineEnding", "!bareLineEnding", "c"]),
        ("a\rb\r\nc\r\n", ["!bareLineEnding", "c"]),
        ("a\r\r\nc\r\n", ["!bareLineEnding", "c"]),
        ("a\0\r\nc\r\n", ["!bareLineEnding", "c"]),
        ("\n\n\r\nc\r\n", ["!bareLineEnding", "!bareLineEnding", "!bareLineEnding", "c"]),
        ("123456789012345678\r\nc\r\n", ["123456789012345678", "c"]),
        ("1234567890123456789\r\nc\r\n", ["!tooLong", "c"]),
        ("12345678901234567890123456789\r\nc\r\n", ["!tooLong", "c"]),
        ("12345678901234567890123456789\nx\r\nc\r\n", ["!bareLineEnding", "!bareLineEnding", "c"]),
        ("unfinished", []),
        ("unfinished\r", []),
    ])
    func frames(wire: String, expected: [String]) {
        for size in 1...40 {
            #expect(Self.frames(Array(wire.utf8), size: size).frames == expected, "pieces of \(size)")
        }
    }

    @Test func neverHoldsMoreThanALine() {
        let (frames, held) = Self.frames(Array(repeating: 0x61, count: 100_000), size: 7)
        #expect(frames.isEmpty)
        #expect(held < 20)
    }

    @Test func cuttingMakesNoDifference() {
        var random = SeededRandom(seed: 7)
        let alphabet = Array("\r\n\r\nab\0".utf8)
        for _ in 0..<Effort.count(3000) {
            let wire = (0..<Int.random(in: 0...60, using: &random)).map { _ in
                alphabet.randomElement(using: &random) ?? 0
            }
            let whole = Self.frames(wire, size: 100).frames
            let pieces = Self.frames(wire, size: Int.random(in: 1...9, using: &random)).frames
            #expect(whole == pieces, "\(wire)")
        }
    }
}
