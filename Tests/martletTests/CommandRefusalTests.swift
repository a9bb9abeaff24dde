// CommandRefusalTests.swift — command lines that make no sense are refused before anything is read or written; keys of DKIM by hand.

import ArgumentParser
import Config
import Files
import Glibc
import Testing

@testable import martlet

@Suite struct CommandRefusalTests {
    @Test(arguments: [
        "serve extra", "serve --log-format xml", "serve --log-level loud", "check extra", "token create",
        "token create a b",
        "token create name", "token revoke", "dkim generate", "dkim generate example.org --type dsa",
        "dkim generate example.org --bits x", "dkim show example.org", "passwd", "passwd a b", "passwd a --method md5",
        "spool", "spool check extra", "spool export", "storage import", "config history extra", "tls",
        "doctor extra extra",
        "nonsense",
    ])
    func whatMakesNoSenseIsRefused(_ line: String) {
        let words = line.split(separator: " ").map(String.init)
        #expect(throws: (any Error).self) {
            let command = try Martlet.parseAsRoot(words)
            // A group of commands alone shows its help, which is no command.
            if type(of: command).configuration.subcommands.isEmpty == false { throw ExitCode(64) }
        }
    }

    @Test(arguments: [
        "serve", "check --strict", "token list --config /nowhere", "dkim show example.org s1", "passwd ann", "doctor",
        "version",
    ])
    func whatMakesSenseIsTaken(_ line: String) throws {
        _ = try Martlet.parseAsRoot(line.split(separator: " ").map(String.init))
    }

    @Test func aKeyOfDKIMIsMadeOnceAndShownAgain() throws {
        let path = "/tmp/martlet-dkim-\(getpid())-\(UInt64.random(in: .min ... .max))"
        try LinuxDisk().makeDirectory(path, permissions: 0o700)
        defer {
            unlink("\(path)/dkim/example.org/s1.pem")
            for name in ["dkim/example.org", "dkim", ""] { rmdir("\(path)/\(name)") }
        }
        func run(_ words: String...) throws {
            var command = try Martlet.parseAsRoot(words + ["--config", path])
            try command.run()
        }
        try run("dkim", "generate", "example.org", "--selector", "s1", "--type", "ed25519", "--unused")
        try run("dkim", "show", "example.org", "s1")
        let key = try LinuxDisk().contents(of: "\(path)/dkim/example.org/s1.pem", limit: 4096)
        #expect(throws: CommandFailure.self) {
            try run("dkim", "generate", "example.org", "--selector", "s1", "--type", "ed25519", "--unused")
        }
        #expect(try LinuxDisk().contents(of: "\(path)/dkim/example.org/s1.pem", limit: 4096) == key, "never replaced")
        for words in [["--selector", "S 1"], ["--bits", "512"]] {
            #expect(throws: CommandFailure.self) {
                try run("dkim", "generate", "example.org", words[0], words[1], "--unused")
            }
        }
        #expect(throws: CommandFailure.self) { try run("dkim", "show", "example.org", "s2") }
        #expect(throws: CommandFailure.self) { try run("dkim", "show", "[192.0.2.1]", "s1") }
    }
}
