// EnvironmentTests.swift — variables win over files, pin their keys, and say so when they are wrong.

import Mail
import Testing

@testable import Config

@Suite struct EnvironmentTests {
    private func environment(_ variables: [String: String], files: [String: String] = [:]) throws -> Environment {
        try Environment(variables.mapValues { Array($0.utf8) }) { path throws(ConfigError) in
            files[path].map { Array($0.utf8) }
        }
    }

    private func problems(_ variables: [String: String]) -> [String] {
        do {
            _ = try environment(variables)
            return []
        } catch {
            return (error as? ConfigErrors)?.errors.map(\.description) ?? ["\(error)"]
        }
    }

    private func settings(_ variables: [String: String], _ files: [String: String] = [:]) throws -> Settings {
        let environment = try environment(variables)
        return try SettingsReader(MemoryConfig(files), hostName: "relay.example.org", environment: environment).read()
            .settings
    }

    @Test func everyKeyOfEveryTypedFileHasAVariable() {
        for type in SettingsReader.keyed { #expect(!type.variables.isEmpty) }
        #expect(EnvironmentNames.known["OUTBOUND_DISABLED"] != nil)
        #expect(EnvironmentNames.known["OUTBOUND_MAXTEMPFAILURES"] != nil)
        #expect(EnvironmentNames.known["SMTP_LISTEN"] != nil)
        #expect(
            EnvironmentNames.known["SMTP_LIMITS_MESSAGE_BYTES"] == EnvironmentNames.known["SMTP_MESSAGE_BYTES"]
        )
    }

    @Test func winsOverTheFile() throws {
        let settings = try settings(
            ["MARTLET_OUTBOUND_DISABLED": "yes", "MARTLET_OUTBOUND_CONCURRENCY_MAX": "7"],
            ["outbound.ini": "disabled = false ; why\n[main]\nconcurrency_max=9\ndisabled = no\n"]
        )
        #expect(settings.outbound.isDisabled)
        #expect(settings.outbound.concurrencyMax == 7)
    }

    @Test func worksWithoutTheFile() throws {
        #expect(try settings(["MARTLET_SMTP_LIMITS_RECIPIENTS": "3"]).listener.recipients == 3)
        #expect(try settings(["MARTLET_HOSTNAME": "mx.example.net"]).me.name == "mx.example.net")
    }

    @Test func listsReplaceTheWholeFile() throws {
        let settings = try settings(
            ["POSTFIX_mynetworks": "10.0.0.0/8, [::1]/128"],
            ["relay_acl_allow": "192.0.2.0/24\n"]
        )
        // Loopback is never shut out by a variable: the sendmail of a container comes from there.
        #expect(settings.relayNetworks.map(\.description) == ["10.0.0.0/8", "::1/128", "127.0.0.0/8"])
        #expect(try self.settings([:], ["relay_acl_allow": "192.0.2.0/24\n"]).relayNetworks.count == 1)
    }

    @Test func errorsNameTheVariableAndOthersKeepTheirLine() {
        do {
            _ = try settings(
                ["MARTLET_SMTP_LISTEN": "nonsense"],
                ["smtp.ini": "listen = 127.0.0.1:25\n\n[limits]\nrecipients = many"]
            )
            Issue.record("accepted")
        } catch {
            let found = (error as? ConfigErrors)?.errors.map(\.description) ?? []
            #expect(found.count == 2)
            #expect(found.contains { $0.hasPrefix("environment: MARTLET_SMTP_LISTEN: listen: ") })
            #expect(found.contains { $0.hasPrefix("smtp.ini:4: recipients: ") })
        }
    }

    @Test func unknownVariablesAreRefusedWithTheNameThatWasMeant() {
        #expect(
            problems(["MARTLET_OUTBOUND_DISABLE": "1"]) == [
                "environment: MARTLET_OUTBOUND_DISABLE is no variable of Martlet; did you mean MARTLET_OUTBOUND_DISABLED?"
            ]
        )
        #expect(problems(["MARTLET_QQQQQQQQQQQQQQQQQQ": ""]).count == 1)
        #expect(problems(["MARTLET_SMARTHOST_PORT": "587"]).count == 1)
    }

    @Test func othersVariablesAreLeftAlone() throws {
        let kubernetes = ["MARTLET_PORT": "tcp://10.0.0.1:25", "MARTLET_PORT_25_TCP": "x", "MARTLET_SERVICE_HOST": "y"]
        #expect(try environment(kubernetes.merging(["PATH": "/bin", "MARTLET": "x"]) { $1 }).pins.isEmpty)
    }

    @Test(arguments: [
        "MARTLET_SMTP_SERVICE_HOST=10.0.0.1", "MARTLET_SMTP_SERVICE_PORT=25", "MARTLET_SMTP_SERVICE_PORT_SMTPS=465",
        "MARTLET_SMTP_PORT=tcp://10.0.0.1:25", "MARTLET_SMTP_PORT_25_TCP=tcp://10.0.0.1:25",
        "MARTLET_SMTP_PORT_25_TCP_PROTO=tcp", "MARTLET_SMTP_PORT_25_TCP_PORT=25",
        "MARTLET_SMTP_PORT_25_TCP_ADDR=10.0.0.1", "MARTLET_SERVICE_PORT_FILE=80",
        "MARTLET_SMARTHOST_PORT=tcp://10.0.0.1:587", "MARTLET_OUTBOUND_RELAY_PORT_53_UDP_ADDR=10.0.0.1",
        "MARTLET_PORT_SERVICE_HOST=10.0.0.1", "RELAY_PORT=tcp://10.0.0.1:25", "RELAYHOST_SERVICE_HOST=10.0.0.1",
        "POSTFIX_PORT_25_TCP_ADDR=10.0.0.1",
    ])
    func servicesOfKubernetesAreNobodysWords(_ entry: String) throws {
        let pieces = entry.split(separator: "=", maxSplits: 1).map(String.init)
        let environment = try environment([pieces[0]: pieces[1]])
        #expect(environment.pins.isEmpty && environment.notes.isEmpty)
    }

    @Test func aVariableThatOnlyLooksLikeAServiceIsRefused() {
        #expect(problems(["MARTLET_SMTP_PORT": "25"]).count == 1)
        #expect(problems(["MARTLET_SMTP_PORT_25_TCPX": "25"]).count == 1)
    }

    @Test func namesOfOtherImagesThatDisagreeStopTheStart() {
        let found = problems(["RELAYHOST": "a.example", "RELAY_HOST": "b.example"])
        #expect(found.count == 1 && found[0].contains("RELAYHOST") && found[0].contains("RELAY_HOST"))
    }

    @Test func theStricterOfTwoWordsAboutTLSCounts() throws {
        let environment = try environment([
            "RELAYHOST": "a.example", "RELAYHOST_TLS_LEVEL": "may", "POSTFIX_smtp_tls_security_level": "verify",
        ])
        #expect(environment.pins.last?.value == "verify")
    }

    @Test func errorsDoNotRepeatValues() {
        let found = problems([
            "MARTLET_SMARTHOST_HOST": "s3cret s3cret:0", "MARTLET_SMARTHOST_PORT": "s3cret",
            "MARTLET_ADMIN_LISTEN": "s3\ncret",
        ])
        #expect(found.count == 2)
        #expect(!found.joined().contains("s3"))
    }

    @Test func pathsBeginWhereTheProcessDoes() throws {
        var asked: [String] = []
        _ = try Environment(["MARTLET_DNS_FILE": Array("dns".utf8)], directory: "/here") { path throws(ConfigError) in
            asked.append(path)
            return Array("127.0.0.1".utf8)
        }
        #expect(asked == ["/here/dns"])
    }

    @Test func theProgramsWordsAreReadBesideABrokenConfiguration() throws {
        let variables = ["MARTLET_DATA_DIR": "/data", "MARTLET_NONSENSE": "x", "MARTLET_TOKEN_FILE": "/t"]
        let program = try Environment.program(variables.mapValues { Array($0.utf8) }) { _ throws(ConfigError) in
            Array("tok\r\n".utf8)
        }
        #expect(program == ["DATA_DIR": "/data", "TOKEN": "tok"])
    }

    @Test func emptyIsUnset() throws {
        #expect(try environment(["MARTLET_SMTP_LISTEN": "", "RELAYHOST": "", "MARTLET_DNS_FILE": ""]).pins.isEmpty)
    }

    @Test func filesWinOverValuesAndLoseTheirLastLineEnd() throws {
        let environment = try environment(
            ["MARTLET_HOSTNAME": "a.example", "MARTLET_HOSTNAME_FILE": "/run/secrets/name"],
            files: ["/run/secrets/name": "b.example\r\n"]
        )
        #expect(environment.pins.map(\.value) == ["b.example"])
        #expect(environment.notes == ["MARTLET_HOSTNAME is ignored, MARTLET_HOSTNAME_FILE wins"])
    }

    @Test func aMissingSecretStopsTheStart() {
        #expect(
            problems(["MARTLET_SMARTHOST_HOST": "x.example", "RELAYHOST_PASSWORD_FILE": "/nowhere"]) == [
                "environment: RELAYHOST_PASSWORD_FILE: /nowhere does not exist"
            ]
        )
    }

    @Test func namesThatEndInFileAreNotMistakenForSecrets() throws {
        let environment = try environment(["MARTLET_RESOLVER_TRUST_ANCHOR_FILE": "/usr/share/dns/root.key"])
        #expect(environment.pins.map(\.value) == ["/usr/share/dns/root.key"])
    }

    @Test func namesOfOtherImagesAreUnderstoodOnce() throws {
        let environment = try environment([
            "RELAYHOST": "[smtp.example.net]:2525", "RELAYHOST_USERNAME": "apikey", "RELAYHOST_PASSWORD": "a ;b",
            "POSTFIX_myhostname": "out.example.net", "POSTFIX_smtpd_banner": "x", "LOG_FORMAT": "plain",
            "POSTFIX_message_size_limit": "0",
        ])
        let route = environment.pins.filter { $0.file == "routes.ini" }
        #expect(
            route.map { "\($0.key)=\($0.value)" } == [
                "mx=smtp.example.net:2525", "auth_user=apikey", "auth_pass=@env:RELAYHOST_PASSWORD",
            ]
        )
        #expect(environment.program["LOG_FORMAT"] == "text")
        #expect(environment.notes.contains("RELAYHOST is understood; here it is called MARTLET_SMARTHOST_HOST"))
        #expect(environment.notes.contains { $0.hasPrefix("POSTFIX_smtpd_banner") })
        #expect(environment.notes.contains { $0.hasPrefix("POSTFIX_message_size_limit=0") })
    }

    @Test(arguments: [
        (["MARTLET_SMARTHOST_HOST": "a.example"], "a.example"),
        (["MARTLET_SMARTHOST_HOST": "a.example", "MARTLET_SMARTHOST_USERNAME": "u"], "a.example:587"),
        (["MARTLET_SMARTHOST_HOST": "a.example:25", "MARTLET_SMARTHOST_USERNAME": "u"], "a.example:25"),
        (["MARTLET_SMARTHOST_HOST": "a.example", "RELAY_PORT": "465"], "a.example:465"),
        (["RELAYHOST": "[a.example]"], "a.example"), (["RELAYHOST": "[2001:db8::1]:25"], "[2001:db8::1]:25"),
    ])
    func theSmartHostHasAPlaceToGo(_ variables: [String: String], _ place: String) throws {
        #expect(try environment(variables).pins.first?.value == place)
    }

    @Test func theSmartHostTakesThePlaceOfTheWildcardRoute() throws {
        let settings = try settings(
            ["MARTLET_SMARTHOST_HOST": "127.0.0.9:2525"],
            ["routes.ini": "[*]\nmx = 127.0.0.1:25\nusing_lmtp = true\n[example.com]\nmx = 127.0.0.2:26"]
        )
        #expect(settings.routes == (try settings2("[example.com]\nmx = 127.0.0.2:26\n[*]\nmx = 127.0.0.9:2525\n")))
    }

    private func settings2(_ routes: String) throws -> Routes { try settings([:], ["routes.ini": routes]).routes }

    @Test func saysWhatIsPinned() throws {
        let environment = try environment(["MARTLET_OUTBOUND_DISABLED": "yes", "MARTLET_SMARTHOST_HOST": "a.example"])
        #expect(environment.pin("disabled", in: nil, of: "outbound.ini")?.variable == "MARTLET_OUTBOUND_DISABLED")
        #expect(environment.pin("disabled", in: "main", of: "outbound.ini") != nil)
        #expect(environment.pin("concurrency_max", in: nil, of: "outbound.ini") == nil)
        #expect(environment.pin("bind", in: "*", of: "routes.ini") != nil)
        #expect(environment.pin("mx", in: "example.com", of: "routes.ini") == nil)
    }

    @Test func aValueCannotBecomeAnotherLine() {
        #expect(problems(["MARTLET_SMTP_LISTEN": "127.0.0.1:25\n[limits]\nerrors = 5"]).count == 1)
    }
}
