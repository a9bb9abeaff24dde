// BulkRulesTests.swift — what large providers ask for, and keys that are about to change: what `doctor` says of them.

import DNS
import Departure
import Mail
import OpenSSL
import TestSupport
import Testing

@testable import Config
@testable import Doctor

struct BulkRulesTests {
    private static let now = Timestamp(milliseconds: 1_800_000_000_000)

    private static func patient(_ change: (inout Settings) throws -> Void = { _ in }) throws -> Patient {
        var settings = Settings(me: Domain(unchecked: "relay.test"))
        try change(&settings)
        return Patient(settings: settings, dataPath: "/tmp", configPath: "/none", sender: "a.test", probe: "none")
    }

    private static func shown(_ findings: [Finding]) -> [String] { findings.map { "\($0.state) \($0.name)" } }

    private static func sign(_ settings: inout Settings, _ domain: String, as selector: String = "s1") throws {
        settings.dkim.add(try SigningKey.generate(.ed25519), as: selector, of: Domain(unchecked: domain))
    }

    private static func bounces(_ settings: inout Settings, at address: String) throws {
        settings.rewriting.returnPaths = ReturnPaths(
            try #require(EmailAddress(address)),
            senders: [Domain(unchecked: "a.test")],
            secrets: [Secret("sixteen letters!")],
            days: 21
        )
    }

    @Test func saysWhatIsMissing() async throws {
        let resolver = StaticResolver()
        let findings = await Doctor.bulkRules(try Self.patient(), resolver, at: Self.now)
        #expect(Self.shown(findings) == ["odd DMARC", "odd alignment"], "\(findings)")
        #expect(!findings.contains { !$0.needsRemedy })
    }

    @Test(arguments: [
        // (policy, who signs, domain of the envelope's sender, what is found)
        (
            "v=DMARC1; p=none", "a.test", "b.a.test",
            ["good DMARC", "good alignment", "good alignment", "good unsubscribe"]
        ),
        (
            "v=DMARC1;p=reject; adkim=s", "test", "b.a.test",
            ["good DMARC", "odd alignment", "good alignment", "good unsubscribe"]
        ),
        (
            "v=DMARC1; p=none; aspf=s", "a.test", "b.a.test",
            ["good DMARC", "good alignment", "odd alignment", "good unsubscribe"]
        ),
        (
            "v=DMARC1; p=none", "a.test", "b.other",
            ["good DMARC", "good alignment", "odd alignment", "good unsubscribe"]
        ),
        ("v=DMARC1; p=none", "", "b.other", ["good DMARC", "odd alignment", "bad alignment"]),
        ("v=spf1 -all", "a.test", "", ["odd DMARC", "good alignment", "good unsubscribe"]),
        ("p=none; v=DMARC1", "a.test", "", ["odd DMARC", "good alignment", "good unsubscribe"]),
        ("v=DMARC1; p=maybe", "a.test", "", ["odd DMARC", "good alignment", "good unsubscribe"]),
    ])
    func looksAtAlignment(policy: String, signer: String, returns: String, found: [String]) async throws {
        let resolver = StaticResolver()
        resolver.setText("_dmarc.a.test", [policy])
        let patient = try Self.patient { settings in
            if !signer.isEmpty { try Self.sign(&settings, signer) }
            if !returns.isEmpty { try Self.bounces(&settings, at: "bounces@\(returns)") }
        }
        let findings = await Doctor.bulkRules(patient, resolver, at: Self.now)
        #expect(Self.shown(findings) == found, "\(findings)")
    }

    @Test func oneClickHasToBeSigned() async throws {
        let patient = try Self.patient { settings in
            try Self.sign(&settings, "a.test")
            settings.dkim.headers.removeAll { $0 == "list-unsubscribe-post" }
        }
        let findings = await Doctor.bulkRules(patient, StaticResolver(), at: Self.now)
        #expect(findings.last?.state == .odd && findings.last?.detail.contains("list-unsubscribe-post") == true)
    }

    @Test(
        arguments: [
            // (is the old record there, the new one, hours from now until it signs, what is found)
            (true, false, nil, ["good DKIM", "odd DKIM"]), (true, true, nil, ["good DKIM", "odd DKIM"]),
            (true, false, 1, ["good DKIM", "bad DKIM"]), (true, true, 1, ["good DKIM", "good DKIM"]),
            (true, true, -1, ["good DKIM", "good DKIM"]), (false, true, -1, ["good DKIM", "odd DKIM", "good DKIM"]),
            (true, false, -1, ["bad DKIM", "good DKIM"]), (true, true, -400, ["good DKIM", "odd DKIM"]),
            (false, false, nil, ["bad DKIM", "odd DKIM"]),
        ] as [(Bool, Bool, Int64?, [String])]
    )
    func saysWhereAChangeOfKeysStands(hasOld: Bool, hasNew: Bool, hours: Int64?, found: [String]) async throws {
        let resolver = StaticResolver()
        let (domain, new) = (Domain(unchecked: "a.test"), try SigningKey.generate(.ed25519))
        let patient = try Self.patient { settings in
            try Self.sign(&settings, "a.test", as: "old")
            var rotation = DKIMRotation()
            rotation.next = [DKIMSettings.Key(selector: "new", key: new, text: Secret("new"))]
            rotation.signFrom = hours.map { Self.now.adding(milliseconds: $0 * 3_600_000) }
            settings.dkim.rotations[domain] = rotation
        }
        let old = try #require(patient.settings.dkim.domains[domain]?.first)
        for (key, isThere) in [(DKIMRecord(domain, "old", old.key), hasOld), (DKIMRecord(domain, "new", new), hasNew)]
        where isThere { resolver.setText(key.name, [key.value]) }
        let findings = await Doctor.signing(patient, resolver, at: Self.now)
        #expect(Self.shown(findings) == found, "\(findings)")
    }
}
