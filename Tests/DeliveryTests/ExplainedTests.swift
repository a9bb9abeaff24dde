// ExplainedTests.swift — what explain says is what a peer sees: configurations that were made up, explained and executed.
//
// Each is text as an administrator would write it. What the peers must see is worked out from the explanation alone: order
// of hosts, source address, EHLO, STARTTLS, whether the certificate will do, login and mechanism.

import Config
import DNS
import Departure
import Glibc
import Hooks
import Log
import Loop
import Mail
import NIOCore
import NIOPosix
import OpenSSL
import Queue
import SMTP
import TestSupport
import Testing

@testable import Delivery

struct ExplainedTests {
    @Test(.timeLimit(.minutes(10)))
    func whatIsExplainedIsWhatPeersSee() async throws {
        let world = try await World()
        var random = SeededRandom(seed: 10)
        var kinds: Set<String> = []
        for number in 0..<Effort.count(300) {
            let made = world.configuration(&random)
            let settings = try world.settings(made.files)
            let (way, seen) = try await world.run(made, settings)
            // Hosts of equal priority are taken in an order of chance, by the one who explains and by the one who goes.
            let possible = Expectation.orders(of: way.hosts).map {
                Expectation(scripts: made.scripts, right: world.right).sessions(at: $0)
            }
            let expected = possible.first { World.fits(seen, $0) } ?? possible.first ?? []
            let isTrue = World.fits(seen, expected)
            #expect(isTrue, "configuration \(number): saw \(seen), explained \(expected), of \(made)")
            if !isTrue { break }
            kinds.formUnion(seen.map { $0.split(separator: ":").last.map(World.kind) ?? "" })
        }
        // The made-up configurations are worth something: sessions of many kinds stood.
        #expect(kinds.count > 15 || Effort.count(300) < 300, "\(kinds)")
        await world.close()
    }
}

/// A configuration, and how its hosts behave.
private struct Made {
    var files: [String: String]
    var scripts: [String: Stage.Script]
    var envelope: Envelope
    /// TLSA records by the name they stand under.
    var records: [String: [TLSARecord]]
}

/// What peers must see when the explanation is true.
private struct Expectation {
    let scripts: [String: Stage.Script]
    /// SHA-256 of the certificate for the names of the hosts.
    let right: [UInt8]

    private enum End { case stands, tlsFails, hostFails, loginFails }

    /// Every order in which a session may take the hosts.
    static func orders(of hosts: [Itinerary.Host]) -> [[Itinerary.Host]] {
        guard let best = hosts.map(\.mx.priority).min() else { return [[]] }
        return hosts.indices.filter { hosts[$0].mx.priority == best }.flatMap { index in
            var rest = hosts
            let first = rest.remove(at: index)
            return orders(of: rest).map { [first] + $0 }
        }
    }

    func sessions(at hosts: [Itinerary.Host]) -> [String] {
        var sessions: [String] = []
        var lastResorts: [Departure] = []
        for host in hosts where host.problem == nil {
            for departure in host.sessions {
                tries: for attempt in departure.tries {
                    let (text, end) = session(departure, attempt)
                    sessions.append(text)
                    switch end {
                    case .stands, .loginFails: return sessions
                    case .hostFails: break tries
                    case .tlsFails where attempt == departure.tries.last: lastResorts.append(departure)
                    case .tlsFails: continue
                    }
                }
            }
        }
        for departure in lastResorts {
            guard let clear = departure.lastResort else { continue }
            let (text, end) = session(departure, clear)
            sessions.append(text)
            if case .hostFails = end { continue }
            break
        }
        return sessions
    }

    private func session(_ departure: Departure, _ attempt: Departure.Try) -> (String, End) {
        let place = "\(departure.ip.map { "\($0)" } ?? "?"):\(departure.mx.port)"
        let script = scripts[place] ?? Stage.Script()
        var text = "\(place) from \(departure.bind.map { "\($0)" } ?? "*"):"
        let hello = " \(departure.mx.usingLMTP ? "LHLO" : "EHLO") \(departure.helo.name)"
        let certificateWillDo =
            switch attempt.check {
            case .none: true
            case .names: script.hasRightName
            // The right one is the only certificate that a record names.
            case .dane(let records, _, _): script.hasRightName && records.contains { $0.data == right }
            }
        if attempt.need == .implicit {
            guard certificateWillDo else { return (text, .tlsFails) }
            text += " TLS"
        }
        if script.turnsAway { return (text, .hostFails) }
        text += hello
        switch attempt.need {
        case .ifOffered where script.offersTLS, .required where script.offersTLS:
            text += " STARTTLS"
            guard certificateWillDo, !script.refusesTLS else { return (text, .tlsFails) }
            text += " TLS" + hello
        case .required: return (text, .tlsFails)
        case .never, .ifOffered, .implicit: break
        }
        guard let auth = departure.mx.auth else { return (text, .stands) }
        let isEncrypted = text.utf8.count > 3 && text.contains("TLS")
        let usable = departure.mechanisms(auth, isEncrypted: isEncrypted).first {
            script.mechanisms.contains($0.rawValue)
        }
        guard let usable else { return (text, departure.mx.onAuthUnavailable == .sendWithout ? .stands : .loginFails) }
        return (text + " AUTH \(usable.rawValue) \(auth.user)", .stands)
    }
}

/// Three hosts on the loopback, and everything between a queue and them.
private final class World: Sendable {
    private static let names = ["a.test", "b.test", "c.test"]

    private let stage = Stage()
    private let peers: [ScriptedPeer]
    private let resolver = StaticResolver()
    private let authority: [UInt8]
    /// SHA-256 of the certificate for the names of the hosts, as a TLSA record with selector 0 has it.
    let right: [UInt8]
    private let loop = MultiThreadedEventLoopGroup.singleton.next()
    private let pool = NIOThreadPool(numberOfThreads: 1)
    private let queue: MailQueue
    private let plugins: PluginChain

    init() async throws {
        var request = CertificatePair.Request(names: ["authority.test"])
        request.isAuthority = true
        let issuer = try CertificatePair.make(request)
        authority = issuer.certificates
        func pair(_ names: [String]) throws -> CertificatePair {
            try CertificatePair.make(CertificatePair.Request(names: names), issuer: issuer)
        }
        let pairs = (right: try pair(Self.names), wrong: try pair(["wrong.test"]))
        let right = try TLSContext(server: TLSContext.Server(certificate: pairs.right))
        let wrong = try TLSContext(server: TLSContext.Server(certificate: pairs.wrong))
        self.right = Digest.sha256(Self.firstBlock(of: pairs.right.certificates))
        var peers: [ScriptedPeer] = []
        for (index, name) in Self.names.enumerated() {
            let address = "127.0.0.\(index + 2)"
            peers.append(try await ScriptedPeer(address, on: stage, right: right, wrong: wrong))
            resolver.setAddresses(name, [address])
            resolver.setSecure(name, Self.place(of: name, peers[index].port))
        }
        self.peers = peers
        pool.start()
        let log = LogSink(descriptor: open("/dev/null", O_WRONLY), level: .error)
        plugins = PluginChain([], log: log, deadline: { .seconds(600) })
        queue = MailQueue(
            store: MemoryStore(),
            disk: pool,
            memory: MemoryBudget(limit: 1 << 20),
            options: MailQueue.Options()
        ) { recipient, _ in .domain(recipient.domain) }
    }

    static func fits(_ seen: [String], _ expected: [String]) -> Bool {
        seen.count == expected.count
            && zip(seen, expected).allSatisfy { seen, expected in
                // Without a source address of ours the system's choice is its own.
                (expected.utf8.contains(UInt8(ascii: "*")) ? withoutSource(seen) : seen) == expected
            }
    }

    /// Where the TLSA records of a host stand.
    private static func place(of name: String, _ port: UInt16) -> String { "_\(port)._tcp.\(name)" }

    /// What the first certificate of a PEM text is in DER.
    private static func firstBlock(of pem: [UInt8]) -> [UInt8] {
        let lines = String(decoding: pem, as: UTF8.self).split(separator: "\n").drop { !$0.hasPrefix("-----BEGIN") }
        let block = lines.dropFirst().prefix { !$0.hasPrefix("-----END") }.joined()
        return Base64.decode(block.utf8) ?? []
    }

    func close() async {
        for peer in peers { await peer.close() }
        pool.shutdownGracefully { _ in }
    }

    func settings(_ files: [String: String]) throws -> Settings {
        var settings = try SettingsFiles.read(files)
        settings.nextHopAuthorities = authority
        return settings
    }

    /// Explains, then goes.
    func run(_ made: Made, _ settings: Settings) async throws -> (Itinerary, [String]) {
        let (resolver, inForce) = (InForce<any DNS.Resolver>(self.resolver), InForce(settings))
        let router = Router(resolver: resolver, settings: inForce, ownAddresses: { [] })
        let trust = TrustFinder(resolver: resolver, settings: inForce)
        let guide = Guide(router, trust, plugins, queue)
        let recipient = made.envelope.recipients[0].address
        for (name, records) in made.records { self.resolver.setTLSA(name, records) }
        let way = await guide.way(of: made.envelope, to: recipient, settings)
        stage.begin(made.scripts)
        let loop = self.loop
        let source = try await loop.submit { NIOLoopBound<any ParcelSource>(Leaver(), eventLoop: loop) }.get()
        let opener = LaneOpener(
            router: router,
            trust: trust,
            connector: Connector(loop: loop, source: source),
            settings: settings,
            disk: pool,
            budget: nil,
            slot: nil
        )
        var troubles: [Failure] = []
        let lane = settings.lane(for: recipient, of: made.envelope)
        #expect(lane == way.lane)
        try? await opener.open(lane, carrying: [], after: nil, troubles: &troubles)
        return (way, stage.sessions)
    }

    // MARK: making up

    func configuration(_ random: inout SeededRandom) -> Made {
        func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
        func pick<Value>(_ values: [Value]) -> Value { values[Int.random(in: 0..<values.count, using: &random)] }
        func address() -> String { "127.0.0.\(Int.random(in: 10...14, using: &random))" }
        var scripts: [String: Stage.Script] = [:]
        var records: [String: [TLSARecord]] = [:]
        for (peer, name) in zip(peers, Self.names) {
            let data = chance(60) ? right : [UInt8](repeating: 7, count: 32)
            let record = TLSARecord(usage: chance(80) ? 3 : 1, selector: 0, matching: 1, data: data)
            records[Self.place(of: name, peer.port)] = chance(35) ? [record] : []
        }
        var route = "[\(pick(["x.test", "*", "r@x.test", "sender s.test"]))]\n"
        for (peer, name) in zip(peers, Self.names) where name == "a.test" || chance(60) {
            var line = "mx = \(name):\(peer.port) priority=\(pick([0, 10, 20]))"
            var script = Stage.Script(offersTLS: chance(60), hasRightName: chance(70), turnsAway: chance(35))
            script.refusesTLS = chance(25)
            script.mechanisms = pick([
                [], ["PLAIN"], ["LOGIN"], ["CRAM-MD5"], ["PLAIN", "LOGIN", "CRAM-MD5"], ["GSSAPI"], ["XOAUTH2"],
            ])
            if chance(30) { line += " bind=\(address())" }
            if chance(20) { line += " bind_helo=\(pick(["one", "two"])).bound.test" }
            if chance(50) { line += " tls=\(pick(["off", "may", "require", "verify", "dane"]))" }
            // Together with `tls=off` it is a contradiction, which is refused when it is read.
            if chance(20), !line.contains("tls=off") {
                line += " implicit_tls=true"
                script.isImplicit = true
            }
            if chance(15) { line += " using_lmtp=true" }
            if chance(50) { line += " auth_user=\(pick(["ann", "bob"])) auth_pass=secret" }
            if line.contains("auth_user") {
                if chance(40) { line += " auth_type=\(pick(["plain", "login", "cram-md5", "xoauth2"]))" }
                if chance(40) { line += " on_auth_unavailable=\(pick(["send_without", "defer", "bounce"]))" }
            }
            route += line + "\n"
            scripts[peer.place] = script
        }
        var sources = ""
        for section in ["*", "recipient x.test", "sender s.test", "user shop", "recipient other.test"] where chance(35)
        {
            sources += "[\(section)]\nip = \(address())\n"
            if chance(50) { sources += "helo = \(pick(["out1", "out2", "out3"])).table.test\n" }
        }
        var envelope = Envelope(
            sender: chance(20) ? .null : .address(EmailAddress(local: "s", domain: Domain(unchecked: "s.test"))),
            recipients: [Recipient(EmailAddress(local: "r", domain: Domain(unchecked: "x.test")))]
        )
        if chance(30) { envelope.user = "shop" }
        envelope.notes.forceTLS = chance(8)
        envelope.requiresTLS = chance(8)
        if chance(10) { envelope.notes.outboundIP = IPAddress(address()) }
        if chance(10) { envelope.notes.outboundHelo = Domain("noted.test") }
        let files = [
            "me": "\(pick(["relay", "other"])).example.test\n", "routes.ini": route, "outbound_ip.ini": sources,
            "outbound.ini": "enable_tls = \(chance(50))\ntls_fallback_after = 0\n",
        ]
        return Made(files: files, scripts: scripts, envelope: envelope, records: records)
    }

    /// With `*` in place of the address that a session came from.
    static func withoutSource(_ session: String) -> String {
        guard let start = session.firstRange(of: " from "), let end = session[start.upperBound...].firstIndex(of: ":")
        else {
            return session
        }
        return session[..<start.upperBound] + "*" + session[end...]
    }

    /// A session without its names.
    static func kind(_ session: Substring) -> String {
        session.split(separator: " ").filter {
            $0.utf8.allSatisfy { (0x41...0x5A).contains($0) || $0 == 0x2D || $0 == 0x35 }
        }
        .joined(separator: " ")
    }
}

/// Nothing to carry: the session ends where MAIL would stand.
private final class Leaver: ParcelSource {
    func next(for session: ClientHandler) -> NextParcel { .yield }
    func idles(_ session: ClientHandler) { session.quit() }
    func stands(_ session: ClientHandler) {}
    func ended(_ session: ClientHandler) {}
    func warns(_ warning: ClientMachine.Warning, from session: ClientHandler) {}
    func finished(_ attempt: Attempt, _ outcomes: [Outcome?], by session: ClientHandler) {}
}
