// MilterFuzzTests.swift — seeded random milters against the machine.
//
// The oracle: it never traps; it always comes to a verdict or a fault once the milter says no more; how answers are cut into pieces
// changes nothing; what a verdict holds can be used: names of fields are names, replies are 4xx or 5xx and printable, what was
// refused was offered, and bounds hold.

import Mail
import NIOCore
import TestSupport
import Testing

@testable import Milter

struct MilterFuzzTests {
    private enum Outcome: Hashable {
        case verdict(MilterVerdict)
        case fault(MilterFault.Kind)
        case waits
    }

    private static let usual: [[UInt8]] = [
        Array("c".utf8), Array("c".utf8), Array("c".utf8), Array("a".utf8), Array("r".utf8), Array("t".utf8),
        Array("d".utf8), Array("p".utf8), Array("s".utf8), Array("f".utf8), Array("4".utf8),
        Array("y550 5.7.1 no\0".utf8), Array("y421-4.3.2 a\r\n421 b\0".utf8), Array("y250 ok\0".utf8),
        Array("yno".utf8),
        Array("hX-A\0value\0".utf8), Array("hX A\0v\0".utf8), Array("hX-A\0v\r\n\r\nbody\0".utf8), Array("h\0\0".utf8),
        Array("i".utf8) + [0, 0, 0, 0] + Array("X-B\0 v\n w\0".utf8),
        Array("i".utf8) + [255, 255, 255, 255] + Array("B\0\0".utf8),
        Array("m".utf8) + [0, 0, 0, 1] + Array("Subject\0\0".utf8), Array("m".utf8) + [0, 0, 0],
        Array("eb@x.example\0".utf8), Array("e<>\0SIZE=1\0".utf8), Array("+c@x.example\0".utf8),
        Array("2d@x\0NOTIFY=NEVER\0".utf8),
        Array("-b@y.example\0".utf8), Array("-".utf8), Array("q\u{7}why\0".utf8), Array("bnew text\r\n".utf8),
        Array("b".utf8),
        Array("l".utf8), Array("O".utf8) + [0, 0, 0, 6, 0, 0, 1, 255, 0, 0, 0, 0], [0], [255, 0, 0],
    ]

    private static func negotiation(_ random: inout SeededRandom) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeInteger(UInt8(ascii: "O"))
        buffer.writeInteger(
            UInt32.random(in: 0...20, using: &random) == 0 ? 9 : UInt32.random(in: 2...6, using: &random)
        )
        buffer.writeInteger(UInt32.random(in: 0...20, using: &random) == 0 ? 0xFFFF : UInt32(0x3F))
        buffer.writeInteger(
            UInt32.random(in: 0...0x1FFFFF, using: &random) & UInt32.random(in: 0...0x1FFFFF, using: &random)
        )
        return Array(buffer: buffer)
    }

    private static func answers(_ random: inout SeededRandom) -> [UInt8] {
        var wire = ByteBuffer()
        func write(_ packet: [UInt8]) { wire.writeInteger(UInt32(packet.count)); wire.writeBytes(packet) }
        if Int.random(in: 0..<30, using: &random) == 0 { return Array("220 mx.example ESMTP\r\n".utf8) }
        write(negotiation(&random))
        // So many that the end of the message is reached now and then, with changes there.
        let goesOn = Int.random(in: 0...12, using: &random)
        for _ in 0..<goesOn { write(Array("c".utf8)) }
        for _ in 0..<Int.random(in: 0...12, using: &random) {
            switch Int.random(in: 0..<12, using: &random) {
            case 0:
                wire.writeBytes(
                    (0..<Int.random(in: 1...9, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
                )
            case 1:
                var packet = usual.randomElement(using: &random) ?? []
                if !packet.isEmpty {
                    packet[Int.random(in: 0..<packet.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                write(packet)
            default: write(usual.randomElement(using: &random) ?? [])
            }
        }
        return Array(buffer: wire)
    }

    private static func mail(_ random: inout SeededRandom) -> MilterMail {
        var mail = MilterMail()
        mail.address = IPAddress(Bool.random(using: &random) ? "192.0.2.1" : "2001:db8::1")
        mail.recipients = (0..<Int.random(in: 1...3, using: &random)).compactMap { EmailAddress("b\($0)@y.example") }
            .map { Recipient($0) }
        mail.fields = (0..<Int.random(in: 0...2, using: &random)).map {
            MilterMail.Field(name: Array("X-\($0)".utf8), value: Array(" v\r\n w".utf8))
        }
        mail.bodySize = [0, 1, 70_000].randomElement(using: &random) ?? 0
        return mail
    }

    /// - Parameters:
    ///   - steps: how many of client, HELO, sender and recipients are told before there is a message.
    ///   - cut: octets that come at once.
    private static func run(
        _ wire: [UInt8],
        _ mail: MilterMail,
        telling count: Int,
        cut: Int
    ) -> (Outcome, replaced: Int) {
        var machine = MilterMachine()
        var bounds = MilterMachine.Bounds()
        (bounds.body, bounds.changes, bounds.packets) = (40, 60, 30)
        let all: [(MilterStep, Recipient?)] =
            [(.connect, nil), (.helo, nil), (.mail, nil)] + mail.recipients.map { (.rcpt, $0) }
        var (plan, mail) = (all.prefix(count), mail)
        var taken: [Recipient] = []
        var last: Recipient?
        func goOn() {
            guard let (step, recipient) = plan.popFirst() else {
                if count > 4, !taken.isEmpty { mail.recipients = taken }
                return machine.begin(mail, bounds)
            }
            var told = mail
            (told.recipients, last) = (recipient.map { [$0] } ?? [], recipient)
            machine.tell(step, told)
        }
        goOn()
        var (input, rest, replaced, steps) = (ByteBuffer(), wire[...], 0, 0)
        while true {
            steps += 1
            if steps > 2000 + wire.count { return (.fault(.late), replaced) }
            do throws(MilterFault) {
                switch try machine.advance(&input) {
                case .input:
                    machine.output.clear()
                    guard !rest.isEmpty else { return (.waits, replaced) }
                    input.writeBytes(rest.prefix(cut))
                    rest = rest.dropFirst(cut)
                case .body(let offset, let count):
                    #expect(offset + count <= mail.bodySize && count <= MilterMachine.piece)
                    machine.bodyRead(ByteBuffer(repeating: 0x61, count: count))
                case .replacement(let octets): replaced += octets.readableBytes
                case .told(let answer):
                    if answer == .goOn { taken += last.map { [$0] } ?? [] }
                    if case .refuse(let reply) = answer { check(reply) }
                    goOn()
                case .ended(let verdict): return (.verdict(verdict), replaced)
                }
            } catch {
                return (.fault(error.kind), replaced)
            }
        }
    }

    /// Each of ten seeds tries so many milters, each of which answers a dozen times: 100 000 answers and more with `TEST_SOAK`.
    @Test(arguments: UInt64(1)...10)
    func holdsWhateverAMilterSays(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var (verdicts, faults) = (0, 0)
        for round in 0..<Effort.count(300) {
            let (mail, wire) = (Self.mail(&random), Self.answers(&random))
            let steps = max(0, Int.random(in: -3...6, using: &random))
            let (whole, replaced) = Self.run(wire, mail, telling: steps, cut: wire.count)
            let pieces = Self.run(wire, mail, telling: steps, cut: Int.random(in: 1...5, using: &random))
            #expect(whole == pieces.0 && replaced == pieces.replaced, "seed \(seed), round \(round)")
            #expect(replaced <= 40)
            switch whole {
            case .verdict(let verdict):
                verdicts += 1
                Self.check(verdict, mail)
            case .fault(let kind):
                faults += 1
                #expect(kind != .late, "seed \(seed), round \(round) never ends")
            case .waits: break
            }
        }
        #expect(verdicts > 0 && faults > 0)
    }

    private static func check(_ reply: Reply) {
        #expect((400...599).contains(reply.code) && reply.code != 421)
        #expect(reply.lines.allSatisfy { $0.utf8.allSatisfy { (0x20...0x7E).contains($0) } })
    }

    private static func check(_ verdict: MilterVerdict, _ mail: MilterMail) {
        var replies = verdict.refused.map(\.reply)
        if case .refuse(let reply) = verdict.end { replies.append(reply) }
        for reply in replies { check(reply) }
        #expect(verdict.refused.allSatisfy { mail.recipients.indices.contains($0.index) })
        for change in verdict.changes {
            switch change {
            case .addHeader(let name, let value), .insertHeader(_, let name, let value),
                .changeHeader(_, let name, let value):
                #expect(!name.isEmpty && name.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x3A })
                #expect(!value.contains(0))
            case .changeSender, .addRecipient, .removeRecipient: break
            }
        }
        if verdict.end != .pass { #expect(verdict.changesNothing && verdict.quarantine == nil) }
    }
}
