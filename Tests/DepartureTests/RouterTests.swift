// RouterTests.swift — from a lane to hosts and addresses, on a resolver that knows what it was told.

import Config
import DNS
import Loop
import Mail
import TestSupport
import Testing

@testable import Departure

struct RouterTests {
    private let resolver = StaticResolver()

    private func router(_ change: (inout Settings) -> Void = { _ in }) -> Router {
        var settings = Settings(me: Domain(unchecked: "relay.test"))
        settings.listener.listen = [("127.0.0.1", 2525), ("0.0.0.0", 2526)].compactMap { text, port in
            IPAddress(text).map { ListenAddress(ip: $0, port: port) }
        }
        change(&settings)
        let own = Set(["198.51.100.7"].compactMap { IPAddress($0) })
        return Router(resolver: InForce(resolver), settings: InForce(settings), ownAddresses: { own })
    }

    private func lane(_ domain: String) -> Lane { .domain(Domain(unchecked: domain)) }

    private func route(_ router: Router, _ lane: Lane, at now: Uptime = .now()) async -> Result<[String], Failure> {
        do throws(Failure) {
            return .success(try await router.route(lane, at: now).hosts.map(\.description))
        } catch {
            return .failure(error)
        }
    }

    private func addresses(_ router: Router, _ mx: MX, isFromTable: Bool) async -> Result<[String], Failure> {
        do throws(Failure) {
            let route = Route(hosts: [mx], isFromTable: isFromTable)
            return .success(try await router.addresses(of: mx, in: route, from: nil).value.map(\.description))
        } catch {
            return .failure(error)
        }
    }

    private func status(_ result: Result<[String], Failure>) -> String {
        switch result {
        case .success(let hosts): "ok \(hosts)"
        case .failure(let failure): "\(failure.reply.code) \(failure.reply.reportedStatus)"
        }
    }

    @Test func ordersByPreference() async {
        resolver.setMX("y.test", ["20 b.test", "10 a.test"])
        #expect(await status(route(router(), lane("y.test"))) == "ok [\"a.test:25\", \"b.test:25\"]")
    }

    @Test func fallsBackToTheDomainItself() async {
        resolver.setAddresses("y.test", ["192.0.2.1"])
        #expect(await status(route(router(), lane("y.test"))) == "ok [\"y.test:25\"]")
    }

    @Test func bouncesANullMX() async {
        resolver.setMX("y.test", ["0 ."])
        #expect(await status(route(router(), lane("y.test"))) == "556 5.1.10")
    }

    @Test func bouncesAnUnknownDomain() async {
        #expect(await status(route(router(), lane("nowhere.test"))) == "550 5.1.2")
    }

    @Test(arguments: [DNSError.timedOut, .serverFailure("x"), .bogus("x")])
    func defersOtherTrouble(_ error: DNSError) async {
        resolver.fail("y.test", error)
        #expect(await status(route(router(), lane("y.test"))) == "451 4.4.3")
    }

    @Test func deliversToALiteral() async {
        #expect(await status(route(router(), lane("[192.0.2.9]"))) == "ok [\"192.0.2.9:25\"]")
        #expect(resolver.questions.isEmpty)
    }

    @Test func keepsWhatTheDNSSaidWhileItHolds() async {
        resolver.setMX("y.test", ["10 a.test"])
        let router = router()
        let now = Uptime(milliseconds: 1_000_000)
        _ = await route(router, lane("y.test"), at: now)
        _ = await route(router, lane("y.test"), at: now.adding(milliseconds: 299_000))
        #expect(resolver.questions.count == 1)
        _ = await route(router, lane("y.test"), at: now.adding(milliseconds: 301_000))
        #expect(resolver.questions.count == 2)
        router.forget()
        _ = await route(router, lane("y.test"), at: now.adding(milliseconds: 302_000))
        #expect(resolver.questions.count == 3)
    }

    @Test(arguments: ["127.0.0.1", "127.9.9.9", "0.0.0.0", "198.51.100.7", "::1", "::"])
    func refusesThisMachineFoundThroughTheDNS(_ address: String) async {
        resolver.setAddresses("a.test", [address])
        #expect(await status(addresses(router(), MX("a.test"), isFromTable: false)) == "554 5.4.6")
        #expect(
            await status(addresses(router { $0.outbound.localMXOK = true }, MX("a.test"), isFromTable: false))
                == "ok [\"\(address)\"]"
        )
        // An administrator may mean it.
        #expect(
            await status(addresses(router(), MX(address), isFromTable: true)) == "ok [\"\(address)\"]"
        )
    }

    @Test(arguments: ["127.0.0.1:2525", "198.51.100.7:2526", "127.0.0.1:2526", "0.0.0.0:2525"])
    func refusesOurOwnListenerEvenFromTheTable(_ place: String) async throws {
        let mx = try #require(MX(parsing: place))
        let lenient = router { $0.outbound.localMXOK = true }
        #expect(await status(addresses(lenient, mx, isFromTable: true)) == "554 5.4.6")
    }

    @Test(arguments: [
        ("127.0.0.1:465", true), ("[::ffff:127.0.0.1]:465", true), ("198.51.100.7:2527", true), ("[::1]:2527", true),
        ("192.0.2.9:2527", false), ("[::1]:2526", false), ("127.0.0.2:465", false), ("127.0.0.1:466", false),
    ])
    func everyListenerOfOursIsALoop(_ place: String, isLoop: Bool) async throws {
        let mx = try #require(MX(parsing: place))
        let router = router { settings in
            settings.listener.smtpsListen = [("127.0.0.1", 465), ("::", 2527)].compactMap { text, port in
                IPAddress(text).map { ListenAddress(ip: $0, port: port) }
            }
        }
        #expect(await status(addresses(router, mx, isFromTable: true)).hasPrefix("554 5.4.6") == isLoop)
    }

    @Test func anAdoptedSocketIsALoopAndTheSettingsAreNot() async throws {
        var settings = Settings(me: Domain(unchecked: "relay.test"))
        settings.outbound.localMXOK = true
        let adopted = ListenAddress(ip: try #require(IPAddress("0.0.0.0")), port: 25)
        let router = Router(
            resolver: InForce<any Resolver>(resolver),
            settings: InForce(settings),
            adopted: [adopted],
            ownAddresses: { [] }
        )
        #expect(await status(addresses(router, MX("127.0.0.1"), isFromTable: true)) == "554 5.4.6")
        #expect(await status(addresses(router, MX("127.0.0.1", port: 2525), isFromTable: true)).hasPrefix("ok"))
    }

    // MARK: - Equal hosts

    @Test func eachSessionSharesEqualHostsAnew() async {
        resolver.setMX("y.test", ["10 a.test", "10 b.test", "10 c.test", "10 d.test", "20 e.test"])
        let router = router()
        let hosts = (1...4).map { MX("h\($0).test", priority: 5) } + [MX("h5.test", priority: 6)]
        for lane in [lane("y.test"), Lane(.chosen(hosts), from: nil)] {
            var firsts: [String: Int] = [:]
            for _ in 0..<80 {
                guard case .success(let route) = await route(router, lane) else { continue }
                firsts[route.first ?? "", default: 0] += 1
                #expect(route.count == 5 && route.last?.contains("5") ?? false || route.last == "e.test:25")
            }
            #expect(firsts.count == 4, "\(firsts)")
        }
        #expect(resolver.questions == ["MX y.test"])
    }

    @Test func writtenOrderHoldsWithoutEqualPriorities() async {
        let lane = Lane(.chosen((1...6).map { MX("h\($0).test", priority: UInt16($0)) }), from: nil)
        let written = (1...6).map { "h\($0).test:25" }
        for _ in 0..<10 { #expect(await route(router(), lane) == .success(written)) }
    }

    /// RFC 5321 §5.1: whoever stands beside us would send the mail back.
    @Test func ourselvesInTheListDiscardOurEquals() async {
        resolver.setAddresses("first.test", ["192.0.2.1"])
        resolver.setAddresses("us.test", ["198.51.100.7"])
        resolver.setAddresses("equal.test", ["192.0.2.2"])
        let hosts = [MX("first.test", priority: 5), MX("equal.test", priority: 10), MX("us.test", priority: 10)]
        let router = router()
        let route = Route(hosts: hosts, isFromTable: false)
        var statuses: [String] = []
        for mx in hosts {
            do throws(Failure) {
                statuses.append(try await router.addresses(of: mx, in: route, from: nil).value.description)
            } catch {
                statuses.append("\(error.reply.reportedStatus)")
            }
        }
        #expect(statuses == ["[192.0.2.1]", "5.4.6", "5.4.6"])
    }

    @Test func ourNameIsOursWhateverItsAddress() async {
        resolver.setAddresses("relay.test", ["192.0.2.1"])
        #expect(await status(addresses(router(), MX("relay.test"), isFromTable: false)) == "554 5.4.6")
        #expect(await status(addresses(router(), MX("relay.test"), isFromTable: true)) == "ok [\"192.0.2.1\"]")
    }

    @Test func anEqualHostWithoutAddressesIsNobody() async {
        resolver.setAddresses("a.test", ["192.0.2.1"])
        resolver.fail("broken.test", .timedOut)
        let route = Route(hosts: [MX("a.test"), MX("broken.test"), MX("gone.test")], isFromTable: false)
        let found = try? await router().addresses(of: MX("a.test"), in: route, from: nil).value
        #expect(found?.count == 1)
    }

    @Test func bouncesOnlyWhatTheDNSNamed() async {
        #expect(await status(addresses(router(), MX("gone.test"), isFromTable: false)) == "550 5.4.4")
        #expect(await status(addresses(router(), MX("gone.test"), isFromTable: true)) == "451 4.4.4")
    }

    @Test func connectsOnlyToTheFamilyOfTheSourceAddress() async {
        resolver.setAddresses("a.test", ["192.0.2.1", "2001:db8::1"])
        let mx = MX("a.test", bind: IPAddress("192.0.2.200"))
        #expect(await status(addresses(router(), mx, isFromTable: true)) == "ok [\"192.0.2.1\"]")
    }
}
