// CommandTests.swift — commands that need no running relay: check, token, and how the log is asked for.

import ArgumentParser
import Config
import Files
import Glibc
import Log
import Mail
import Testing

@testable import martlet

/// A configuration directory of its own, gone with the test.
private final class Directory {
    let path: String

    init(_ files: [String: String] = [:]) throws {
        path = "/tmp/martlet-commands-\(getpid())-\(UInt64.random(in: .min ... .max))"
        try LinuxDisk().makeDirectory(path, permissions: 0o700)
        for (name, text) in files { try LinuxDisk().replace("\(path)/\(name)", with: Array(text.utf8)) }
    }

    deinit {
        let names = (try? LinuxDisk().list(path)) ?? []
        for entry in names { unlink("\(path)/\(entry.name)") }
        rmdir(path)
    }

    func text(_ name: String) throws -> String {
        String(decoding: try LinuxDisk().contents(of: "\(path)/\(name)", limit: 1 << 20), as: UTF8.self)
    }
}

private func environment(_ variables: [String: String]) throws -> Environment {
    try Environment(variables.mapValues { Array($0.utf8) }) { _ throws(ConfigError) in nil }
}

struct CommandTests {
    // MARK: - The log

    @Test func theLogIsAskedForByOptionsThenVariables() throws {
        let said = try environment(["MARTLET_LOG_FORMAT": "json", "MARTLET_LOG_LEVEL": "debug"])
        #expect(LogSettings(said).format == .json)
        #expect(LogSettings(said).level == .debug)
        #expect(LogSettings(said, format: .text).format == .text)
        #expect(LogSettings(try environment([:])).level == .notice)
    }

    @Test(arguments: ["LOG_FORMAT": "JSON", "LOG_LEVEL": "loud", "LOG_ADDRESSES": "Hash"])
    func aWordThatIsNoneIsAProblemAndNotRepeated(_ name: String, _ value: String) throws {
        let problems = LogSettings(try environment(["MARTLET_\(name)": value])).problems
        #expect(problems.count == 1)
        #expect(problems.allSatisfy { $0.reason.contains("MARTLET_\(name)") && !$0.reason.contains(value) })
    }

    // MARK: - Keys and certificates

    @Test func aPairIsMadeOnceAndReplacedWhenAsked() throws {
        let directory = try Directory(["me": "relay.example.org\n"])
        let options = ["--config", directory.path, "--days", "30"]
        try SelfSigned.parse(options).run()
        let (key, certificate) = (try directory.text("tls_key.pem"), try directory.text("tls_cert.pem"))
        #expect(key.starts(withOctets: "-----BEGIN ") && certificate.starts(withOctets: "-----BEGIN CERTIFICATE-----"))
        #expect(try LinuxDisk().status("\(directory.path)/tls_key.pem", following: false)?.permissions == 0o600)
        #expect(throws: ExitCode(1)) { try SelfSigned.parse(options).run() }
        #expect(try directory.text("tls_key.pem") == key)
        try SelfSigned.parse(options + ["--force", "--name", "other.test", "--name", "192.0.2.1"]).run()
        #expect(try directory.text("tls_key.pem") != key)
        #expect(Check.examine(directory.path, try environment([:])).errors == [])
    }

    @Test(arguments: [["--days", "0"], ["--days", "36501"], ["--days", "x"], ["more"]])
    func aPairIsNotMadeOfNonsense(_ words: [String]) {
        #expect(throws: (any Error).self) { try SelfSigned.parse(words + ["--config", "/nowhere"]) }
    }

    @Test func aUserWhoIsNotThereCannotBeRemoved() throws {
        let directory = try Directory(["auth_flat_file.ini": "; mine\n[users]\nbob = $6$a$b\nann = $6$a$b\n"])
        let options = ["--remove", "--config", directory.path]
        #expect(throws: (any Error).self) { try SetPasswordCommand.parse(["eve"] + options).run() }
        #expect(throws: (any Error).self) { try SetPasswordCommand.parse(["bo\u{301}b"] + options).run() }
        try SetPasswordCommand.parse(["bob"] + options).run()
        #expect(try directory.text("auth_flat_file.ini") == "; mine\n[users]\nann = $6$a$b\n")
    }

    // MARK: - check

    @Test(
        arguments: [
            ([:], [:], 0),
            (["MARTLET_LOG_FORMAT": "JSON"], [:], 1),
            ([:], ["admin.ini": "listen = 0.0.0.0:8025\n"], 1),
            (["MARTLET_ADMIN_TOKEN": "0123456789abcdef"], ["admin.ini": "listen = 0.0.0.0:8025\n"], 0),
            (["MARTLET_ADMIN_TOKEN": "short"], [:], 1),
            (["MARTLET_LOG_LEVEL": "x"], ["smtp.ini": "listen = x\n"], 2),
            ([:], ["me": "not a name\n"], 1),
            ([:], ["smtp.ini": "user = nobody\ngroup = root\n"], 1),
            ([:], ["smtp.ini": "user = root\n"], 1),
            ([:], ["admin.ini": "certificate = missing.pem\nkey = me\n"], 1),
            ([:], ["smtp.ini": "user = nobody-knows-this-one\n"], 0),
        ] as [([String: String], [String: String], Int)]
    )
    func checkSaysWhatServeWouldSay(variables: [String: String], files: [String: String], count: Int) throws {
        let directory = try Directory(["me": "relay.example.org\n"].merging(files) { $1 })
        let environment = try environment(variables)
        let found = Check.examine(directory.path, environment).errors
        #expect(found.count == count, "\(found)")
    }

    @Test func checkNamesWhatOtherImagesSaid() throws {
        let directory = try Directory(["me": "relay.example.org\n"])
        let report = Check.examine(directory.path, try environment(["POSTFIX_smtpd_banner": "x"]))
        #expect(report.notes.count { $0.contains("POSTFIX_smtpd_banner") } == 1)
    }

    @Test func errorsDoNotHideWarnings() throws {
        let directory = try Directory([
            "me": "relay.example.org\n", "smtp.ini": "listen = x\nnodes = 4\n", "loglevel": "INFO\n",
        ])
        let report = Check.examine(directory.path, Environment())
        #expect(report.errors.map(\.file) == ["smtp.ini"])
        #expect(report.warnings.contains { $0.file == "smtp.ini" && $0.line == 2 }, "\(report.warnings)")
        #expect(report.warnings.contains { $0.file == "loglevel" })
    }

    // MARK: - token

    @Test func aTokenIsMadeListedAndRevoked() throws {
        let directory = try Directory(["me": "relay.example.org\n", "admin.ini": "; mine\nlisten = 127.0.0.1:8025\n"])
        let options = ["ops", "--scope", "queue:read,submit", "--cidr", "192.0.2.0/24", "--config", directory.path]
        try CreateToken.parse(options).run()
        #expect(try directory.text("admin.ini").starts(withOctets: "; mine\nlisten = 127.0.0.1:8025\n"))
        let settings = try ProcessSettings.read(directory.path, Environment()).current.admin
        let token = try #require(settings.tokens.first)
        #expect(token.name == "ops" && token.digest?.count == 32 && token.scopes == [.queueRead, .submit])
        #expect(token.networks.map(\.description) == ["192.0.2.0/24"])
        #expect(throws: (any Error).self) { try CreateToken.parse(options).run() }
        try RevokeToken.parse(["ops", "--config", directory.path]).run()
        let revoked = try ProcessSettings.read(directory.path, Environment()).current.admin
        #expect(revoked.tokens.first?.digest == nil && revoked.hasTokens)
        #expect(throws: (any Error).self) { try RevokeToken.parse(["nobody", "--config", directory.path]).run() }
    }

    @Test(arguments: [
        ["a b", "--scope", "all"], ["x", "--scope", "everything"], ["x", "--scope", ""],
        ["x", "--scope", "all", "--cidr", "300.0.0.0/8"], ["x", "--scope", "all", "--expires", "soon"],
        ["x", "--scope", "all", "--expires", "0d"], ["x", "--scope", "all", "--expires", "30d\u{301}"],
        ["x\u{301}", "--scope", "all"],
    ])
    func whatIsNoTokenIsRefused(_ words: [String]) {
        #expect(throws: (any Error).self) { try CreateToken.parse(words + ["--config", "/nowhere"]) }
    }
}
