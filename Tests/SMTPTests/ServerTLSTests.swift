// ServerTLSTests.swift — the moment between STARTTLS and the handshake, in which nothing may slip through.

import Mail
import NIOCore
import TestSupport
import Testing

@testable import SMTP

struct ServerTLSTests {
    private final class Session {
        var machine = ServerMachine(
            me: Domain(unchecked: "relay.example"),
            limits: DialogueSetup().limits,
            mayRelay: true
        )
        var body = ByteBuffer()

        init() {
            machine.offersTLS = true
            machine.greet(spokeEarly: false)
        }

        func advance(_ text: String) -> (ServerMachine.Need, left: Int) {
            var input = ByteBuffer(string: text)
            let need = machine.advance(&input, &body)
            return (need, input.readableBytes)
        }

        var isSecure: Bool { machine.isSecure }
        var isClosed: Bool { machine.isClosed }
        var mayRelay: Bool { machine.mayRelay }
        /// Nothing of what the client was or began is left.
        var isFresh: Bool {
            machine.hello == .none && machine.heloName.isEmpty && machine.user == nil && !machine.hasTransaction
        }

        /// What was said since the last time.
        func said() -> String { machine.output.readString(length: machine.output.readableBytes) ?? "" }
    }

    @Test(arguments: ["RSET\r\n", "MAIL FROM:<a@b.example>\r\n", "\r\n", "X", "\u{16}\u{3}\u{1}"])
    func nothingMayFollowInTheSameBreath(_ injected: String) {
        let session = Session()
        _ = session.advance("EHLO c\r\n")
        _ = session.said()
        let (need, _) = session.advance("STARTTLS\r\n" + injected)
        #expect(need == .close)
        #expect(session.said() == CannedReply.tlsPipelined.description + "\r\n")
        #expect(session.isClosed)
    }

    @Test func whatArrivesBeforeTheHandshakeIsNotRead() {
        let session = Session()
        _ = session.advance("EHLO c\r\nNOOP\r\n")
        #expect(session.advance("STARTTLS\r\n") == (.startTLS, 0))
        session.machine.tlsBegins(true)
        _ = session.said()
        #expect(session.advance("MAIL FROM:<a@b.example>\r\n") == (.input, 25))
        #expect(session.said() == "")
        #expect(!session.isSecure)
    }

    @Test func theClientIsForgotten() {
        let session = Session()
        _ = session.advance("EHLO c\r\n")
        _ = session.advance("STARTTLS\r\n")
        session.machine.tlsBegins(true)
        session.machine.secured(mayRelay: false, offer: AuthOffer())
        #expect(session.isSecure)
        #expect(session.isFresh)
        #expect(!session.mayRelay)
    }

    @Test func onlyAHandshakeThatWasAskedForCounts() {
        let session = Session()
        _ = session.advance("EHLO c\r\n")
        session.machine.secured(mayRelay: true, offer: AuthOffer())
        #expect(!session.isSecure)
        session.machine.tlsBegins(true)
        #expect(session.advance("NOOP\r\n") == (.input, 0))
    }

    /// Random scripts around STARTTLS: nothing that was said in the clear has an effect behind the handshake.
    @Test func randomTransitionsLeakNothing() {
        var random = SeededRandom(seed: 3207)
        let lines = [
            "EHLO c\r\n", "HELO c\r\n", "MAIL FROM:<clear@x.example>\r\n", "RCPT TO:<clear@x.example>\r\n", "DATA\r\n",
            "RSET\r\n", "NOOP\r\n", "STARTTLS\r\n", "starttls\r\n", "STARTTLS \r\n", "AUTH PLAIN\r\n", "BDAT 3\r\nabc",
            "x\n", "hello\r\n", ".\r\n",
        ]
        for round in 0..<(Effort.isOptimised ? 30_000 : 3000) {
            let session = Session()
            var isSecured = false
            for _ in 0..<Int.random(in: 1...12, using: &random) {
                let count = Int.random(in: 1...3, using: &random)
                let text = (0..<count).map { _ in lines.randomElement(using: &random) ?? "" }.joined()
                var input = ByteBuffer(string: text)
                loop: while true {
                    switch session.machine.advance(&input, &session.body) {
                    case .startTLS:
                        #expect(input.readableBytes == 0, "round \(round): octets wait behind STARTTLS")
                        session.machine.tlsBegins(true)
                        session.machine.secured(mayRelay: true, offer: AuthOffer())
                        #expect(session.isFresh, "round \(round)")
                        #expect(!isSecured, "round \(round): twice")
                        isSecured = true
                    case .room: session.machine.roomChecked(true)
                    case .envelope: session.machine.envelopeGrown(true)
                    case .readdress:
                        break loop
                    case .ask: session.machine.answered(nil)
                    case .begin: session.machine.begun(true)
                    case .authenticate: session.machine.authenticated(.refused)
                    case .commit: session.machine.committed(.refused(.noRoom))
                    case .input, .close: break loop
                    case .content, .abandon: break
                    }
                }
                if session.machine.isClosed { break }
            }
            #expect(session.isSecure == isSecured)
        }
    }
}
