// ClientRandomTests.swift — seeded random peers against parser and machine, beside an oracle that counts.
//
// The oracle knows only the commands that went out, in order, and the replies that came back, in order. A recipient may be
// called delivered only if the replies in the places of its MAIL, RCPT, DATA and dot say so, and every recipient that was
// offered gets exactly one verdict.

import Mail
import NIOCore
import SMTP
import TestSupport
import Testing

struct ClientRandomTests {
    @Test func neverCallsDeliveredWhatIsNot() {
        var delivered = 0
        for seed in 0..<UInt64(Effort.count(10_000)) {
            var peer = RandomPeer(seed)
            let problem = peer.run()
            #expect(problem == nil, "seed \(seed): \(problem ?? "")")
            if problem != nil { return }
            delivered += peer.delivered
        }
        // A test in which nothing is ever delivered would prove nothing.
        #expect(delivered > Effort.count(3000))
    }
}

/// A conversation with a peer that answers at random, mostly well.
struct RandomPeer: ~Copyable {
    private enum Command { case greeting, hello, mail, recipient, data, dot, other }

    private var random: SeededRandom
    private var machine: ClientMachine
    private var parser = ReplyParser()
    /// Commands without a reply yet, by transaction and recipient.
    private var sent: [(command: Command, transaction: Int, recipient: Int)] = [(.greeting, -1, 0)]
    /// What the oracle thinks of each transaction.
    private var heard: [Heard] = []
    private var finished = 0
    private var offered = 0
    private var bodies = 0
    private(set) var delivered = 0
    private var problem: String?
    private let isLMTP: Bool

    private struct Heard {
        var mail = false
        var recipients: [Bool]
        var data = false
        var dot: Bool?
        var dots: [Bool] = []
    }

    init(_ seed: UInt64) {
        random = SeededRandom(seed: seed)
        isLMTP = Int.random(in: 0..<5, using: &random) == 0
        machine = ClientMachine(
            ClientMachine.Options(
                helo: "relay.example",
                isLMTP: isLMTP,
                host: "mx.example",
                pipelinesAcrossDot: Bool.random(using: &random)
            )
        )
    }

    mutating func run() -> String? {
        perform(machine.handle(.connected))
        for _ in 0..<80 {
            if machine.isClosed || problem != nil { break }
            switch Int.random(in: 0..<120, using: &random) {
            case 0: perform(machine.handle(.timedOut))
            case 1: perform(machine.handle(.peerClosed(nil)))
            case 2: perform(machine.handle(.abort))
            case 3: perform(machine.handle(.quit))
            default: say()
            }
        }
        if !machine.isClosed { perform(machine.handle(.peerClosed(nil))) }
        if problem == nil, finished != offered { problem = "\(offered) offered, \(finished) finished" }
        return problem
    }

    private mutating func say() {
        var bytes: [UInt8] = []
        // Sometimes a reply more than there are commands.
        let surplus = Int.random(in: 0..<40, using: &random) == 0 ? 1 : 0
        for index in 0..<max(1, Int.random(in: 0...max(1, sent.count), using: &random) + surplus) {
            bytes += answer(index)
        }
        var rest = ByteBuffer(bytes: bytes)
        while let piece = rest.readSlice(length: min(rest.readableBytes, Int.random(in: 1...40, using: &random))),
            piece.readableBytes > 0
        {
            parser.append(piece)
            hear()
        }
    }

    private mutating func answer(_ index: Int) -> [UInt8] {
        if Int.random(in: 0..<25, using: &random) == 0 { return randomReply(&random) }
        let refusal = Int.random(in: 0..<12, using: &random) == 0
        let next = index < sent.count ? sent[index].command : nil
        switch next {
        case .hello:
            let words = Bool.random(using: &random) ? "250-mx\r\n250-PIPELINING\r\n250 SIZE 900\r\n" : "250 mx\r\n"
            return Array((refusal ? "502 no\r\n" : words).utf8)
        case .data: return Array((refusal ? "554 no\r\n" : "354 go\r\n").utf8)
        case .greeting: return Array("220 mx\r\n".utf8)
        default:
            let text = refusal ? (Bool.random(using: &random) ? "550 5.1.1 no" : "452 4.5.3 many") : "250 2.0.0 ok"
            return Array((text + "\r\n").utf8)
        }
    }

    private mutating func hear() {
        while !machine.isClosed, problem == nil {
            switch parser.next(keeping: machine.textLimit) {
            case .incomplete: return
            case .malformed(let reason): perform(machine.handle(.malformedReply(reason)))
            case .reply(let reply):
                note(reply)
                perform(machine.handle(.replied(reply, moreFollows: parser.holdsMore)))
            }
        }
    }

    /// The oracle: the reply belongs to the oldest command without one.
    private mutating func note(_ reply: Reply) {
        guard !sent.isEmpty else { return }
        let (command, transaction, recipient) = sent.removeFirst()
        let isGood = reply.code / 100 == 2 && reply.code / 10 != 22
        switch command {
        case .mail: heard[transaction].mail = isGood
        case .recipient: heard[transaction].recipients[recipient] = isGood
        case .data: heard[transaction].data = reply.code / 100 == 3
        case .dot:
            heard[transaction].dot = isGood
            heard[transaction].dots.append(isGood)
        case .greeting, .hello, .other: break
        }
    }

    private mutating func perform(_ actions: [ClientMachine.Action]) {
        for action in actions {
            switch action {
            case .send(let bytes): noteSent(String(buffer: bytes))
            case .startTLS, .warn: break
            case .sendBody:
                let transaction = bodies
                let places = isLMTP ? heard[transaction].recipients.count { $0 } : 1
                for _ in 0..<places { sent.append((.dot, transaction, 0)) }
                perform(machine.handle(.bodySent))
            case .ready:
                guard machine.takesOffer else { break }
                let count = Int.random(in: 1...3, using: &random)
                heard.append(Heard(recipients: Array(repeating: false, count: count)))
                offered += 1
                perform(
                    machine.handle(.offered(Self.transaction(count, size: Int.random(in: 1...1000, using: &random))))
                )
            case .finished(let outcomes): finish(outcomes)
            case .close: break
            }
        }
    }

    /// The transaction that commands belong to: the latest one that was offered.
    private mutating func noteSent(_ text: String) {
        var recipient = heard.last.map { heard in heard.recipients.count } ?? 0
        var position =
            sent.last { $0.command == .recipient && $0.transaction == offered - 1 }.map { $0.recipient + 1 } ?? 0
        if let next = Int(text.split(separator: "r").last?.prefix(1) ?? ""), !text.contains("MAIL") { position = next }
        recipient = position
        for line in text.split(separator: "\r\n") {
            if line.hasPrefix("MAIL") {
                sent.append((.mail, offered - 1, 0))
            } else if line.hasPrefix("RCPT") {
                sent.append((.recipient, offered - 1, recipient))
                recipient += 1
            } else if line == "DATA" {
                sent.append((.data, offered - 1, 0))
            } else if line.hasPrefix("EHLO") || line.hasPrefix("LHLO") || line.hasPrefix("HELO") {
                sent.append((.hello, -1, 0))
            } else {
                sent.append((.other, -1, 0))
            }
        }
    }

    private mutating func finish(_ outcomes: [Outcome?]) {
        let transaction = finished
        finished += 1
        bodies = finished
        guard transaction < heard.count else {
            problem = "more finished than offered"
            return
        }
        let heard = heard[transaction]
        if outcomes.count != heard.recipients.count { problem = "\(outcomes.count) outcomes" }
        var accepted = 0
        for (position, outcome) in outcomes.enumerated() {
            let wasAccepted = position < heard.recipients.count && heard.recipients[position]
            defer { if wasAccepted { accepted += 1 } }
            guard case .delivered = outcome else { continue }
            delivered += 1
            let dot = isLMTP ? accepted < heard.dots.count && heard.dots[accepted] : heard.dot ?? false
            if !(heard.mail && wasAccepted && heard.data && dot) {
                problem = "transaction \(transaction), recipient \(position) is no delivery: \(heard)"
            }
        }
    }

    private static func transaction(_ count: Int, size: Int) -> Transaction {
        let recipients = (0..<count).map { index in
            Recipient(EmailAddress(local: "r\(index)", domain: Domain(unchecked: "y.example")))
        }
        return Transaction(
            envelope: Envelope(sender: .null, recipients: recipients),
            recipients: Array(0..<UInt32(count)),
            size: size,
            isEightBit: false
        )
    }
}
