// SmartHostTests.swift — Tests/Tables/smart_host.table and tls_words.table: forms of RELAYHOST, and words that ask for TLS.

import Mail
import TestSupport
import Testing

@testable import Config

struct SmartHostTests {
    static let places: [TruthTable.Row] = (try? TruthTable.load("smart_host").rows) ?? []
    static let levels: [TruthTable.Row] = (try? TruthTable.load("tls_words").rows) ?? []

    @Test func findsTheTables() {
        #expect(Self.places.count > 30)
        #expect(Self.levels.count > 30)
    }

    @Test(arguments: places)
    func aPlaceIsUnderstoodOrRefused(_ row: TruthTable.Row) throws {
        let host = try row.cell("variable")
        let ports = [
            "SMTP_SERVER": "SMTP_PORT", "SMTP_HOST": "SMTP_PORT", "SMARTHOST_ADDRESS": "SMARTHOST_PORT",
            "SMARTHOST_HOST": "SMARTHOST_PORT",
        ]
        let port = ports[host] ?? (host.contains("RELAY") ? "RELAY_PORT" : "MARTLET_SMARTHOST_PORT")
        var variables = [host: Self.octets(try row.cell("host"))]
        if try row.cell("port") != "-" { variables[port] = Self.octets(try row.cell("port")) }
        if try row.cell("login") == "yes" {
            variables["MARTLET_SMARTHOST_USERNAME"] = Array("u".utf8)
            variables["MARTLET_SMARTHOST_PASSWORD"] = Array("p".utf8)
        }
        let wanted = try row.cell("mx")
        let errors: ConfigErrors
        do throws(ConfigErrors) {
            let environment = try Environment(variables) { _ throws(ConfigError) in nil }
            let settings = try SettingsReader(MemoryConfig(), hostName: "a.test", environment: environment).read()
            let hosts = settings.settings.routes.route(named: "*")?.hosts ?? []
            #expect(hosts.map(\.description).joined(separator: ",") == wanted)
            return
        } catch {
            errors = error
        }
        #expect(wanted == "refused", "\(errors)")
        #expect(errors.errors.allSatisfy { $0.reason.contains(host) || $0.reason.contains(port) }, "\(errors)")
    }

    @Test(arguments: levels)
    func aWordAboutTLSIsObeyedOrStopsTheStart(_ row: TruthTable.Row) throws {
        let name = try row.cell("variable")
        var variables = [name: Self.octets(try row.cell("value"))]
        if try row.cell("smarthost") == "yes" { variables["RELAYHOST"] = Array("a.example".utf8) }
        let wanted = try row.cell("tls")
        let environment: Environment
        do throws(ConfigErrors) {
            environment = try Environment(variables) { _ throws(ConfigError) in nil }
        } catch {
            #expect(wanted == "refused", "\(error)")
            #expect(error.errors.map(\.reason).contains { $0.contains(name) }, "\(error)")
            return
        }
        let pins = environment.pins.filter { $0.file == "routes.ini" && $0.key != "mx" }.map { "\($0.key)=\($0.value)" }
        #expect(pins == (wanted == "ignored" ? [] : [wanted]))
        // Named once, whatever became of it.
        #expect(environment.notes.count { $0.contains(name) } == 1, "\(environment.notes)")
    }

    /// A cell with `\n`, `\r`, `\t` and `_` for what a table cannot hold.
    private static func octets(_ cell: String) -> [UInt8] {
        var text = cell
        for (written, meant) in [("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t"), ("_", " ")] {
            text = text.replacing(written, with: meant)
        }
        return Array(text.utf8)
    }
}
