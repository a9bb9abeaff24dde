// ServerAuthFuzzTests.swift — seeded random AUTH dialogues against the server machine (row R5).
//
// The oracle: it never traps; how input is cut changes nothing; as many logins are confirmed as passwords were found
// right, and nobody relays without one; what a client answers to a challenge is never repeated to it.

import Mail
import NIOCore
import TestSupport
import Testing

@testable import SMTP

struct ServerAuthFuzzTests {
    private static let secret = "s3cret-of-alice"

    /// Lines that mean something, whole or spoilt.
    private static func line(_ random: inout SeededRandom) -> [UInt8] {
        let right = "\0alice\0\(secret)"
        let scram = "n,,n=alice,r=client"
        switch Int.random(in: 0..<32, using: &random) {
        case 0...3: return bytes("EHLO c.example")
        case 4, 5: return bytes("AUTH PLAIN \(encoded(right))")
        case 6: return bytes("AUTH PLAIN")
        case 7: return bytes("AUTH LOGIN")
        case 8: return bytes("AUTH LOGIN \(encoded("alice"))")
        case 9: return bytes("auth cram-md5")
        case 10: return bytes("AUTH SCRAM-SHA-256 \(encoded(scram))")
        case 11: return bytes("AUTH SCRAM-SHA-256")
        case 12: return bytes("AUTH PLAIN =")
        case 13: return bytes("AUTH GSSAPI x")
        case 14: return bytes("AUTH")
        case 15: return bytes("*")
        case 16: return bytes("=")
        case 17: return bytes("")
        case 18: return bytes(encoded("alice"))
        case 19: return bytes(encoded(secret))
        case 20: return bytes(encoded(right))
        case 21: return bytes(encoded(scram))
        case 22: return bytes(encoded("c=biws,r=clientnonce,p=\(encoded(String(repeating: "p", count: 32)))"))
        case 23: return bytes(encoded("alice \(String(repeating: "0", count: 32))"))
        case 24: return bytes("MAIL FROM:<a@x.example>")
        case 25: return bytes("RCPT TO:<b@x.example>")
        case 26: return bytes("DATA")
        case 27: return bytes("text\r\n.")
        case 28: return bytes("RSET")
        case 29: return [UInt8](repeating: UInt8(ascii: "A"), count: Int.random(in: 400...900, using: &random))
        case 30:
            return bytes(encoded((0..<9).map { _ in Int.random(in: 0...3, using: &random) == 0 ? "\0" : "a" }.joined()))
        default: return (0..<12).map { _ in UInt8.random(in: 0...255, using: &random) }
        }
    }

    private static func encoded(_ text: String) -> String { Base64.encode(Array(text.utf8)) }
    private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    private static func session(_ random: inout SeededRandom) -> ByteBuffer {
        var wire = ByteBuffer(string: "EHLO c.example\r\n")
        for _ in 0..<Int.random(in: 1...16, using: &random) {
            var line = line(&random)
            // One line in six is spoilt: an octet changed, taken out or put in.
            if Int.random(in: 0..<6, using: &random) == 0, !line.isEmpty {
                let place = Int.random(in: 0..<line.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: line[place] = UInt8.random(in: 0...255, using: &random)
                case 1: line.remove(at: place)
                default: line.insert([0, 10, 13, 32, 61][Int.random(in: 0..<5, using: &random)], at: place)
                }
            }
            wire.writeBytes(line)
            wire.writeString("\r\n")
        }
        // Whoever got in sends, and whoever did not tries to.
        if Bool.random(using: &random) {
            wire.writeString("RSET\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\ntext\r\n.\r\n")
        }
        return wire
    }

    @Test(arguments: UInt64(1)...4)
    func letsInWhoKnowsThePasswordAndNobodyElse(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var (logins, messages, challenges) = (0, 0, 0)
        let count = Effort.count(2500)
        for round in 0..<count {
            var setup = DialogueSetup()
            setup.limits = Limits(commandBytes: 512, messageBytes: 1000, recipients: 3, errors: 12, idleCommands: 20)
            setup.mayRelay = false
            setup.users = ["alice": Self.secret]
            setup.needsTLS = Int.random(in: 0..<10, using: &random) == 0
            let wire = Self.session(&random)
            let whole = MachineDriver(setup)
            whole.send(wire)
            let pieces = MachineDriver(setup, cuts: (0..<6).map { _ in Int.random(in: 1...40, using: &random) })
            pieces.send(wire)
            let said = String(buffer: whole.output)
            let problem = Self.problem(whole, pieces, said, setup)
            #expect(problem == nil, "round \(round): \(Dialogue.escape(wire))")
            if problem != nil { return }
            logins += whole.grants
            messages += whole.accepted.count
            challenges += said.hasPrefix("334 ") || said.contains("\r\n334 ") ? 1 : 0
        }
        #expect(logins > count / 8, "the inputs must reach the interesting part: \(logins) logins in \(count)")
        #expect(challenges > count / 4, "\(challenges) sessions with a challenge in \(count)")
        #expect(messages > count / 40, "\(messages) messages in \(count)")
    }

    private static func problem(
        _ whole: MachineDriver,
        _ pieces: MachineDriver,
        _ said: String,
        _ setup: DialogueSetup
    ) -> String? {
        if let complaint = whole.complaint ?? pieces.complaint { return complaint }
        if whole.output != pieces.output || whole.accepted != pieces.accepted { return "cutting makes a difference" }
        let confirmed = said.split(separator: "\r\n").count { $0.hasPrefix("235 ") }
        if confirmed > whole.grants { return "\(confirmed) logins confirmed, \(whole.grants) passwords were right" }
        if setup.needsTLS, confirmed > 0 { return "a login without TLS" }
        if confirmed == 0, !whole.accepted.isEmpty { return "relayed for a stranger" }
        if said.contains(secret) || said.contains(encoded(secret)) { return "the password is said again" }
        return said.utf8.contains { $0 == 0 || $0 > 126 } ? "a reply is not clean" : nil
    }
}
