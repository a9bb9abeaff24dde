// GuideTests.swift — what explain says of cases that it once had wrong, or was silent about.

import Config
import DNS
import Glibc
import HTTPClient
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
        web: WebFetch? = nil,
        kept: [UInt8]? = nil,
        change: (inout Envelope) -> Void = { _ in }
    ) async throws -> Itinerary {
        let settings = try SettingsFiles.read(files)
        let (resolver, inForce) = (InForce<any DNS.Resolver>(self.resolver), InForce(settings))
        let log = LogSink(descriptor: open("/dev/null", O_WRONLY), level: .error)
        let policies = web.map {
            let store = STSStore(load: { _ in kept }, save: { _, _ in })
            return STSPolicies(resolver: resolver, settings: inForce, fetch: $0, store: store, log: log)
        }
        let trust = TrustFinder(resolver: resolver, settings: inForce, policies: policies)
        let pool = NIOThreadPool(numberOfThreads: 1)
        defer { pool.shutdownGracefully { _ in } }
        let queue = MailQueue(
            store: MemoryStore(),
            disk: pool,
            memory: MemoryBudget(limit: 1 << 20),
            options: MailQueue.Options()
        ) { recipient, _ in .domain(recipient.domain) }
        queue.apply(settings.outboundIPs.pools)
        let guide = Guide(
            Router(resolver: resolver, settings: inForce, ownAddresses: { [] }),
            trust,
            PluginChain(plugins, log: log, deadline: { .seconds(600) }),
            queue
        )
        let address = try #require(EmailAddress(recipient))
        var envelope = Envelope(sender: .null, recipients: [Recipient(address)])
        change(&envelope)
        return await guide.way(of: envelope, to: address, settings)
    }

    @Test func theNamesOfAllAddressesOfAPoolAreLookedAt() async throws {
        let way = try await way(
            [
                "routes.ini": "[b.test]\nmx = 192.0.2.99:25\n",
                "outbound_ip.ini": """
                [*]
                pool = main
                [pool main]
                address = 127.0.0.2 weight 3 helo out2.test
                address = 127.0.0.3
                """,
            ]
        )
        #expect(way.lane.source?.description == "127.0.0.2 (out2.test) of pool main" && way.sourceBecause == .table)
        #expect(way.pool?.members.map(\.weight) == [3, 1])
        let names = way.sources(Domain(unchecked: "relay.test")) { _ in nil }.map { "\($0.address) \($0.name)" }
        #expect(names == ["127.0.0.2 out2.test", "127.0.0.3 relay.test"])
        let found = [
            BulkRules.pointer(of: IPAddress("192.0.2.1"), called: "out.test", "Out.Test"),
            BulkRules.pointer(of: IPAddress("192.0.2.1"), called: "out.test", "other.test"),
            BulkRules.pointer(of: IPAddress("192.0.2.1"), called: "out.test", nil),
        ]
        #expect(found.map { $0?.state } == [.good, .bad, .bad] && found[2]?.remedy.contains("out.test") == true)
        let skipped = BulkRules.pointers(
            of: way,
            me: Domain(unchecked: "relay.test"),
            { _ in nil },
            system: { _ in nil }
        )
        #expect(skipped.map(\.state) == [.skipped, .skipped])
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

    /// RFC 7672 §2.2.1 leaves it open: who can forge the MX records can name a host of his own, with records that match.
    @Test func recordsUnderAnInsecureNameAreNotAskedFor() async throws {
        resolver.setMX("b.test", ["10 mx.b.test"])
        resolver.setAddresses("mx.b.test", ["192.0.2.1"])
        resolver.setTLSA(
            "_25._tcp.mx.b.test",
            [TLSARecord(usage: 3, selector: 1, matching: 1, data: Array(repeating: 7, count: 32))]
        )
        resolver.setSecure("mx.b.test", "_25._tcp.mx.b.test")
        let way = try await way(["outbound.ini": "enable_tls = true\n"])
        let host = try #require(way.hosts.first)
        #expect((way.isSecure, host.trust.askedForRecords) == (false, false) && host.trust.voucher == nil)
        #expect(host.sessions.first?.tries.map(\.level) == [.may] && host.sessions.first?.lastResort != nil)
        #expect(!resolver.questions.contains { $0.hasPrefix("TLSA") })
    }

    /// RFC 8461 §3.3: without an answer there is no policy for now, and one that was seen holds.
    @Test(arguments: [DNSError.serverFailure("SERVFAIL"), .timedOut, .bogus("forged"), .noSuchName], [false, true])
    func aRecordThatCannotBeLookedUpIsNoPolicyUnlessOneIsKept(_ error: DNSError, isKept: Bool) async throws {
        resolver.setMX("b.test", ["10 mx.b.test"])
        resolver.setAddresses("mx.b.test", ["192.0.2.1"])
        resolver.fail("_mta-sts.b.test", error)
        let policy = "version: STSv1\nmode: enforce\nmx: mx.b.test\nmax_age: 86400\n"
        let kept = Array("mta-sts 1 7 \(Timestamp.now().milliseconds - 1000)\n\(policy)".utf8)
        let web = WebFetch { _ in .failure(HTTPError(.cannotResolve, "nobody is asked")) }
        let way = try await way(["outbound.ini": "enable_tls = true\n"], web: web, kept: isKept ? kept : nil)
        let (host, session) = (try #require(way.hosts.first), try #require(way.hosts.first?.sessions.first))
        #expect(host.trust.askedForPolicy && host.problem == nil)
        #expect(host.trust.facts.sts == (isKept ? .match : .absent))
        #expect(session.tries.map(\.level) == (isKept ? [.verify] : [.may]))
        #expect((session.lastResort == nil) == isKept)
    }

    // MARK: the domain of a lane is its A-labels

    /// One domain in spellings that people use.
    private static let spellings = [
        "bücher.test", "BÜCHER.test", "bu\u{308}cher.test", "xn--bcher-kva.test", "XN--BCHER-KVA.Test",
    ]
    private static let host = "mx.xn--bcher-kva.test"

    /// One host, for which DNSSEC vouches.
    private func setHost() {
        resolver.setMX("xn--bcher-kva.test", ["10 \(Self.host)"])
        resolver.setAddresses(Self.host, ["192.0.2.1"])
        resolver.setSecure("xn--bcher-kva.test", Self.host, "_25._tcp.\(Self.host)")
    }

    @Test(arguments: spellings)
    func anEnforcedPolicyHoldsForEverySpellingOfItsDomain(_ domain: String) async throws {
        setHost()
        resolver.setText("_mta-sts.xn--bcher-kva.test", ["v=STSv1; id=1;"])
        resolver.setAddresses("mta-sts.xn--bcher-kva.test", ["192.0.2.2"])
        let web = WebFetch { request in
            guard request.url == "https://mta-sts.xn--bcher-kva.test/.well-known/mta-sts.txt" else {
                return .failure(HTTPError(.cannotResolve, request.url))
            }
            let text = "version: STSv1\nmode: enforce\nmx: \(Self.host)\nmax_age: 86400\n"
            return .success(
                HTTPResponse(status: 200, headers: [("content-type", "text/plain")], body: Array(text.utf8))
            )
        }
        let way = try await way(["outbound.ini": "enable_tls = true\n"], to: "x@\(domain)", web: web)
        let session = try #require(way.hosts.first?.sessions.first)
        #expect(way.hosts.first?.trust.facts.sts == .match)
        #expect(session.tries == session.tries.filter { $0.level == .verify && $0.check == .names([Self.host]) })
        #expect(session.lastResort == nil && session.serverName == Self.host)
        #expect(resolver.questions.allSatisfy { $0.utf8.allSatisfy { $0 < 0x80 } })
    }

    @Test(arguments: spellings)
    func recordsCountForEverySpellingOfADomain(_ domain: String) async throws {
        setHost()
        let data = [UInt8](repeating: 7, count: 32)
        resolver.setTLSA("_25._tcp.\(Self.host)", [TLSARecord(usage: 2, selector: 1, matching: 1, data: data)])
        let way = try await way(["outbound.ini": "enable_tls = true\n"], to: "x@\(domain)")
        let record = PeerCheck.TLSA(usage: 2, selector: 1, matching: 1, data: data)
        let check = PeerCheck.dane([record], base: Self.host, names: ["xn--bcher-kva.test"])
        #expect(way.hosts.first?.sessions.first?.tries.map(\.check) == [check])
        #expect(way.lane.description == "xn--bcher-kva.test")
    }

    @Test(arguments: spellings)
    func aRouteIsFoundByEverySpellingAndItsHostIsALabels(_ domain: String) async throws {
        let route = "[\(domain)]\nmx = mx.\(domain):25 tls=verify auth_user=u auth_pass=p\n"
        resolver.setAddresses(Self.host, ["192.0.2.1"])
        for recipient in Self.spellings {
            let way = try await way(["routes.ini": route], to: "x@\(recipient)")
            let session = try #require(way.hosts.first?.sessions.first)
            #expect(way.decision.route?.match == "xn--bcher-kva.test")
            #expect(session.first?.check == .names([Self.host]))
            #expect(session.serverName == Self.host && session.peer == "\(Self.host)[192.0.2.1]:25")
        }
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
        #expect((way.hopBecause, way.decision.route?.match) == (.plugin, "b.test"))
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

extension BulkRules {
    fileprivate static func pointer(of address: IPAddress?, called name: String, _ back: String?) -> Finding? {
        address.map { pointer(of: $0, called: Domain(unchecked: name), { _ in back }) }
    }
}
