// StorageSettingsTests.swift — `storage.ini`: what is a queue, and what of it may be shown.

import Mail
import TestSupport
import Testing

@testable import Config

@Suite struct StorageSettingsTests {
    private static func read(_ text: String, _ files: [String: String] = [:]) throws -> StorageSettings {
        let source = MemoryConfig(files.merging([StorageSettings.file: text]) { $1 })
        return try SettingsReader(source, hostName: "relay.test").read().settings.storage
    }

    @Test func theDefaultIsTheSpool() throws {
        #expect(try Self.read("") == StorageSettings())
        #expect(try Self.read("queue = Spool").queue == nil)
    }

    @Test func aConnectionStringStandsThereOrElsewhere() throws {
        let plain = try Self.read("queue = postgresql://db/martlet?sslmode=verify-full\nnode = one\ncommit = 5s")
        #expect(plain.queue?.revealed == "postgresql://db/martlet?sslmode=verify-full")
        #expect((plain.node, plain.commit, plain.mayMigrate) == ("one", 5, true))
        let file = try Self.read("queue = @file:secrets/db", ["secrets/db": "host=db user=u password=geheim\n"])
        #expect(file.queue?.revealed == "host=db user=u password=geheim")
    }

    @Test(arguments: ["queue = mysql://db", "queue = yes", "node = a b", "queue = @file:missing"])
    func whatIsNoneIsRefusedWithoutItsWords(_ text: String) {
        #expect(throws: (any Error).self) { try Self.read(text) }
    }

    @Test func whatASecretFileNamesMustBeAQueue() {
        do {
            _ = try Self.read("queue = @file:db", ["db": "geheim\n"])
            Issue.record("taken")
        } catch { #expect(!"\(error)".contains("geheim")) }
    }

    @Test(arguments: [
        ("postgresql://u:geheim@db/m", "(secret)"), ("host=db password=geheim", "(secret)"),
        ("postgresql://db/m?password=geheim", "(secret)"), ("@file:secrets/db", "@file:secrets/db"),
        ("postgresql://u@db:5432/m", "postgresql://u@db:5432/m"), ("spool", "spool"),
    ])
    func aPasswordIsNotShown(_ value: String, _ shown: String) {
        let lines = Redaction.lines(of: INIDocument(parsing: "queue = \(value)"), in: StorageSettings.file)
        #expect(lines.first == "queue = \(shown)")
    }
}
