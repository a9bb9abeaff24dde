// SecretFilesTests.swift — users, signing domains, and who may read their files.

import Files
import Mail
import Testing

@testable import Config

struct SecretFilesTests {
    private static func status(_ mode: UInt32, group: UInt32 = 5) -> FileStatus {
        FileStatus(kind: .file, size: 1, permissions: mode, owner: 1, group: group, inode: 1, modified: 0)
    }

    @Test func nobodyElseMayReadASecret() {
        for mode: UInt32 in [0o600, 0o400, 0o640, 0o660] {
            #expect(SecretFile.complaint(Self.status(mode), groups: [5]) == nil)
            #expect(SecretFile.complaint(Self.status(mode), groups: nil) == nil)
        }
        for mode: UInt32 in [0o644, 0o604, 0o602, 0o666, 0o777] {
            #expect(SecretFile.complaint(Self.status(mode), groups: [5]) != nil)
            #expect(SecretFile.complaint(Self.status(mode), groups: nil) != nil)
        }
        #expect(SecretFile.complaint(Self.status(0o640), groups: [6]) != nil)
        #expect(SecretFile.complaint(Self.status(0o600), groups: [6]) == nil)
    }

    private static func users(_ text: String) throws -> AuthSettings {
        var warnings: [ConfigError] = []
        return try AuthSettings.read(INIDocument(parsing: text), warnings: &warnings)
    }

    @Test func readsUsers() throws {
        let auth = try Self.users(
            "[core]\nmethods = plain, CRAM-MD5\nconstrain_sender = yes\n[users]\na@x=pass word\nb=$x\n"
        )
        #expect(auth.methods == [.plain, .cramMD5])
        #expect(auth.constraint == .login)
        #expect(auth.users["a@x"] == .plain("pass word"))
        #expect(auth.users["b"] == .plain("$x"))
        #expect(auth.usableMethods == [.plain, .cramMD5])
    }

    @Test func announcesWhatEverybodyCanUse() throws {
        let hash = "$2b$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu"
        let keys = ScramKeys(
            salt: [UInt8](repeating: 1, count: 16),
            iterations: 4096,
            storedKey: [UInt8](repeating: 2, count: 32),
            serverKey: [UInt8](repeating: 3, count: 32)
        )
        #expect(ScramKeys(keys.text) == keys)
        #expect(try Self.users("").usableMethods == [])
        #expect(try Self.users("[users]\na=x\n").usableMethods == SASLMechanism.allCases.filter { !$0.takesToken })
        #expect(try Self.users("[users]\na=x\nb=\(keys.text)\n").usableMethods == [.plain, .login, .scramSHA256])
        #expect(try Self.users("[users]\na=x\nb=\(hash)\n").usableMethods == [.plain, .login])
    }

    @Test(arguments: [
        "[users]\na=\n", "[users]\na=$1$salt$qJH7.N4xYta3aEG/dfqo/0123\n", "[users]\na=SCRAM-SHA-256$1:x$y:z\n",
        "[users]\na=x\na=y\n", "[core]\nmethods=GSSAPI\n", "[core]\nmethods=\n", "[core]\nmax_delay=0\n",
    ])
    func refusesWhatWouldLetNobodyOrAnybodyIn(text: String) {
        do {
            _ = try Self.users(text)
            Issue.record("accepted \(text)")
        } catch {
            #expect(!"\(error)".contains("qJH7"), "no secret in an error")
        }
    }

    @Test func readsSigningDomains() throws {
        var warnings: [ConfigError] = []
        let text = "[x.example]\nselectors = s1, s2\n[main]\noversign = From\n"
        let dkim = try DKIMSettings.read(INIDocument(parsing: text), warnings: &warnings)
        #expect(dkim.selectors[Domain(unchecked: "x.example")] == ["s1", "s2"])
        #expect(dkim.oversigned == ["from"])
        #expect(warnings.isEmpty)
        for bad in [
            "[x]\nselectors = ../a\n", "[a b]\nselectors = s\n", "[x]\nkey = s\n", "[x]\nselectors = a, a\n",
            "headers = To\n",
        ] {
            #expect(throws: ConfigErrors.self) { try DKIMSettings.read(INIDocument(parsing: bad), warnings: &warnings) }
        }
    }

    @Test(arguments: [
        ("a@x.example", "A@X.example", true, true), ("a@x.example", "b@x.example", false, true),
        ("a@x.example", "a@y.example", false, false), ("a", "a@y.example", true, false),
        ("x.example", "b@x.example", true, true), ("x.example", "b@y.example", false, false),
    ])
    func aLoginIsBoundToItsAddress(login: String, sender: String, byAddress: Bool, byDomain: Bool) throws {
        let path = ReversePath.address(try #require(EmailAddress(sender)))
        #expect(SenderConstraint.login.allows(path, by: login) == byAddress)
        #expect(SenderConstraint.domain.allows(path, by: login) == byDomain)
        #expect(SenderConstraint.none.allows(path, by: login))
        #expect(SenderConstraint.login.allows(.null, by: login))
    }
}
