// ShippedConfigTests.swift — the files of `config/` load, name every key, and tell the true defaults.

import Files
import Mail
import TestSupport
import Testing

@testable import Config

@Suite struct ShippedConfigTests {
    private static let directory = "\(TestFiles.root)/../config"

    private static func document(_ file: String) throws -> INIDocument {
        INIDocument(parsing: try TestFiles.text("\(directory)/\(file)"))
    }

    @Test func loadsWithoutAWarning() throws {
        let source = try ConfigDirectory(Self.directory, disk: LinuxDisk())
        let result = try SettingsReader(source, hostName: "relay.example.org").read()
        #expect(result.warnings == [])
        var expected = Settings(me: try #require(Domain("relay.example.org")))
        expected.relayNetworks = ["127.0.0.0/8", "::1"].compactMap { IPNetwork($0) }
        // Off where the key is missing, as the source document has it; on in what we ship.
        expected.outbound.isTLSEnabled = true
        expected.bounceTemplate = result.settings.bounceTemplate
        // Where its lines stand is all that the shipped file says.
        expected.outboundPlaces = result.settings.outboundPlaces
        #expect(result.settings == expected)
    }

    @Test func everyFileIsShipped() {
        let shipped = Set(TestFiles.names(in: Self.directory))
        #expect(shipped.isSuperset(of: SettingsReader.files))
    }

    @Test func tellsTheDefaults() throws {
        #expect(try Self.checkDefaults(ListenerSettings.self) == 32)
        #expect(try Self.checkDefaults(AuthSettings.self) == 6)
        #expect(try Self.checkDefaults(DKIMSettings.self) == 2)
        #expect(try Self.checkDefaults(OutboundSettings.self) == 43)
        #expect(try Self.checkDefaults(ResolverSettings.self) == 5)
        #expect(try Self.checkDefaults(EventSettings.self) == 9)
        #expect(try Self.checkDefaults(TLSSettings.self) == 17)
        #expect(try Self.checkDefaults(StorageSettings.self) == 4)
        #expect(try Self.checkDefaults(SuppressionSettings.self) == 5)
    }

    /// Sets each key to what the file says is its default and finds nothing changed; then to something else, and finds
    /// that the key does something.
    private static func checkDefaults<Target: KeyedSettings & Equatable>(_ type: Target.Type) throws -> Int {
        let document = try document(Target.file)
        let lines = document.text.split(separator: "\n", omittingEmptySubsequences: false)
        let all = INIDocument(parsing: lines.map { $0.hasPrefix("; ") ? $0.dropFirst(2) : $0 }.joined(separator: "\n"))
        for key in Target.keys {
            let text = document.value(key.name, in: key.section) ?? all.value(key.name, in: key.section)
            guard let text else {
                Issue.record("\(Target.file) does not name \(key.name)")
                continue
            }
            var settings = Target()
            try key.apply(text, to: &settings)
            // The one key that is shipped with another value than its default.
            let isOurChoice = key.name == "enable_tls"
            // Named beside `queue_lifetime` they count; by themselves their defaults are what holds without them.
            let isNamed = ["maxTempFailures", "unreachable_max_age"].contains(key.name)
            let isShownAlike = isNamed && key.show?(settings) == key.show?(Target())
            #expect(
                settings == Target() || isOurChoice || isShownAlike,
                "\(Target.file): the default of \(key.name) is not \(text)"
            )
            let others = [
                "true", "ca.pem", "4242", "65537", "v6", "17", "PLAIN", "From", "127.0.0.1:1", "127.0.0.1", "TLSv1.3",
                "no", "refuse", "encode", "boss@x.example",
                "32M", "hash", "drop", "postgresql://db.example/martlet", "https://acme.example/directory", "dns-01",
            ]
            let changes = others.contains { other in
                var settings = Target()
                do throws(ValueError) { try key.apply(other, to: &settings) } catch { return false }
                return settings != Target()
            }
            #expect(changes, "\(key.name) changes nothing")
        }
        let known = Set(Target.keys.map { "\($0.section ?? "") \($0.name)" })
        #expect(known.count == Target.keys.count)
        return Target.keys.count
    }

    @Test func theBounceTemplateHasEveryField() throws {
        let text = try TestFiles.text("\(Self.directory)/outbound.bounce_message")
        for field in ["pid", "date", "me", "from", "msgid", "to", "reason"] { #expect(text.contains("{\(field)}")) }
    }

    @Test func theExamplesInRoutesAreValid() throws {
        let text = try TestFiles.text("\(Self.directory)/routes.ini")
        let examples = text.split(separator: "\n").map(String.init)
            .drop { !$0.hasPrefix("; [example.com]") }
            .filter { $0.hasPrefix("; [") || $0.hasPrefix("; mx =") }
            .map { $0.dropFirst(2) }
        let routes = try Routes.read(INIDocument(parsing: examples.joined(separator: "\n")))
        #expect(routes.route(named: "example.com")?.hosts.count == 2)
        #expect(routes.route(named: "*")?.hosts.count == 1)
    }
}
