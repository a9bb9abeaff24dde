// OctetWriterTests.swift — lines composed in one go: whole, in order, never beyond their room.

import Mail
import NIOCore
import Testing

@Suite("Octet writer")
struct OctetWriterTests {
    private static func compose(_ expected: Int, _ write: (inout OctetWriter) -> Void) -> String {
        var buffer = ByteBuffer(string: ">")
        buffer.compose(expected, write)
        return String(buffer: buffer)
    }

    @Test("texts stand one behind the other", arguments: [0, 1, 5, 400])
    func order(expected: Int) {
        let line = Self.compose(expected) { line in
            line.put("RCPT TO:<")
            line.put("jörg@example.org" as String)
            line.put(UInt8(ascii: ">"))
            line.put(QueueID(rawValue: 1))
            line.put("" as String)
        }
        #expect(line == ">RCPT TO:<jörg@example.org>0000000000001")
    }

    @Test("what is longer than expected is written whole, and once")
    func grows() {
        let long = String(repeating: "x", count: 70_000)
        var rounds = 0
        let line = Self.compose(16) { line in
            rounds += 1
            line.put("a")
            line.put(long)
            line.put("b")
        }
        #expect(line == ">a" + long + "b")
        #expect(rounds == 2)
    }

    @Test("nothing is written beyond the room")
    func bounded() {
        var bytes: [UInt8] = Array(repeating: 0x2E, count: 20)
        let count = bytes.withUnsafeMutableBytes { bytes in
            var writer = OctetWriter(UnsafeMutableRawBufferPointer(rebasing: bytes[0..<6]))
            writer.put("abcd")
            writer.put("efgh" as String)
            writer.put(QueueID(rawValue: 7))
            writer.put(UInt8(ascii: "z"))
            return writer.count
        }
        #expect(count == 4 + 4 + QueueID.length + 1)
        #expect(bytes[6...].allSatisfy { $0 == 0x2E })
    }

    @Test(
        "decimal digits",
        arguments: [0, 9, 10, 99, 100, 65_535, 99_999_999, 100_000_000, UInt.max - 1, UInt.max]
    )
    func decimal(number: UInt) {
        #expect(Self.compose(4) { $0.put(decimal: number) } == ">\(number)")
    }

    @Test(
        "the text of a reply",
        arguments: [
            (Reply(250, nil, lines: []), "250"),
            (Reply(250, nil, ""), "250"),
            (Reply(250, EnhancedStatus(2, 0, 0), ""), "250 2.0.0"),
            (Reply(550, EnhancedStatus(5, 1, 1), "no such user"), "550 5.1.1 no such user"),
            (Reply(451, nil, lines: ["wait", "a while"]), "451 wait a while"),
            (Reply(451, EnhancedStatus(4, 999, 999), lines: ["", "späte Ärzte"]), "451 4.999.999  späte Ärzte"),
            (Reply(65_535, EnhancedStatus(255, 65_535, 65_535), "x"), "65535 255.65535.65535 x"),
        ]
    )
    func reply(reply: Reply, text: String) {
        #expect(reply.description == text)
    }
}
