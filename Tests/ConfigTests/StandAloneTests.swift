// StandAloneTests.swift — each file by itself: what is broken in one keeps no word of another back, and is named until it is
// mended.

import Files
import Glibc
import Loop
import Mail
import TestSupport
import Testing

@testable import Config

@Suite struct StandAloneTests {
    private static func at(_ seconds: Int64) -> Timestamp { Timestamp(milliseconds: seconds * 1000) }

    private static func store(_ files: [String: String]) throws -> (SettingsStore, MemoryConfig) {
        let config = MemoryConfig(files)
        return (try SettingsStore(config, hostName: "relay.example.org", now: at(100)), config)
    }

    /// Everything that a file may hold and that is not understood, and where it is said to be wrong.
    struct Broken: Sendable, CustomTestStringConvertible {
        let file: String
        let bytes: [UInt8]
        let said: String

        init(_ file: String, _ text: String, _ said: String) {
            (self.file, bytes, self.said) = (file, Array(text.utf8), said)
        }

        init(_ file: String, bytes: [UInt8], _ said: String) {
            (self.file, self.bytes, self.said) = (file, bytes, said)
        }

        var testDescription: String { said }
    }

    private static let broken = [
        Broken("me", "no host!\n", "me:1"),
        Broken("smtp.ini", "listen = x\n", "smtp.ini:1"),
        Broken("smtp.ini", "[main]\nsmtps_listen = 127.0.0.1:2465\n", "smtp.ini"),
        Broken("auth_flat_file.ini", "[core]\nmethods = WORDS\n", "auth_flat_file.ini:2"),
        Broken("routes.ini", "[*]\nmx =\n", "routes.ini"),
        Broken("routes.ini", "[*]\nmx = a.test auth_user=u auth_pass=@file:gone\n", "routes.ini"),
        Broken("routes.ini", bytes: Array("[*]\nmx = a.test ".utf8) + [0xFF, 0x0A], "routes.ini:2"),
        Broken("routes.ini", bytes: Array("[*]\nmx = a.test\n".utf8) + [0, 0, 0], "routes.ini:3"),
        Broken("routes.ini", "[*]\nmx = a.te\u{301}st\n[", "routes.ini"),
        Broken("outbound_ip.ini", "[sender a.test]\nhelo = b.test\n", "outbound_ip.ini"),
        Broken("resolver.ini", "forward = nowhere\n", "resolver.ini:1"),
        Broken("resolver.ini", "trust_anchor_file = gone\n", "resolver.ini:1"),
        Broken("admin.ini", "listen = x\n", "admin.ini:1"),
        Broken("tls.ini", "cert = gone.pem\n", "tls.ini"),
        Broken("dkim.ini", "[a.test]\nselectors = s1\n", "dkim"),
        Broken("relay_acl_allow", "10.0.0.0/99\n", "relay_acl_allow:1"),
        Broken("relay_acl_certs", "no digest\n", "relay_acl_certs:1"),
        Broken("outbound.bounce_message", bytes: [0xFF], "outbound.bounce_message:1"),
        Broken("hooks.ini", "[p]\nhooks = get_mx\n", "hooks.ini"),
        Broken("plugin_timeout", "soon\n", "plugin_timeout:1"),
    ]

    /// G10: delivery stops by the file, whatever else is broken, and the broken file is named until it is mended.
    @Test(arguments: broken) func theSwitchWorksWhateverElseIsBroken(_ broken: Broken) throws {
        let (store, config) = try Self.store(["outbound.ini": "disabled = false\n"])
        let before = store.current
        config.write(broken.file, broken.bytes, now: 101_000)
        config.write("outbound.ini", "disabled = true\n", now: 101_000)
        let reload = store.reloadIfChanged(now: Self.at(102))
        #expect(reload.isChanged && store.current.outbound.isDisabled)
        #expect(reload.broken.first?.description.hasPrefix(broken.said) == true, "\(reload.broken)")
        #expect(store.health.current.places.first?.hasPrefix(broken.said) == true)
        // The last good one of the broken file stays.
        var expected = before
        expected.outbound.isDisabled = true
        #expect(store.current == expected)
        // Said once, and named for as long as it lasts.
        #expect(store.reloadIfChanged(now: Self.at(103)) == SettingsStore.Reload())
        #expect(!store.health.current.broken.isEmpty)
        // By an edit from within too.
        let edit = try editing { () throws(EditFailure<ConfigError>) in
            try store.edit(.outbound, operation: "set", key: "disabled", clock: { Self.at(104) }) {
                (document) throws(ConfigError) in try document.set("disabled", to: "false", in: nil)
            }
        }
        #expect(edit.isChanged && !store.current.outbound.isDisabled)
        config.remove(broken.file)
        _ = store.reloadIfChanged(now: Self.at(105))
        #expect(store.reloadIfChanged(now: Self.at(106)).mended.count == 1)
        #expect(store.health.current.broken.isEmpty && store.health.current.places.isEmpty)
    }

    /// Nothing is started on a broken file.
    @Test(arguments: broken) func atStartEverythingMustBeInOrder(_ broken: Broken) throws {
        let config = MemoryConfig()
        config.write(broken.file, broken.bytes, now: 1)
        #expect(throws: ConfigErrors.self) {
            try SettingsStore(config, hostName: "relay.example.org", now: Self.at(100))
        }
        // A tool that edits another file does not mind.
        let store = try SettingsStore(config, hostName: "relay.example.org", allowsBroken: true, now: Self.at(100))
        #expect(store.health.current.broken.count == 1)
    }

    /// A file that is written over and over keeps back itself alone.
    @Test func aRestlessFileKeepsNoOtherBack() throws {
        let (store, config) = try Self.store([:])
        config.write("routes.ini", "[*]\nmx = a.test\n", now: 101_950)
        config.write("outbound.ini", "disabled = true\n", now: 101_000)
        #expect(store.reloadIfChanged(now: Self.at(102)).isChanged)
        #expect(store.current.outbound.isDisabled && store.current.routes.route(named: "*") == nil)
        #expect(store.reloadIfChanged(now: Self.at(103)).isChanged)
        #expect(store.current.routes.route(named: "*") != nil)
    }

    /// A broken `outbound.ini` can stop delivery and never starts it again.
    @Test(arguments: [
        ("false", "disabled = true\nconcurrency_max = many\n", true),
        ("false", "concurrency_max = many\n[main]\ndisabled = yes\n", true),
        ("true", "disabled = false\nconcurrency_max = many\n", true),
        ("true", "concurrency_max = many\n", true),
        ("false", "disabled = perhaps\n", false),
        ("false", "disabled = false\nconcurrency_max = many\n", false),
    ])
    func aBrokenFileOfDeliveryStopsAndNeverStarts(before: String, text: String, isDisabled: Bool) throws {
        let (store, config) = try Self.store(["outbound.ini": "disabled = \(before)\nconcurrency_max = 7\n"])
        config.write("outbound.ini", text, now: 101_000)
        let reload = store.reloadIfChanged(now: Self.at(102))
        #expect(reload.broken.first?.file == "outbound.ini")
        #expect(store.current.outbound.isDisabled == isDisabled && store.current.outbound.concurrencyMax == 7)
    }

    /// `smtps_listen` of one file needs the certificate of another: the file that changed is to blame, and stays as it was.
    @Test func ofTwoFilesThatDisagreeTheChangedOneIsToBlame() throws {
        let pair = ["tls_key.pem": "KEY", "tls_cert.pem": "CERT"]
        let (store, config) = try Self.store(pair.merging(["smtp.ini": "smtps_listen = 127.0.0.1:2465\n"]) { $1 })
        config.remove("tls_key.pem")
        config.remove("tls_cert.pem")
        _ = store.reloadIfChanged(now: Self.at(101))
        let reload = store.reloadIfChanged(now: Self.at(102))
        #expect(reload.broken.map(\.file) == ["tls.ini"])
        #expect(store.current.tls.isAvailable && store.current.listener.smtpsListen.count == 1)
        // Another word of the other file still counts.
        config.write("smtp.ini", "smtps_listen = 127.0.0.1:2465\nlisten = 127.0.0.1:2526\n", now: 103_000)
        #expect(store.reloadIfChanged(now: Self.at(104)).isChanged)
        #expect(store.current.listener.listen.first?.port == 2526)

        let (other, files) = try Self.store([:])
        files.write("smtp.ini", "smtps_listen = 127.0.0.1:2465\n", now: 101_000)
        #expect(other.reloadIfChanged(now: Self.at(102)).broken.map(\.file) == ["smtp.ini"])
        #expect(other.current.listener.smtpsListen.isEmpty)
    }

    /// What is not in the files may mend itself: an address of this machine, a right to read.
    @Test func aBrokenFileIsReadAgainAlsoWhenItDoesNotChange() throws {
        let (store, config) = try Self.store(["routes.ini": "[*]\nmx = a.test\n"])
        config.write("routes.ini", "[*]\nmx = b.test\n", now: 101_000)
        config.forbid("routes.ini")
        #expect(store.reloadIfChanged(now: Self.at(102)).broken.first?.reason.hasPrefix("cannot be read") == true)
        #expect(store.current.routes.route(named: "*")?.hosts.first?.exchange == "a.test")
        config.allow("routes.ini")
        #expect(store.reloadIfChanged(now: Self.at(103)) == SettingsStore.Reload())
        let reload = store.reloadIfChanged(now: Self.at(140))
        #expect(reload.isChanged && reload.mended == [.routes])
        #expect(store.current.routes.route(named: "*")?.hosts.first?.exchange == "b.test")
    }

    /// Two passwords that are equal to Swift and different in octets: the new one counts.
    @Test func aPasswordInAnotherNormalFormComesIntoForce() throws {
        func octets(_ store: SettingsStore) -> [UInt8] {
            guard case .plain(let text)? = store.current.auth.users["u"] else { return [] }
            return Array(text.utf8)
        }
        let (store, config) = try Self.store(["auth_flat_file.ini": "[users]\nu = \u{E9}\n"])
        #expect(octets(store) == [0xC3, 0xA9])
        config.write("auth_flat_file.ini", "[users]\nu = e\u{301}\n", now: 101_000)
        _ = store.reloadIfChanged(now: Self.at(102))
        #expect(octets(store) == [0x65, 0xCC, 0x81])
    }

    @Test func aHangUpSaysItAgainAndWhatIsMended() throws {
        let (store, config) = try Self.store([:])
        config.write("routes.ini", "[*]\nmx =\n", now: 101_000)
        #expect(store.reload(now: Self.at(102)).broken.count == 1)
        #expect(store.reload(now: Self.at(103)).broken.count == 1)
        config.write("routes.ini", "[*]\nmx = a.test\n", now: 104_000)
        let reload = store.reload(now: Self.at(105))
        #expect(reload.broken.isEmpty && reload.mended == [.routes] && reload.isChanged)
    }

    // MARK: On a real disk

    /// What may stand in the place of a file.
    enum Obstacle: CaseIterable {
        case directory, loop, dangling, pipe, device, forbidden, long

        func put(at path: String) {
            switch self {
            case .directory: mkdir(path, 0o700)
            case .loop: symlink(path, path)
            case .dangling: symlink("\(path).nowhere", path)
            case .pipe: mkfifo(path, 0o600)
            case .device: symlink("/dev/zero", path)
            case .forbidden: symlink("/proc/1/mem", path)
            case .long:
                let file = open(path, O_CREAT | O_WRONLY, 0o600)
                ftruncate(file, off_t(SettingsReader.largestFile + 1))
                close(file)
            }
        }

        func remove(_ path: String) { _ = self == .directory ? rmdir(path) : unlink(path) }
    }

    @Test(arguments: Obstacle.allCases, ["me", "routes.ini", "outbound.ini", "relay_acl_allow"])
    func whatIsNoFileIsNamedAndTheLastGoodOneStays(_ obstacle: Obstacle, file: String) throws {
        let disk = LinuxDisk()
        var template = Array("/tmp/martlet-alone-XXXXXX".utf8CString)
        let directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        let good = ["me": "a.test\n", "routes.ini": "[*]\nmx = a.test\n", "outbound.ini": "disabled = yes\n"]
            .merging(["relay_acl_allow": "192.0.2.0/24\n"]) { $1 }
        defer {
            obstacle.remove("\(directory)/\(file)")
            for name in good.keys { unlink("\(directory)/\(name)") }
            rmdir(directory)
        }
        for (name, text) in good { try disk.replace("\(directory)/\(name)", with: Array(text.utf8)) }
        let late = Timestamp.now().adding(milliseconds: 60_000)
        let store = try SettingsStore(ConfigDirectory(directory, disk: disk), hostName: "x.test", now: late)
        let before = store.current
        unlink("\(directory)/\(file)")
        obstacle.put(at: "\(directory)/\(file)")
        let reload = store.reloadIfChanged(now: late)
        #expect(reload.broken.map(\.file) == [file], "\(reload)")
        #expect(store.current == before && !reload.isChanged)
        if file == "routes.ini" { #expect(throws: EditError.self) { try store.document(.routes) } }
        obstacle.remove("\(directory)/\(file)")
        try disk.replace("\(directory)/\(file)", with: Array((good[file] ?? "").utf8))
        #expect(store.reloadIfChanged(now: late).mended.map(\.file) == [file])
        #expect(store.current == before && store.health.current.errors.isEmpty)
    }

    /// A directory that is not mounted is no directory of defaults.
    @Test func aDirectoryThatIsGoneLeavesEverythingAsItWas() throws {
        let disk = LinuxDisk()
        var template = Array("/tmp/martlet-gone-XXXXXX".utf8CString)
        let directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        try disk.replace("\(directory)/outbound.ini", with: Array("disabled = true\n".utf8))
        let late = Timestamp.now().adding(milliseconds: 60_000)
        let store = try SettingsStore(ConfigDirectory(directory, disk: disk), hostName: "x.test", now: late)
        let before = store.current
        unlink("\(directory)/outbound.ini")
        rmdir(directory)
        for _ in 0..<3 { _ = store.reloadIfChanged(now: late) }
        _ = store.reload(now: late)
        #expect(store.current == before && !store.health.current.broken.isEmpty)
    }
}
