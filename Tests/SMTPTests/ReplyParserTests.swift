// ReplyParserTests.swift — what is a reply, what is none, and how little of it is kept.

import Mail
import NIOCore
import SMTP
import TestSupport
import Testing

struct ReplyParserTests {
    /// Everything the parser makes of these bytes, cut into pieces of a size.
    private func parse(_ bytes: [UInt8], pieces: Int = .max) -> [ReplyParser.Output] {
        var parser = ReplyParser()
        var outputs: [ReplyParser.Output] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            parser.append(ByteBuffer(bytes: rest.prefix(pieces)))
            rest = rest.dropFirst(pieces)
            while true {
                let output = parser.next()
                if output == .incomplete { break }
                outputs.append(output)
                if case .malformed = output { return outputs }
            }
        }
        return outputs
    }

    private func reply(_ text: String) -> Reply? {
        guard case .reply(let reply)? = parse(Array(text.utf8)).first else { return nil }
        return reply
    }

    @Test func readsOneLine() {
        #expect(reply("250 2.1.5 Ok\r\n") == Reply(250, EnhancedStatus(2, 1, 5), "Ok"))
        #expect(reply("250 Ok\r\n") == Reply(250, nil, "Ok"))
        #expect(reply("250 \r\n") == Reply(250, nil, ""))
        #expect(reply("250\r\n") == Reply(250, nil, ""))
        #expect(reply("550 5.1.1\r\n") == Reply(550, EnhancedStatus(5, 1, 1), ""))
        #expect(reply("550 5.1.\r\n") == Reply(550, nil, "5.1."))
        #expect(reply("550 5.1.1234 x\r\n") == Reply(550, nil, "5.1.1234 x"))
    }

    @Test func namesOfMechanismsAreASCII() {
        let lines = ["mx.test", "AUTH PLA\u{131}N login", "AUTH=\u{301}X cram-md5"]
        let offered = Capabilities(Reply(250, nil, lines: lines))
        #expect(offered.mechanisms.count == 4)
        #expect(offered.mechanisms.contains("LOGIN") && offered.mechanisms.contains("CRAM-MD5"))
        #expect(!offered.mechanisms.contains("PLAIN"))
    }

    @Test func readsSeveralLines() {
        #expect(
            reply("550-5.7.1 first\r\n550-5.7.1 second\r\n550 5.7.1 third\r\n")
                == Reply(550, EnhancedStatus(5, 7, 1), lines: ["first", "second", "third"])
        )
        #expect(reply("250-\r\n250\r\n") == Reply(250, nil, lines: ["", ""]))
    }

    @Test func correctsAStatusThatContradictsTheCode() {
        #expect(reply("550 4.7.1 no\r\n")?.status == EnhancedStatus(5, 7, 1))
        #expect(reply("450 2.0.0 no\r\n")?.status == EnhancedStatus(4, 0, 0))
        #expect(reply("354 2.0.0 go\r\n")?.status == nil)
    }

    @Test func takesLinesThatEndInLFAloneUnlessToldNotTo() {
        #expect(reply("250-a\n250 2.0.0 b\n") == Reply(250, EnhancedStatus(2, 0, 0), lines: ["a", "b"]))
        #expect(reply("250-a\r\n250 b\n") == Reply(250, nil, lines: ["a", "b"]))
        #expect(reply("220\n") == Reply(220, nil, lines: [""]))
        #expect(reply("220\r\n") == Reply(220, nil, lines: [""]))
        var strict = ReplyParser(takesBareLF: false)
        strict.append(ByteBuffer(string: "250 ok\n"))
        #expect(strict.next() == .malformed("a line that does not end in CRLF"))
    }

    @Test func findsAStatusBehindItsMark() {
        #expect(reply("452 #4.5.3 Too many recipients\r\n")?.givenStatus == EnhancedStatus(4, 5, 3))
        #expect(reply("552 sorry, too many (#5.5.3)\r\n")?.givenStatus == EnhancedStatus(5, 5, 3))
        #expect(reply("452-#1 of 2\r\n452 #2.5.3\r\n")?.givenStatus == EnhancedStatus(4, 5, 3))
        #expect(reply("452 #4.5 ##4.5.1234 #9.5.3\r\n")?.givenStatus == nil)
        #expect(reply("452 4.5.3\r\n")?.givenStatus == EnhancedStatus(4, 5, 3))
    }

    @Test(arguments: [
        "\r\n", "\n", "25\r\n", "25\n", "2500 ok\r\n", "999 ok\r\n", "150 ok\r\n", "250ok\r\n", "a50 ok\r\n",
        "250-a\r\n251 b\r\n", "250-a\r\nb\r\n", " 250 ok\r\n", "250\tok\r\n", "HTTP/1.1 400 Bad Request\r\n",
    ])
    func refuses(_ text: String) {
        let outputs = parse(Array(text.utf8))
        guard case .malformed? = outputs.last else {
            Issue.record("taken: \(outputs)")
            return
        }
    }

    @Test func capsBytesAndLines() {
        let longest = "250 " + String(repeating: "x", count: ReplyParser.maxBytes - 6) + "\r\n"
        #expect(reply(longest)?.lines.first?.utf8.count == ReplyParser.keptText)
        #expect(reply("250 " + String(repeating: "x", count: ReplyParser.maxBytes - 5) + "\r\n") == nil)
        // Without a line end at all the verdict comes as soon as the limit is passed.
        guard case .malformed? = parse(Array(repeating: 0x32, count: ReplyParser.maxBytes + 1)).last else {
            Issue.record("an endless line is waited for")
            return
        }
        let many = String(repeating: "250-x\r\n", count: ReplyParser.maxLines - 1)
        #expect(reply(many + "250 x\r\n") != nil)
        #expect(reply(many + "250-x\r\n250 x\r\n") == nil)
    }

    @Test func keepsLittleText() {
        let reply = reply(String(repeating: "550-0123456789\r\n", count: 900) + "550 end\r\n")
        #expect((reply?.lines.joined().utf8.count ?? .max) <= ReplyParser.keptText)
    }

    @Test func makesTextPrintable() {
        let bytes = Array("550 a\u{1}b\rc\u{7F}".utf8) + [0xFF] + Array("ü\u{202E}\u{2028}\u{85}\r\n".utf8)
        guard case .reply(let reply)? = parse(bytes).first, let text = reply.lines.first else {
            Issue.record("not taken")
            return
        }
        #expect(text == "a?b?c?\u{FFFD}ü???")
    }

    @Test(arguments: 0..<200)
    func isTheSameHoweverItIsCut(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var bytes: [UInt8] = []
        for _ in 0..<Int.random(in: 1...6, using: &random) { bytes += randomReply(&random) }
        let whole = parse(bytes)
        #expect(parse(bytes, pieces: 1) == whole)
        #expect(parse(bytes, pieces: Int.random(in: 2...9, using: &random)) == whole)
    }
}

/// Bytes that are mostly a reply.
func randomReply(_ random: inout SeededRandom) -> [UInt8] {
    let codes = ["250", "251", "220", "354", "421", "450", "452", "550", "554", "999", "25", "2500", "200"]
    let code = Int.random(in: 0..<4, using: &random) == 0 ? codes.randomElement(using: &random) ?? "" : "250"
    var text = ""
    for _ in 0..<(Int.random(in: 0..<8, using: &random) == 0 ? 3 : 0) { text += "\(code)-more\r\n" }
    let rest =
        ["", " ", " ok", " 2.0.0 ok", " 5.1.1", " 4.5.3 x", "-", "x", " \u{1}ü"].randomElement(using: &random) ?? ""
    let end = Int.random(in: 0..<30, using: &random) == 0 ? "\n" : "\r\n"
    return Array((text + code + rest + end).utf8)
}
