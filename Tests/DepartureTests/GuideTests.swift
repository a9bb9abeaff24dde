// GuideTests.swift — what explain says of cases that it once had wrong, or was silent about.

import Config
import DNS
import Glibc
import Hooks
import Log
import Loop
import Mail
import NIOPosix
import OpenSSL
import Queue
import TestSupport
import Testing

@testable import Departure

struct GuideTests {
    private let resolver = StaticResolver()

    private func way(
        _ files: [String: String],
        to recipient: String = "x@b.test",
        plugins: [any Plugin] = [],
        change: (inout Envelope) -> Void = { _ in }
    ) async throws -> Itinerary {
        let settings = try SettingsFiles.read(files)
        let (resolver, inForce) = (InForce<any DNS.Resolver>(self.resolver), InForce(settings))
        let trust = TrustFinder(resolver: resolver, settings: inForce)
        let log = LogSink(descriptor: open("/dev/null", O_WRONLY), level: .error)
        let pool = NIOThreadPool(numberOfThreads: 1)
        defer { pool.shutdownGracefully { _ in } }
        let queue = MailQueue(
            store: MemoryStore(),
            disk: pool,
            memory: MemoryBudget(limit: 1 << 20),
            options: MailQueue.Options()
        ) { recipient, _ in .domain(recipient.domain) }
        let guide = Guide(
            Router(resolver: resolver, settings: inForce, ownAddresses: { [] }),
            trust,
            PluginChain(plugins, log: log, deadline: { .seconds(30) }),
            queue
        )
        let address = try #require(EmailAddress(recipient))
        var envelope = Envelope(sender: .null, recipients: [Recipient(address)])
        change(&envelope)
        return await guide.way(of: envelope, to: address, settings)
    }

    @Test func theNameGoesWithTheAddressThatIsBound() async throws {
        let way = try await way([
            "routes.ini": "[b.test]\nmx = 127.0.0.1:2599 bind=127.0.0.3\n",
            "outbound_ip.ini": "[recipient b.test]\nip = 127.0.0.4\nhelo = out4.test\n",
        ])
        let session = try #require(way.hosts.first?.sessions.first)
        #expect(session.bind?.description == "127.0.0.3")
        #expect((session.helo.name, session.heloBecause) == ("relay.test", .me))
    }

    @Test func aLoginAsksForTLSWhateverEnableTLSSays() async throws {
        let way = try await way([
            "routes.ini": "[b.test]\nmx = 192.0.2.1:25 auth_user=u auth_pass=p\n",
            "outbound.ini": "enable_tls = false\n",
        ])
        let session = try #require(way.hosts.first?.sessions.first)
        #expect(session.tries.map(\.level) == [.may])
        #expect(session.tries.first?.because == .login)
    }

    @Test func recordsOfTheHostAreAskedForAndShown() async throws {
        resolver.setMX("b.test", ["10 mx.b.test"])
        resolver.setAddresses("mx.b.test", ["192.0.2.1"])
        resolver.setTLSA(
            "_25._tcp.mx.b.test",
            [TLSARecord(usage: 3, selector: 1, matching: 1, data: Array(repeating: 7, count: 32))]
        )
        resolver.setSecure("b.test", "mx.b.test", "_25._tcp.mx.b.test")
        let way = try await way(["outbound.ini": "enable_tls = true\n"])
        let host = try #require(way.hosts.first)
        #expect((way.isSecure, host.trust.askedForRecords, host.trust.voucher) == (true, true, .dnssec))
        #expect(host.trust.facts.dane == .usable)
        #expect(host.sessions.first?.tries.map(\.level) == [.dane])
        #expect(host.sessions.first?.tries.first?.because == .dane)
    }

    @Test func aMessageThatDemandsTLSIsRefusedWhereTheRouteForbidsIt() async throws {
        let way = try await way(["routes.ini": "[b.test]\nmx = 192.0.2.1:25 tls=off\n"]) { $0.requiresTLS = true }
        #expect(way.lane.tls == .verify)
        #expect(way.hosts.first?.sessions.first?.refusal?.because == .route)
    }

    @Test func pluginsAreAskedForTheWayAndNamed() async throws {
        let plugin = Signpost(hooks: [.getMX, .sendEmail], answer: .use([MX("192.0.2.9", port: 2525)]))
        let way = try await way(["routes.ini": "[b.test]\nmx = 192.0.2.1:25\n"], plugins: [plugin])
        #expect((way.delayingPlugins, way.guidingPlugins) == (["signpost"], ["signpost"]))
        #expect((way.hopBecause, way.section) == (.plugin, "b.test"))
        #expect(way.hosts.map(\.mx.description) == ["192.0.2.9:2525"])
    }

    @Test func aPluginThatRefusesIsTheProblem() async throws {
        let way = try await way([:], plugins: [Signpost(hooks: .getMX, answer: .reject("no way"))])
        #expect(way.problem?.reply.code == 550 && way.hosts.isEmpty)
    }

    @Test func whatComesBackToUsEndsTheList() async throws {
        let way = try await way([
            "smtp.ini": "listen = 127.0.0.1:2525\n",
            "routes.ini":
                "[b.test]\nmx = 192.0.2.1:25 priority=1\nmx = 127.0.0.1:2525 priority=2\nmx = 192.0.2.2:25 priority=3\n",
        ])
        #expect(way.hosts.map { $0.problem == nil } == [true, false])
    }

    @Test func aHostWithoutAnAddressStillSaysItsRoute() async throws {
        let way = try await way(["routes.ini": "[b.test]\nmx = gone.test bind_helo=me.test tls=verify\n"])
        let host = try #require(way.hosts.first)
        #expect(host.problem != nil && host.sessions.isEmpty)
        #expect(host.outline.helo.name == "me.test")
        #expect(host.outline.tries.map(\.level) == [.verify])
    }
}

/// Knows one way.
private struct Signpost: Plugin {
    let name = "signpost"
    let hooks: HookSet
    let answer: GetMXAnswer

    func getMX(_ mail: HMail, domain: Domain) async -> GetMXAnswer { answer }
}
