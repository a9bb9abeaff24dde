// CountingPeerTests.swift — peers that take so many messages in a session and end it by themselves, in every manner and at every
// number: nothing comes twice, and commands follow the dot of every peer whose replies can be told apart.

import Mail
import NIOCore
import SMTP
import TestSupport
import Testing

struct CountingPeerTests {
    @Test(arguments: CountingPeer.Words.allCases)
    func nothingComesTwice(_ words: CountingPeer.Words) {
        var messages = 0
        for limit in 1...50 {
            for farewell in CountingPeer.Farewell.allCases {
                let count = limit * 2 + 3
                var peer = CountingPeer(limit, farewell, words, seed: UInt64(limit))
                peer.deliver(count)
                let name = "\(words), \(farewell) after \(limit)"
                #expect(peer.taken.count == count && peer.taken.values.allSatisfy { $0 == 1 }, "\(name): \(peer.taken)")
                // Sessions that carry all they may: three for twice the limit and a little more.
                #expect(peer.sessions <= (count + limit - 1) / limit + 1, "\(name): \(peer.sessions) sessions")
                let mayFollow = words == .distinct || words == .codesOfTheDotAlone
                #expect(mayFollow || peer.followers == 0, "\(name): \(peer.followers) behind a dot")
                // All but the first two of a session: one shows its replies, and the next is offered when it has its dot.
                if mayFollow, limit > 4 { #expect(peer.followers >= count - peer.sessions * 3, "\(name)") }
                messages += count
            }
        }
        #expect(messages > 10_000)
    }
}

/// A peer, and the relay that delivers to it.
struct CountingPeer {
    /// How it ends a session that has had enough.
    enum Farewell: CaseIterable {
        case close, coded421, bare421, atMAIL, bareAtMAIL
    }

    /// How its replies look.
    enum Words: CaseIterable {
        case distinct, none, same, codesOfTheDotAlone
    }

    private enum Item { case line(String), message }

    private let limit: Int
    private let farewell: Farewell
    private let words: Words
    private var random: SeededRandom
    private(set) var taken: [String: Int] = [:]
    private(set) var sessions = 0
    /// Transactions whose commands followed a dot.
    private(set) var followers = 0

    init(_ limit: Int, _ farewell: Farewell, _ words: Words, seed: UInt64) {
        (self.limit, self.farewell, self.words) = (limit, farewell, words)
        random = SeededRandom(seed: seed)
    }

    /// Delivers messages in as many sessions as it takes; what is deferred or untried goes again.
    mutating func deliver(_ count: Int) {
        var waiting = (0..<count).map { "m\($0)" }
        while !waiting.isEmpty, sessions < count * 2 + 10 {
            sessions += 1
            var session = Session()
            session.waiting = waiting
            run(&session)
            waiting = session.again + session.waiting
        }
    }

    private mutating func run(_ session: inout Session) {
        session.perform(session.machine.handle(.connected))
        session.hear("220 peer\r\n")
        var (sender, held, done) = ("", "", 0)
        while !session.machine.isClosed {
            guard let item = session.sent.popFirst() else { break }
            switch item {
            case .message:
                taken[sender, default: 0] += 1
                done += 1
                held += reply(250, words == .distinct || words == .same || words == .codesOfTheDotAlone ? "2.0.0 " : "")
                if done == limit, farewell != .atMAIL, farewell != .bareAtMAIL {
                    switch farewell {
                    case .coded421: held += "421 4.7.0 enough\r\n"
                    case .bare421: held += "421 enough\r\n"
                    case .close, .atMAIL, .bareAtMAIL: break
                    }
                    session.hear(held)
                    session.perform(session.machine.handle(.peerClosed("connection reset")))
                    followers += session.followers
                    return
                }
            case .line(let line):
                if line.hasPrefix("MAIL FROM:<") { sender = String(line.dropFirst(11).prefix { $0 != "@" }) }
                if line.hasPrefix("MAIL"), done == limit {
                    held += farewell == .atMAIL ? "421 4.7.0 enough\r\n" : "421 enough\r\n"
                    session.hear(held)
                    session.perform(session.machine.handle(.peerClosed(nil)))
                    followers += session.followers
                    return
                }
                held += answer(line)
            }
            // What arrives together is chance, but nothing is held back for ever.
            if session.sent.isEmpty || Int.random(in: 0..<3, using: &random) == 0 {
                session.hear(held)
                held = ""
            }
        }
        session.perform(session.machine.handle(.peerClosed(nil)))
        followers += session.followers
    }

    private func answer(_ line: String) -> String {
        switch line.prefix(4) {
        case "EHLO": "250-peer\r\n250 PIPELINING\r\n"
        case "MAIL": reply(250, words == .distinct ? "2.1.0 " : words == .same ? "2.0.0 " : "")
        case "RCPT": reply(250, words == .distinct ? "2.1.5 " : words == .same ? "2.0.0 " : "")
        case "DATA": "354 go\r\n"
        default: reply(250, "")
        }
    }

    private func reply(_ code: Int, _ status: String) -> String { "\(code) \(status)ok\r\n" }

    /// The relay's side of one connection.
    private struct Session: ~Copyable {
        var machine = ClientMachine(
            ClientMachine.Options(helo: "relay.example", host: "peer", pipelinesAcrossDot: true)
        )
        var parser = ReplyParser()
        var sent = ArraySlice<Item>()
        var waiting: [String] = []
        var again: [String] = []
        var followers = 0
        private var offered: [String] = []

        mutating func hear(_ text: String) {
            parser.append(ByteBuffer(string: text))
            while !machine.isClosed, case .reply(let reply) = parser.next() {
                perform(machine.handle(.replied(reply, moreFollows: parser.holdsMore)))
            }
        }

        mutating func perform(_ actions: [ClientMachine.Action]) {
            for action in actions {
                switch action {
                case .send(let bytes):
                    sent += String(buffer: bytes).split(separator: "\r\n").map { Item.line(String($0)) }
                case .sendBody:
                    sent.append(.message)
                    perform(machine.handle(.bodySent))
                case .ready: offer()
                case .finished(let outcomes):
                    let name = offered.removeFirst()
                    if case .delivered? = outcomes[0] { break }
                    again.append(name)
                case .startTLS, .warn, .close: break
                }
            }
        }

        private mutating func offer() {
            guard machine.takesOffer, !waiting.isEmpty else { return }
            if !machine.isReady { followers += 1 }
            let name = waiting.removeFirst()
            offered.append(name)
            let envelope = Envelope(
                sender: .address(EmailAddress(local: name, domain: Domain(unchecked: "x.example"))),
                recipients: [Recipient(EmailAddress(local: "b", domain: Domain(unchecked: "y.example")))]
            )
            let transaction = Transaction(envelope: envelope, recipients: [0], size: 100, isEightBit: false)
            perform(machine.handle(.offered(transaction)))
        }
    }
}
