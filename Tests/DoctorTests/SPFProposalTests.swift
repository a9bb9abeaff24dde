// SPFProposalTests.swift — doctor proposes one SPF record, of addresses that the world can see.

import Config
import DNS
import Departure
import Mail
import TestSupport
import Testing

@testable import Doctor

struct SPFProposalTests {
    @Test(arguments: [
        ("8.8.8.8", true), ("10.1.2.3", false), ("172.16.0.1", false), ("172.32.0.1", true), ("192.168.1.1", false),
        ("100.64.0.1", false), ("127.0.0.1", false), ("169.254.1.1", false), ("2a00:1450::1", true), ("fe80::1", false),
        ("fd00::1", false), ("::1", false), ("224.0.0.1", false), ("255.255.255.255", false),
    ])
    func knowsWhatTheWorldSees(_ address: String, _ isPublic: Bool) throws {
        #expect((try #require(IPAddress(address))).isPublic == isPublic)
    }

    private static func findings(_ record: [String], _ ours: [String]) async -> [Finding] {
        let resolver = StaticResolver()
        resolver.setText("x.test", record)
        let patient = Patient(
            settings: Settings(me: Domain(unchecked: "relay.test")),
            dataPath: "/nowhere",
            configPath: "/nowhere",
            sender: "x.test",
            probe: "none"
        )
        return await Doctor.senderPolicy(patient, resolver, ours.compactMap { IPAddress($0) })
    }

    @Test func oneRecordForAllAddresses() async {
        let found = await Self.findings([], ["8.8.8.8", "10.0.0.5", "2a00:1450::1"])
        #expect(found.map(\.state) == [.skipped, .odd])
        #expect(found.last?.remedy == "Make one TXT record there: v=spf1 ip4:8.8.8.8 ip6:2a00:1450::1 -all")
        #expect(!found.contains { $0.remedy.contains("10.0.0.5") })
    }

    @Test func whatIsMissingIsAddedTogether() async {
        let found = await Self.findings(["v=spf1 ip4:8.8.8.8 -all"], ["8.8.8.8", "8.8.4.4", "2a00:1450::1"])
        #expect(found.map(\.state) == [.good, .bad, .bad])
        let remedy = "Add ip4:8.8.4.4 ip6:2a00:1450::1 to the TXT record of x.test that begins with v=spf1."
        #expect(found.dropFirst().allSatisfy { $0.remedy == remedy })
    }
}
