// ClientTLSRandomTests.swift — seeded random peers around the client's STARTTLS and AUTH (row R4).
//
// The oracle looks only at what went out and when: no word of a message and no password before a handshake that was asked
// for, where TLS is demanded; EHLO first inside TLS; nothing that was offered in the clear counts there; no handshake while
// octets in the clear wait behind the reply to STARTTLS.

import Mail
import NIOCore
import SMTP
import TestSupport
import Testing

struct ClientTLSRandomTests {
    @Test func nothingSaidInTheClearCountsInside() {
        var (secured, delivered, injected) = (0, 0, 0)
        let count = Effort.count(10_000)
        for seed in 0..<UInt64(count) {
            var peer = RandomTLSPeer(seed)
            let problem = peer.run()
            #expect(problem == nil, "seed \(seed): \(problem ?? "")")
            if problem != nil { return }
            if peer.isSecure { secured += 1 }
            if peer.hasInjected { injected += 1 }
            if peer.hasSentMail { delivered += 1 }
        }
        #expect(
            secured > count / 4 && injected > count / 20 && delivered > count / 8,
            "\((secured, injected, delivered))"
        )
    }
}

/// A peer that offers STARTTLS and AUTH mostly well, and puts replies where none belong.
struct RandomTLSPeer: ~Copyable {
    private var random: SeededRandom
    private var machine: ClientMachine
    private var parser = ReplyParser()
    private let need: ClientMachine.TLSNeed
    private let hasLogin: Bool
    private var commands: [String] = []
    private var problem: String?
    private var isHandshaking = false
    /// AUTH was offered since the last EHLO of this side of the handshake.
    private var offersAuth = false
    private var greetedInside = false
    private(set) var isSecure = false
    private(set) var hasInjected = false
    private(set) var hasSentMail = false

    init(_ seed: UInt64) {
        random = SeededRandom(seed: seed)
        need = Bool.random(using: &random) ? .required : .ifOffered
        hasLogin = Bool.random(using: &random)
        var options = ClientMachine.Options(helo: "relay.example", host: "mx.example", ip: IPAddress("192.0.2.1"))
        options.tls = need
        if hasLogin { options.login = Login(Credentials(user: "u", proof: .password(Secret("hidden")))) }
        machine = ClientMachine(options)
    }

    mutating func run() -> String? {
        perform(machine.handle(.connected))
        hear("220 mx\r\n")
        for _ in 0..<40 where !machine.isClosed && problem == nil {
            if isHandshaking { shakeHands() } else { answer() }
        }
        if !machine.isClosed { perform(machine.handle(.peerClosed(nil))) }
        return problem
    }

    private mutating func chance(_ one: Int) -> Bool { Int.random(in: 0..<one, using: &random) == 0 }

    private mutating func shakeHands() {
        switch Int.random(in: 0..<12, using: &random) {
        case 0:
            isHandshaking = false
            perform(machine.handle(.tlsFailed("no")))
        case 1:
            isHandshaking = false
            perform(machine.handle(.timedOut))
        case 2:
            isHandshaking = false
            perform(machine.handle(.peerClosed(nil)))
        default:
            isHandshaking = false
            isSecure = true
            offersAuth = false
            let security = ChannelSecurity(version: "TLSv1.3", cipher: "X", trust: .none)
            perform(machine.handle(.tlsEstablished(security)))
        }
    }

    private mutating func answer() {
        guard let command = commands.first else {
            // Nothing is asked: what comes now belongs nowhere.
            hasInjected = true
            hear("250 unasked\r\n")
            return
        }
        commands.removeFirst()
        let surplus = chance(10) ? (chance(2) ? "250 mx\r\n" : "25") : ""
        if !surplus.isEmpty { hasInjected = true }
        switch command {
        case "EHLO":
            let tls = !isSecure && !chance(8) || chance(12) ? "250-STARTTLS\r\n" : ""
            let hasAuth = !chance(3)
            offersAuth = hasAuth
            hear("250-mx\r\n\(tls)\(hasAuth ? "250-AUTH PLAIN LOGIN\r\n" : "")250 8BITMIME\r\n\(surplus)")
        case "STARTTLS":
            let reply =
                chance(6)
                ? ["454 no", "250 ok", "502 what", "334 x", "220-go\r\n220 go"].randomElement(using: &random)
                : "220 go"
            hear("\(reply ?? "220 go")\r\n\(surplus)")
            if isHandshaking, !surplus.isEmpty { problem = "a handshake with \(surplus) in front of it" }
        case "AUTH": hear((chance(5) ? "535 5.7.8 no" : "235 2.7.0 yes") + "\r\n\(surplus)")
        case "DATA": hear("354 go\r\n\(surplus)")
        default: hear("250 2.0.0 ok\r\n\(surplus)")
        }
    }

    private mutating func hear(_ text: String) {
        parser.append(ByteBuffer(string: text))
        while !machine.isClosed, problem == nil, !isHandshaking {
            switch parser.next(keeping: machine.textLimit) {
            case .incomplete: return
            case .malformed(let reason): perform(machine.handle(.malformedReply(reason)))
            case .reply(let reply): perform(machine.handle(.replied(reply, moreFollows: parser.holdsMore)))
            }
        }
    }

    private mutating func perform(_ actions: [ClientMachine.Action]) {
        for action in actions {
            switch action {
            case .send(let bytes): for line in String(buffer: bytes).split(separator: "\r\n") { note(String(line)) }
            case .startTLS:
                if isSecure { problem = "a second handshake" }
                if parser.holdsMore { problem = "octets in the clear wait for the handshake" }
                isHandshaking = true
            case .sendBody:
                hasSentMail = true
                commands.append("dot")
                perform(machine.handle(.bodySent))
            case .ready: if machine.takesOffer { perform(machine.handle(.offered(Self.transaction))) }
            case .warn, .finished, .close: break
            }
        }
    }

    private mutating func note(_ line: String) {
        let verb = String(line.prefix { $0 != " " })
        if isHandshaking { problem = "\(line) goes out in the handshake" }
        if isSecure, !greetedInside {
            if verb != "EHLO" { problem = "\(line) before EHLO inside TLS" }
            greetedInside = true
        }
        switch verb {
        case "MAIL", "RCPT", "DATA": if need == .required, !isSecure { problem = "\(line) without TLS" }
        case "AUTH":
            if !isSecure { problem = "a password in the clear" }
            if !offersAuth { problem = "AUTH was not offered here" }
        case "STARTTLS": if isSecure { problem = "STARTTLS inside TLS" }
        default: break
        }
        if !isSecure, line.contains("hidden") || line.contains(Base64.encode(Array("\0u\0hidden".utf8))) {
            problem = "the password goes out in the clear"
        }
        commands.append(verb)
    }

    private static let transaction = Transaction(
        envelope: Envelope(
            sender: .null,
            recipients: [Recipient(EmailAddress(local: "r", domain: Domain(unchecked: "y.example")))]
        ),
        recipients: [0],
        size: 100,
        isEightBit: false
    )
}
