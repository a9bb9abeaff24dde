// ServerAskingTests.swift — somebody else has a say in senders and recipients: what is asked, and what follows each answer.

import Mail
import NIOCore
import SMTP
import Testing

struct ServerAskingTests {
    /// Says what is asked, and what the client hears, when each question gets these answers in turn.
    private static func run(
        _ text: String,
        _ answers: [Reply?],
        asksHello: Bool = false
    ) -> (asked: [ReceptionQuestion], output: String) {
        var machine = ServerMachine(me: Domain(unchecked: "relay.example"), limits: Limits(), mayRelay: true)
        (machine.asksHello, machine.asksSender, machine.asksRecipient) = (asksHello, true, true)
        machine.greet(spokeEarly: false)
        machine.output.clear()
        var (input, body) = (ByteBuffer(string: text), ByteBuffer())
        var answers = answers[...]
        var asked: [ReceptionQuestion] = []
        while true {
            switch machine.advance(&input, &body) {
            case .ask(let question):
                asked.append(question)
                // Nothing is used while the answer is outstanding.
                let left = input.readableBytes
                if machine.advance(&input, &body) != .input || input.readableBytes != left { asked.append(question) }
                machine.answered(answers.popFirst() ?? nil)
            case .room: machine.roomChecked(true)
            case .envelope: machine.envelopeGrown(true)
            case .begin: machine.begun(true)
            case .authenticate, .startTLS, .readdress, .content, .commit, .abandon: break
            case .input, .close: return (asked, String(buffer: machine.output))
            }
        }
    }

    private static let no = Reply(550, EnhancedStatus(5, 7, 1), "no")
    private static let later = Reply(450, EnhancedStatus(4, 7, 1), "later")
    private static let commands =
        "EHLO c\r\nMAIL FROM:<a@x.example> SIZE=10\r\nRCPT TO:<b@x.example>\r\nRCPT TO:<c@x.example>\r\nDATA\r\n"

    @Test func nobodyObjects() throws {
        let (asked, output) = Self.run(Self.commands, [nil, nil, nil])
        let (a, b, c) = (
            try #require(EmailAddress("a@x.example")), try #require(EmailAddress("b@x.example")),
            try #require(EmailAddress("c@x.example"))
        )
        var size = MailParameters()
        size.size = 10
        #expect(
            asked == [
                .mail(.address(a), size), .rcpt(Recipient(b), from: .address(a)),
                .rcpt(Recipient(c), from: .address(a)),
            ]
        )
        #expect(output.contains("354"))
    }

    @Test func aSenderThatIsRefusedOpensNothing() {
        let (asked, output) = Self.run(Self.commands, [Self.no])
        #expect(asked.count == 1)
        #expect(output.contains("550 5.7.1 no\r\n") && output.contains("503 5.5.1") && !output.contains("354"))
    }

    @Test func aRecipientThatIsRefusedIsOneLess() {
        let (asked, output) = Self.run(Self.commands, [nil, Self.later, nil])
        #expect(asked.count == 3)
        #expect(output.contains("450 4.7.1 later\r\n") && output.contains("354"))
    }

    @Test func whoIsRefusedAtHELOHasNotSaidIt() {
        let (asked, output) = Self.run(
            "EHLO c\r\nMAIL FROM:<a@x.example>\r\nEHLO d\r\n",
            [Self.no, nil],
            asksHello: true
        )
        #expect(asked == [.hello("c"), .hello("d")])
        #expect(output.contains("550 5.7.1 no\r\n503 ") && output.contains("250-relay.example\r\n"))
    }

    @Test func whatIsRefusedAnywayIsNotAskedAbout() {
        let (asked, _) = Self.run("EHLO c\r\nRCPT TO:<b@x.example>\r\nMAIL FROM:<a@x.example> SIZE=99999999999\r\n", [])
        #expect(asked.isEmpty)
    }

    @Test func aClientIsSentAway() {
        var machine = ServerMachine(me: Domain(unchecked: "relay.example"), limits: Limits(), mayRelay: true)
        machine.sendAway(Reply(554, EnhancedStatus(5, 7, 1), "not you"))
        #expect(String(buffer: machine.output) == "554 5.7.1 not you\r\n" && machine.isClosed)
        machine.greet(spokeEarly: false)
        #expect(String(buffer: machine.output) == "554 5.7.1 not you\r\n")
    }
}
