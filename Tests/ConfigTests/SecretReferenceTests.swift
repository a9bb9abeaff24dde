// SecretReferenceTests.swift — what is a reference, and who may write which.

import Mail
import Testing

@testable import Config

@Suite struct SecretReferenceTests {
    private static let mark = "\u{301}"

    @Test(
        arguments: [
            ("@env:PATH", .variable("PATH")), ("@env:\u{301}PATH", .variable("\u{301}PATH")), ("@file:a", .file("a")),
            ("@file:\u{301}a", .file("\u{301}a")), ("@file:\u{200D}a", .file("\u{200D}a")), ("@file:", .file("")),
            ("geheim", .plain("geheim")), ("@geheim", .plain("@geheim")), ("@File:a", .plain("@File:a")),
            (" @file:a", .plain(" @file:a")), ("", .plain("")),
        ] as [(String, SecretReference)]
    )
    func readsOctets(text: String, expected: SecretReference) { #expect(SecretReference(text) == expected) }

    @Test(arguments: [
        "@env:PATH", "@env:\u{301}PATH", "@env:", "@file:/etc/passwd", "@file:\u{301}/etc/passwd", "@file:admin.ini",
        "@file:secrets/../tls_key.pem", "@file:secrets\u{301}/x", "@file:/secrets/x", "@file:secrets/a/../../b",
        "@file:secrets/\0x", "@file:./secrets/x", "@file:",
    ])
    func clientsMayNotNameWhatWasNotPutAside(text: String) {
        #expect(throws: ValueError.self) { try SecretReference(text).check(from: .client) }
        #expect(throws: ValueError.self) { try SecretReference(text).check(from: .program) }
        #expect(throws: Never.self) { try SecretReference(text).check(from: .administrator) }
    }

    @Test(arguments: ["@file:secrets/x", "@file:secrets/a/b", "@file:secrets/..x", "@file:secrets/..\u{301}/x"])
    func clientsMayNameSecrets(text: String) {
        #expect(throws: Never.self) { try SecretReference(text).check(from: .client) }
        #expect(throws: ValueError.self) { try SecretReference(text).check(from: .program) }
    }

    @Test(arguments: ["x", "@x", "@file", "@env", "@ENV:PATH", "\u{301}@env:PATH"])
    func plainTextIsPlain(text: String) {
        #expect(throws: Never.self) { try SecretReference(text).check(from: .client) }
        #expect(throws: Never.self) { try SecretReference(text).check(from: .program) }
    }

    @Test(arguments: ["auth_pass", "oauth_client_secret", "oauth_refresh_token"])
    func answersOfProgramsReferToNothing(name: String) {
        for value in ["@env:PATH", "@env:\(Self.mark)PATH", "@file:\(Self.mark)x", "@file:secrets/x"] {
            #expect(throws: ConfigError.self, "\(value)") {
                try MX.answer([.init(exchange: "a.example", properties: [("auth_user", "u"), (name, value)])])
            }
        }
    }
}
