// DoctorTests.swift — what the examinations say, with the words and remedies that people act on.

import Config
import DNS
import Departure
import Glibc
import Mail
import TestSupport
import Testing

@testable import Doctor

struct DoctorTests {
    private static let resolver = StaticResolver()

    private static func patient(
        networks: [String] = ["127.0.0.0/8"],
        listen: [String] = ["127.0.0.1"],
        me: String = "relay.test",
        anchor: Bool = false,
        data: String = "/tmp",
        config: String = "/nonexistent"
    ) throws -> Patient {
        var settings = Settings(me: try #require(Domain(me)))
        settings.relayNetworks = networks.compactMap { IPNetwork($0) }
        settings.listener.listen = listen.compactMap { IPAddress($0) }.map { ListenAddress(ip: $0, port: 2525) }
        if anchor { settings.resolver.trustAnchorFile = "root.key" }
        return Patient(settings: settings, dataPath: data, configPath: config, sender: "example.test", probe: "none")
    }

    private static func shown(_ findings: [Finding]) -> [String] { findings.map { "\($0.state) \($0.name)" } }

    // MARK: - This machine

    @Test(arguments: [
        // (networks, where it listens, what is found)
        (["10.0.0.0/8"], ["127.0.0.1"], ["good relaying"]),
        (["10.0.0.0/7"], ["127.0.0.1"], ["odd open relay"]),
        (["::/0"], ["::"], ["bad open relay"]),
        (["2000::/15"], ["::1"], ["odd open relay"]),
        (["2001::/16"], ["::1"], ["good relaying"]),
        ([], ["0.0.0.0"], ["bad relaying"]),
    ])
    func whoMayRelay(networks: [String], listen: [String], found: [String]) throws {
        let findings = Doctor.relaying(try Self.patient(networks: networks, listen: listen))
        #expect(Self.shown(findings) == found, "\(findings)")
        #expect(findings.allSatisfy { $0.state == .good || $0.needsRemedy })
    }

    @Test func aListOfNetworksIsCutAtEight() throws {
        let networks = (0..<20).map { "10.0.\($0).0/24" }
        let finding = try #require(Doctor.relaying(try Self.patient(networks: networks)).first)
        #expect(finding.detail.utf8.count { $0 == UInt8(ascii: "/") } == 8, "\(finding.detail)")
    }

    @Test func aQueueThatIsNotThereIsNamed() throws {
        let findings = Doctor.spool(try Self.patient(data: "/nonexistent/queue"))
        #expect(Self.shown(findings) == ["bad queue"])
        #expect(findings.first?.detail == "/nonexistent/queue: No such file or directory")
    }

    @Test func theKernelsOwnFileSystemsKeepNoMail() throws {
        guard access("/dev/shm", F_OK) == 0 else { return }
        let first = try #require(Doctor.spool(try Self.patient(data: "/dev/shm")).first)
        #expect(first.state == .bad && first.remedy == "Mount a volume at /dev/shm.", "\(first)")
    }

    @Test(arguments: [(["127.0.0.1"], "skipped"), (["::1", "127.0.0.1"], "skipped"), (["192.0.2.1"], "odd")])
    func aMissingCertificateMattersWhereClientsComeFromOutside(listen: [String], state: String) throws {
        let findings = Doctor.certificate(try Self.patient(listen: listen))
        #expect(Self.shown(findings) == ["\(state) certificate"])
    }

    @Test func theClockIsAlwaysSpokenOf() {
        let findings = Doctor.clock()
        #expect(findings.count == 1 && findings.first?.name == "clock")
    }

    // MARK: - Names

    @Test func aResolverThatDoesNotAnswerLeavesTheRestOut() async throws {
        let resolver = StaticResolver()
        resolver.fail("example.test", .timedOut)
        let findings = await Doctor.names(try Self.patient(), resolver)
        #expect(Self.shown(findings) == ["bad resolver", "skipped name"])
    }

    @Test(arguments: [(false, false, "odd DNSSEC"), (true, false, "odd DNSSEC"), (true, true, "good DNSSEC")])
    func validationIsSpokenOf(hasAnchor: Bool, isSecure: Bool, found: String) async throws {
        let resolver = StaticResolver()
        resolver.setMX("example.test", ["10 mx.example.test"])
        if isSecure { resolver.setSecure("example.test") }
        let findings = await Doctor.names(try Self.patient(anchor: hasAnchor), resolver)
        #expect(Self.shown(findings).prefix(2) == ["good resolver", found], "\(findings)")
    }

    @Test(arguments: [
        // (me, its addresses, what is said of the name)
        ("relay", [], "bad name: relay has no domain; many servers refuse it"),
        ("relay.test", [], "bad name: relay.test has no address"),
        ("relay.test", ["127.0.0.1"], "good name: relay.test is 127.0.0.1"),
    ])
    func ourNameIsLookedUp(me: String, addresses: [String], said: String) async throws {
        let resolver = StaticResolver()
        resolver.setMX("example.test", ["10 mx.example.test"])
        resolver.setAddresses("relay.test", addresses)
        let findings = await Doctor.names(try Self.patient(me: me), resolver)
        let found = findings.first { $0.name == "name" }.map { "\($0.state) name: \($0.detail)" }
        #expect(found == said, "\(findings)")
    }

    // MARK: - All of it

    @Test func withoutAResolverNobodyIsVisited() async throws {
        let findings = await Doctor.examine(try Self.patient(), .failure(.timedOut)) { _ in
            Issue.record("visited")
            return nil
        }
        #expect(findings.last?.name == "resolver" && findings.last?.state == .bad)
        #expect(Set(findings.map(\.name)).isSuperset(of: ["relaying", "queue", "room", "certificate", "clock"]))
    }
}
