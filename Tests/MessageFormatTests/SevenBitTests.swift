// SevenBitTests.swift — messages of any shape become seven bits and short lines, and their parts decode to what they were.

import Mail
import NIOCore
import Testing

@testable import MessageFormat

/// Converts in pieces of so many octets.
private func convert(
    _ message: [UInt8],
    _ wish: SevenBitPlan.Wish = SevenBitPlan.Wish(breaksLines: true),
    piece: Int = .max
) -> (plan: SevenBitPlan, bytes: [UInt8]) {
    func pieces(_ body: (ByteBuffer) -> Void) {
        for start in stride(from: 0, to: message.count, by: min(piece, max(1, message.count))) {
            body(ByteBuffer(bytes: message[start..<min(message.count, start &+ min(piece, message.count))]))
        }
    }
    var plan = SevenBitPlan(wish)
    pieces { plan.look(at: $0) }
    plan.finish()
    guard plan.obstacle == nil else { return (plan, []) }
    var writer = SevenBitWriter(plan)
    var out = ByteBuffer()
    pieces { writer.write($0, to: &out) }
    writer.finish(to: &out)
    return (plan, Array(out.readableBytesView))
}

private func convert(_ text: String, _ wish: SevenBitPlan.Wish = SevenBitPlan.Wish(breaksLines: true)) -> String {
    String(decoding: convert(Array(text.utf8), wish).bytes, as: UTF8.self)
}

private func longestLine(_ bytes: [UInt8]) -> Int {
    bytes.split(separator: 0x0A, omittingEmptySubsequences: false).map { $0.last == 0x0D ? $0.count - 1 : $0.count }
        .max() ?? 0
}

/// The leaves of a message, decoded: what a mail program shows.
private struct Leaves: MIMEVisitor {
    var found: [(type: String, content: [UInt8])] = []
    private var content: [UInt8] = []

    static func of(_ message: [UInt8]) -> [(type: String, content: [UInt8])] {
        var leaves = Leaves()
        var walk = MIMEWalk()
        message.withUnsafeBytes { walk.consume($0, &leaves) }
        walk.finish(&leaves)
        return leaves.found
    }

    mutating func header(_ entity: MIMEEntity, _ fields: [HeaderFields.Field], _ lines: [UInt8]) { content = [] }
    mutating func content(_ bytes: UnsafeRawBufferPointer, of entity: MIMEEntity) { content += bytes }
    mutating func between(_ bytes: UnsafeRawBufferPointer, isSigned: Bool) {}
    mutating func contentEnded(_ entity: MIMEEntity) {
        var decoded = content
        switch entity.encoding {
        case "quoted-printable": decoded = Self.unquote(content)
        case "base64": decoded = Base64.decode(content.filter { $0 != 0x0D && $0 != 0x0A }) ?? Array("no base64".utf8)
        default: break
        }
        found.append(("\(entity.type)/\(entity.subtype)", decoded))
    }

    private static func unquote(_ text: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        var rest = text[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "=") else {
                out.append(byte)
                continue
            }
            if rest.starts(with: [0x0D, 0x0A]) {
                rest = rest.dropFirst(2)
            } else if let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) {
                out.append(value)
                rest = rest.dropFirst(2)
            } else {
                out.append(byte)
            }
        }
        return out
    }
}

@Suite struct SevenBitTests {
    @Test func whatNeedsNothingIsNotTouched() {
        let text = "From: a@b\r\nContent-Transfer-Encoding: 8bit\r\n\r\nplain\r\n"
        let (plan, _) = convert(Array(text.utf8))
        #expect(!plan.isNeeded && plan.obstacle == nil)
    }

    @Test func textBecomesQuotedPrintable() {
        let text =
            "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
            + "Content-Transfer-Encoding: 8bit\r\n\r\nGr\u{FC}\u{DF}e \r\n.\r\n"
        #expect(
            convert(text) == "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                + "Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe=20\r\n=2E\r\n"
        )
    }

    @Test func textWithoutAHeaderOfMIMEGetsOne() {
        #expect(
            convert("Subject: x\r\n\r\n\u{FC}\r\n") == "Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n"
                + "Content-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n\r\n=C3=BC\r\n"
        )
        let latin = convert(Array("Subject: x\r\n\r\n".utf8) + [0xFC, 0x0D, 0x0A]).bytes
        #expect(String(decoding: latin, as: UTF8.self).contains("charset=unknown-8bit"))
    }

    @Test func mostlyOtherLettersBecomeBase64() {
        let text = "Content-Type: text/plain; charset=utf-8\r\n\r\n" + String(repeating: "ж", count: 500) + "\r\n"
        #expect(convert(text).contains("Content-Transfer-Encoding: base64\r\n"))
    }

    @Test(arguments: [
        (
            "Subject: Gr\u{FC}\u{DF}e aus K\u{F6}ln\r\n",
            "Subject: =?UTF-8?B?R3LDvMOfZQ==?= aus =?UTF-8?B?S8O2bG4=?=\r\n"
        ),
        ("Subject: \u{FC} \u{F6}\r\n", "Subject: =?UTF-8?B?w7wgw7Y=?=\r\n"),
        (
            "From: \"J\u{F6}rg M.\" <j@a.test>,\r\n K <k@a.test>\r\n",
            "From: =?UTF-8?B?SsO2cmcgTS4=?= <j@a.test>, K <k@a.test>\r\n"
        ),
        ("To: J\u{F6}rg (B\u{FC}ro) <j@a.test>\r\n", "To: =?UTF-8?B?SsO2cmc=?= (=?UTF-8?B?QsO8cm8=?=) <j@a.test>\r\n"),
        (
            "Content-Type: text/plain; charset=utf-8; name=\"\u{FC}.txt\"\r\n",
            "Content-Type: text/plain; charset=utf-8; name*=UTF-8''%C3%BC.txt\r\n"
        ),
        ("X-A: plain\r\n", "X-A: plain\r\n"),
    ])
    func headersBecomeASCII(header: String, expected: String) {
        #expect(convert(header + "\r\n\u{FC}\r\n").contains(expected), "\(convert(header + "\r\n\u{FC}\r\n"))")
    }

    @Test func longLinesAreBrokenOnlyWhenThatIsWanted() {
        let text =
            "Subject: \(String(repeating: "x", count: 2000))\r\nContent-Type: text/html\r\n\r\n"
            + String(repeating: "<p>", count: 600) + "\r\n"
        #expect(!convert(Array(text.utf8), SevenBitPlan.Wish(breaksLines: false)).plan.isNeeded)
        let broken = convert(Array(text.utf8)).bytes
        #expect(longestLine(broken) <= 998)
        #expect(Leaves.of(broken).map(\.content) == Leaves.of(Array(text.utf8)).map(\.content))
    }

    @Test func octetsAbove127StayWhereOnlyLinesAreBroken() {
        let wish = SevenBitPlan.Wish(breaksLines: true, keepsEightBit: true)
        let short = "Subject: \u{FC}\r\n\r\n\u{FC}\r\n"
        #expect(!convert(Array(short.utf8), wish).plan.isNeeded)
        let long = String(repeating: "y", count: 1000)
        let text =
            "Subject: \u{FC}\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\u{FC}\r\n"
            + "--b\r\n\r\n\u{FC}\r\n--b\r\n\r\n\(long)\r\n--b--\r\n"
        let broken = convert(text, wish)
        #expect(broken.utf8.starts(with: text.utf8.prefix(80)))
        #expect(broken.contains("\r\n--b\r\n\r\n\u{FC}\r\n--b\r\nContent-Type: text/plain"))
    }

    @Test(arguments: [
        ("DKIM-Signature: v=1; a=rsa-sha256;\r\n\td = b.example; s=x\r\n", "it is signed by b.example"),
        ("ARC-Message-Signature: i=1; d=c.example\r\n", "it is signed by c.example"),
        ("Content-Type: message/partial\r\n", "its part message/partial must not be encoded"),
        ("Content-Transfer-Encoding: x-uuencode\r\n", "the encoding x-uuencode of a part is unknown"),
    ])
    func whatCannotBeConvertedSaysWhy(header: String, reason: String) {
        let message = Array((header + "\r\n\u{FC}\r\n").utf8)
        #expect(convert(message).plan.obstacle?.description == reason)
        let isSignature = header.utf8.first != UInt8(ascii: "C")
        let copy = convert(message, SevenBitPlan.Wish(breaksLines: true, isCopy: true)).plan
        #expect((copy.obstacle == nil) == isSignature)
        let own = SevenBitPlan.Wish(breaksLines: true, ownOctets: header.utf8.count)
        #expect((convert(message, own).plan.obstacle == nil) == isSignature)
    }

    @Test func aSignedPartKeepsOthersFromNothing() {
        func message(signed: String, other: String) -> [UInt8] {
            Array(
                ("Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/signed; boundary=i\r\n\r\n"
                    + "--i\r\nContent-Type: text/plain\r\n\r\n\(signed)\r\n--i\r\nContent-Type: application/pkcs7-signature\r\n\r\n"
                    + "s\r\n--i--\r\n\r\n--o\r\n\r\n\(other)\r\n--o--\r\n").utf8
            )
        }
        #expect(convert(message(signed: "\u{FC}", other: "x")).plan.obstacle == .signedPart)
        let (plan, bytes) = convert(message(signed: "x", other: "\u{FC}"))
        #expect(plan.obstacle == nil)
        #expect(
            String(decoding: bytes, as: UTF8.self).contains("\r\n--i\r\nContent-Type: text/plain\r\n\r\nx\r\n--i\r\n")
        )
    }

    @Test func messagesInMessagesAreConvertedInside() {
        let inner =
            "Subject: \u{FC}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\u{E4}\r\n"
        let text = convert("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + inner)
        #expect(
            text
                == "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\nMIME-Version: 1.0\r\n\r\nSubject: =?UTF-8?B?w7w=?=\r\n"
                + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4\r\n"
        )
    }

    @Test func boundariesThatBeginAlikeAreToldApart() {
        let text =
            "Content-Type: multipart/mixed; boundary=\"a\"\r\n\r\n\u{FC}preamble\r\n--a\r\n"
            + "Content-Type: multipart/mixed; boundary=\"a-b\"\r\n\r\n--a-b\r\n\r\none \u{FC}\r\n--a-b--\r\n--a\r\n\r\ntwo\r\n--a--\r\n"
        let bytes = convert(Array(text.utf8)).bytes
        #expect(Leaves.of(bytes).map { String(decoding: $0.content, as: UTF8.self) } == ["one \u{FC}", "two"])
        #expect(bytes.allSatisfy { $0 < 128 })
    }

    /// Labels that lie: what is called base64 or quoted-printable and holds other octets or long lines.
    @Test func liesAboutEncodingsAreMended() {
        let quoted =
            "Content-Transfer-Encoding: quoted-printable\r\n\r\n\u{FC}=C3=BC " + String(repeating: "y=3D", count: 400)
            + "=\r\n.\r\n"
        let base64 =
            "Content-Transfer-Encoding: base64\r\n\r\n" + Base64.encode(Array(repeating: 7, count: 3000)) + "\r\n"
        for text in [quoted, base64] {
            let bytes = convert(Array(text.utf8)).bytes
            #expect(longestLine(bytes) <= 76 && bytes.allSatisfy { $0 < 128 })
            #expect(Leaves.of(bytes).map(\.content) == Leaves.of(Array(text.utf8)).map(\.content))
        }
    }
}

/// Trees of parts made up by chance; seeded, so that a failure comes again.
@Suite struct SevenBitRandomTests {
    private struct Seeded: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 29
        }
    }

    private func text(_ random: inout Seeded) -> String {
        let pieces = [
            "plain words ", "\u{FC}", "日本", "\r\n", ".", "From ", "=", "=3D", "\t", " \r\n", "--", "--b", "\u{1}",
            "é",
        ]
        return (0..<Int.random(in: 0...12, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }
            .joined()
            + String(repeating: "z", count: Int.random(in: 0...9, using: &random) == 0 ? 1100 : 0)
    }

    private func part(_ depth: Int, _ random: inout Seeded) -> String {
        var header =
            ["", "X-T: \(text(&random).replacing("\r\n", with: " "))\r\n", "Subject: \u{FC} x\r\n"].randomElement(
                using: &random
            ) ?? ""
        header +=
            ["", "Content-Transfer-Encoding: 8bit\r\n", "Content-Transfer-Encoding: 7bit\r\n"].randomElement(
                using: &random
            ) ?? ""
        switch Int.random(in: 0...(depth > 0 ? 5 : 2), using: &random) {
        case 0: return header + "\r\n" + text(&random)
        case 1: return header + "Content-Type: text/html; charset=utf-8\r\n\r\n" + text(&random)
        case 2: return header + "Content-Type: application/x; name=\"\u{E4}\"\r\n\r\n" + text(&random)
        case 3: return header + "Content-Type: message/rfc822\r\n\r\n" + part(depth - 1, &random)
        default:
            let boundary = "b\(depth)\(Int.random(in: 0...9, using: &random))"
            let parts = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                "\r\n--\(boundary)\r\n\(part(depth - 1, &random))"
            }
            return header + "Content-Type: multipart/mixed; boundary=\"\(boundary)\"\r\n\r\n\(text(&random))"
                + parts.joined() + "\r\n--\(boundary)--\r\n"
        }
    }

    @Test func everyTreeDecodesToTheSameParts() {
        var random = Seeded(state: 20_261_129)
        var changed = 0
        for round in 0..<400 {
            let message = Array(part(4, &random).utf8)
            let (plan, bytes) = convert(message)
            guard plan.obstacle == nil else {
                Issue.record("round \(round): \(plan.obstacle.map(\.description) ?? "")")
                continue
            }
            if plan.isNeeded { changed += 1 }
            #expect(bytes.allSatisfy { $0 < 128 }, "round \(round)")
            #expect(longestLine(bytes) <= 998, "round \(round)")
            let (before, after) = (Leaves.of(message), Leaves.of(bytes))
            #expect(before.map(\.type) == after.map(\.type), "round \(round)")
            // A last line gets its end.
            let same = zip(before, after).allSatisfy { one, other in
                one.content == other.content || one.content + [0x0D, 0x0A] == other.content
            }
            #expect(same, "round \(round)")
            for size in [1, 7] where round % 8 == 0 {
                #expect(convert(message, piece: size).bytes == bytes, "round \(round), pieces of \(size)")
            }
            // What was converted needs nothing more.
            #expect(!convert(bytes).plan.isNeeded, "round \(round)")
        }
        #expect(changed > 200)
    }
}
