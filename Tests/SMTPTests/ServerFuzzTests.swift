// ServerFuzzTests.swift — seeded random sessions against the server machine.
//
// The oracle: it never traps; how input is cut changes nothing; a message is accepted only where the reference below,
// which knows nothing but the framing rules, sees one; what is accepted holds no bare CR, bare LF or NUL and whole lines.

import Mail
import NIOCore
import TestSupport
import Testing

@testable import SMTP

struct ServerFuzzTests {
    private static let lines: [String] = [
        "EHLO c.example\r\n", "HELO c\r\n", "MAIL FROM:<a@x.example>\r\n", "MAIL FROM:<>\r\n",
        "RCPT TO:<b@x.example>\r\n",
        "RCPT TO:<b@x.example> NOTIFY=NEVER ORCPT=rfc822;b@x.example\r\n",
        "MAIL FROM:<a@x.example> SIZE=20 BODY=8BITMIME\r\n",
        "MAIL FROM:<j\u{F6}@x.example> SMTPUTF8\r\n", "DATA\r\n", "RSET\r\n", "NOOP\r\n", "VRFY a\r\n", "HELP\r\n",
        "QUIT\r\n",
        "BDAT 4\r\n", "BDAT 3 LAST\r\n", "BDAT 0\r\n", "BDAT 0 LAST\r\n", "BDAT 12 LAST\r\n", "BDAT 99999 LAST\r\n",
        "BDAT -1\r\n", "BDAT 5 X\r\n", "GET / HTTP/1.0\r\n", ".\r\n", "\r\n.\r\n", "..\r\n", "text\r\n", "\n.\r\n",
        "\r.\r\n",
        "\r\n.\n", "\n", "\r", "\0", "\u{FF}", "<", ">", "\"", "\\", "a", " ", "FROM:", "@", "=", "+0A", ":",
    ]

    private static let usual: [String] = [
        "EHLO c.example\r\n", "MAIL FROM:<a@x.example>\r\n", "RCPT TO:<b@x.example>\r\n", "DATA\r\n", "text\r\n",
        ".\r\n",
    ]

    static func session(_ random: inout SeededRandom) -> ByteBuffer {
        var bytes = ByteBuffer()
        let prefix = Int.random(in: 0...usual.count, using: &random)
        for line in usual.prefix(prefix) { bytes.writeString(line) }
        for _ in 0..<Int.random(in: 1...14, using: &random) {
            switch Int.random(in: 0..<40, using: &random) {
            case 0: bytes.writeRepeatingByte(UInt8.random(in: 0...255, using: &random), count: 700)
            case 1: for _ in 0..<20 { bytes.writeInteger(UInt8.random(in: 0...255, using: &random)) }
            case 2...8: for line in usual { bytes.writeString(line) }
            default: bytes.writeString(lines.randomElement(using: &random) ?? "")
            }
        }
        return bytes
    }

    private struct Outcome: Equatable {
        var output: ByteBuffer
        var accepted: [MachineDriver.Accepted]
        var hasClosed: Bool
        var open: Int

        init(_ driver: MachineDriver) {
            output = driver.output
            accepted = driver.accepted
            hasClosed = driver.hasClosed
            open = driver.open
        }
    }

    private static func setup(_ random: inout SeededRandom) throws -> DialogueSetup {
        var setup = DialogueSetup()
        setup.limits = Limits(commandBytes: 512, messageBytes: 1000, recipients: 3, errors: 8, idleCommands: 12)
        setup.mayRelay = Int.random(in: 0..<8, using: &random) > 0
        setup.hasRoom = Int.random(in: 0..<8, using: &random) > 0
        return setup
    }

    /// Each of ten seeds tries so many sessions twice: 100 000 inputs in all.
    @Test(arguments: UInt64(1)...10)
    func holdsWhateverAClientSends(seed: UInt64) throws {
        let count = Effort.count(5000)
        var random = SeededRandom(seed: seed)
        var messages = 0
        for round in 0..<count {
            let setup = try Self.setup(&random)
            let wire = Self.session(&random)
            let whole = MachineDriver(setup)
            whole.send(wire)
            let cuts = (0..<6).map { _ in Int.random(in: 1...60, using: &random) }
            let pieces = MachineDriver(setup, cuts: cuts)
            pieces.send(wire)
            let problem = Self.problem(whole, pieces)
            #expect(problem == nil, "round \(round), cuts \(cuts): \(Dialogue.escape(wire))")
            if problem != nil { return }
            messages += whole.accepted.count
        }
        #expect(messages > count / 4, "the inputs must reach the interesting part: \(messages) messages in \(count)")
    }

    /// The same for lenient sessions, whose lines may end in LF, and which mean the same as others wherever those refuse
    /// nothing.
    @Test(arguments: UInt64(1)...2)
    func holdsInALenientSession(seed: UInt64) throws {
        let count = Effort.count(2000)
        var random = SeededRandom(seed: seed)
        var (messages, same) = (0, 0)
        for round in 0..<count {
            let strict = try Self.setup(&random)
            var setup = strict
            setup.limits.isLenient = true
            setup.limits.local = LocalMail(me: Domain(unchecked: "relay.example"))
            var wire = Self.session(&random)
            if Int.random(in: 0..<3, using: &random) == 0 {
                wire = ByteBuffer(bytes: wire.readableBytesView.filter { $0 != 13 })
            }
            let whole = MachineDriver(setup)
            whole.send(wire)
            let cuts = (0..<6).map { _ in Int.random(in: 1...60, using: &random) }
            let pieces = MachineDriver(setup, cuts: cuts)
            pieces.send(wire)
            var problem = Self.problem(whole, pieces)
            let other = MachineDriver(strict)
            other.send(wire)
            if !Self.refuses(other.output), whole.accepted.count == other.accepted.count {
                same += 1
                if Outcome(whole) != Outcome(other) { problem = problem ?? "says something else than a strict session" }
            }
            #expect(problem == nil, "round \(round), cuts \(cuts): \(Dialogue.escape(wire))")
            if problem != nil { return }
            messages += whole.accepted.count
        }
        #expect(messages > count / 4, "\(messages) messages in \(count)")
        #expect(same > count / 20, "\(same) sessions without a refusal in \(count)")
    }

    private static func refuses(_ output: ByteBuffer) -> Bool {
        let bytes = Array(output.readableBytesView)
        return zip([10] + bytes, bytes).contains { $0 == (10, 0x35) }
    }

    private static func problem(_ whole: MachineDriver, _ pieces: MachineDriver) -> String? {
        if let complaint = whole.complaint ?? pieces.complaint { return complaint }
        if Outcome(whole) != Outcome(pieces) { return "cutting makes a difference" }
        for message in whole.accepted {
            if message.envelope.recipients.isEmpty { return "nobody gets it" }
            let body = Array(message.body.readableBytesView)
            if let flaw = flaw(body, message) { return flaw }
        }
        let replies = Array(whole.output.readableBytesView)
        if flaw(replies, nil) != nil { return "a reply is not clean" }
        return nil
    }

    private static func flaw(_ bytes: [UInt8], _ message: MachineDriver.Accepted?) -> String? {
        for (index, byte) in bytes.enumerated() {
            if byte == 0 { return "NUL" }
            if byte == 13, index + 1 == bytes.count || bytes[index + 1] != 10 { return "bare CR" }
            if byte == 10, index == 0 || bytes[index - 1] != 13 { return "bare LF" }
        }
        if let last = bytes.last, last != 10 { return "open line" }
        guard let message else { return nil }
        let dots = bytes.first == 46 || zip(bytes, bytes.dropFirst()).contains { $0 == (10, 46) }
        if dots != message.hasLeadingDots { return "leading dots" }
        return bytes.contains { $0 > 127 } == message.isEightBit ? nil : "eight bits"
    }
}
