// TurnawayTests.swift — what the operator is told of refusals: which of them, and with what.

import Mail
import NIOCore
import Testing

@testable import SMTP

struct TurnawayTests {
    /// One session, and what it was told.
    private static func turnaways(
        _ lines: [String],
        mayRelay: Bool = true,
        limits: Limits = Limits()
    ) -> (kept: [Turnaway], others: Int) {
        var machine = ServerMachine(me: Domain(unchecked: "relay.example"), limits: limits, mayRelay: mayRelay)
        machine.greet(spokeEarly: false)
        var input = ByteBuffer(string: lines.map { "\($0)\r\n" }.joined())
        var body = ByteBuffer()
        while true {
            switch machine.advance(&input, &body) {
            case .input, .close: return machine.takeTurnaways()
            case .room: machine.roomChecked(false)
            case .envelope: machine.envelopeGrown(true)
            case .readdress: return machine.takeTurnaways()
            case .ask: machine.answered(nil)
            case .authenticate: machine.authenticated(.refused)
            case .startTLS: machine.tlsBegins(false)
            case .begin: machine.begun(true)
            case .content, .abandon: break
            case .commit:
                _ = machine.takeEnvelope()
                machine.committed(.refused(.foreignAuthor))
            }
        }
    }

    private static let hello = "EHLO c.example"
    private static let mail = "MAIL FROM:<a@x.example>"

    @Test func aStrangersRecipientIsToldAsItCame() {
        let found = Self.turnaways([Self.hello, Self.mail, "RCPT TO:< b@@y> X=1"], mayRelay: false).kept
        #expect(found.count == 1)
        #expect(found.first?.verb == .rcpt)
        #expect(found.first?.reply == "550 5.7.1 Relaying denied")
        #expect(found.first?.sender == "a@x.example")
        #expect(found.first?.recipient == " b@@y")
        #expect(found.first?.ends == false)
    }

    @Test func aSenderWhoseDomainIsNotOurs() {
        var limits = Limits()
        limits.senderDomains = [Domain(unchecked: "ours.example")]
        let found = Self.turnaways([Self.hello, Self.mail], limits: limits).kept
        #expect(found.map(\.verb) == [.mail])
        #expect(found.first?.sender == "a@x.example")
        #expect(found.first?.recipient == nil)
    }

    @Test(arguments: [
        "MAIL FROM:<broken", "RCPT TO:<x..y@z>", "DATA", "BDAT 0 LAST", "AUTH PLAIN", "MAIL FROM:<a@b> SIZE=1",
    ])
    func whatKeepsMailOutIsTold(_ line: String) {
        #expect(Self.turnaways([Self.hello, line]).kept.count == 1)
    }

    @Test(arguments: ["NONSENSE", "VRFY", "HELO", "EXPN x", "RSET x", "XCLIENT a=b", "NOOP", "QUIT"])
    func aSlipOfTheTongueIsNot(_ line: String) { #expect(Self.turnaways([Self.hello, line]).kept.isEmpty) }

    @Test func aMessageThatIsRefusedAtItsEnd() {
        let lines = [Self.hello, Self.mail, "RCPT TO:<b@y.example>", "DATA", "Subject: x", "", "."]
        let found = Self.turnaways(lines).kept
        #expect(found.map(\.verb) == [.endOfMessage])
        #expect(found.first?.sender == "a@x.example")
        #expect(found.first?.recipient == "b@y.example")
    }

    @Test func tooManyErrorsEndASession() {
        var limits = Limits()
        limits.errors = 2
        let found = Self.turnaways([Self.hello, "A", "B", "C", "D"], limits: limits).kept
        #expect(found.map(\.reply) == ["421 4.7.0 Too many errors"])
        #expect(found.first?.ends == true)
    }

    @Test func httpIsNoSMTP() {
        let found = Self.turnaways(["GET / HTTP/1.1"]).kept
        #expect(found.map(\.reply) == ["554 5.5.0 This is an SMTP server"])
    }

    @Test func aFloodIsAHandfulAndANumber() {
        let flood = Array(repeating: "RCPT TO:<b@y.example>", count: 19)
        let found = Self.turnaways([Self.hello, Self.mail] + flood, mayRelay: false)
        #expect(found.kept.count == 8 && found.others == 11)
    }

    @Test(arguments: [
        ("RCPT TO:<a@b> NOTIFY=NEVER", "a@b"), ("RCPT TO:a@b", "a@b"), ("RCPT TO: <a@b", "a@b"), ("RCPT", ""),
        ("MAIL FROM:", ""), ("RCPT TO:<>", ""), ("RCPT TO:<a b@c>", "a b@c"),
    ])
    func findsWhatLooksLikeAnAddress(_ line: String, _ address: String) {
        let bytes = Array(line.utf8)
        #expect(bytes.withUnsafeBytes { Turnaway.address(in: Text($0)) } == address)
    }
}
