// SettingsStoreTests.swift — hot reload: what is good replaces what is in force, what is broken never does.

import Files
import Glibc
import Mail
import Synchronization
import Testing

@testable import Config

@Suite struct SettingsStoreTests {
    private static func at(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: milliseconds) }

    private static func store(_ source: MemoryConfig) throws -> SettingsStore {
        try SettingsStore(source, hostName: "relay.example.org", now: at(100_000))
    }

    private static func isChanged(_ reload: SettingsStore.Reload) -> Bool { reload.isChanged }

    private static func isUnchanged(_ reload: SettingsStore.Reload) -> Bool { reload == SettingsStore.Reload() }

    private static func problem(_ reload: SettingsStore.Reload) -> String? {
        reload.broken.isEmpty ? nil : reload.broken.map(\.description).joined(separator: "\n")
    }

    @Test func aChangedFileComesIntoForce() throws {
        let source = MemoryConfig(["outbound.ini": "disabled = false"])
        let store = try Self.store(source)
        let seen = Mutex<[Bool]>([])
        store.onChange { settings in seen.withLock { $0.append(settings.outbound.isDisabled) } }
        #expect(Self.isUnchanged(store.reloadIfChanged(now: Self.at(101_000))))
        source.write("outbound.ini", "disabled = true", now: 101_100)
        #expect(Self.isChanged(store.reloadIfChanged(now: Self.at(102_000))))
        #expect(store.current.outbound.isDisabled)
        #expect(Self.isUnchanged(store.reloadIfChanged(now: Self.at(103_000))))
        #expect(seen.withLock { $0 } == [true])
    }

    @Test func aNewFileComesIntoForce() throws {
        let source = MemoryConfig()
        let store = try Self.store(source)
        source.write("routes.ini", "[*]\nmx = a.example", now: 101_000)
        #expect(Self.isChanged(store.reloadIfChanged(now: Self.at(102_000))))
        #expect(store.current.routes.route(named: "*")?.hosts.count == 1)
    }

    @Test func aBrokenFileKeepsTheOldSettingsAndIsReportedOnce() throws {
        let source = MemoryConfig(["outbound.ini": "temp_fail_intervals = 1m"])
        let store = try Self.store(source)
        source.write("outbound.ini", "temp_fail_intervals = 1m,", now: 101_000)
        let reload = store.reloadIfChanged(now: Self.at(102_000))
        #expect(Self.problem(reload)?.hasPrefix("outbound.ini:1: temp_fail_intervals") == true)
        #expect(store.current.outbound.tempFailIntervals == [60])
        #expect(Self.isUnchanged(store.reloadIfChanged(now: Self.at(103_000))))
        // Touched and as broken as before: nothing new to say.
        source.write("outbound.ini", "temp_fail_intervals = 1m,", now: 104_000)
        #expect(Self.isUnchanged(store.reloadIfChanged(now: Self.at(105_000))))
        // Whoever asks for a reload wants to hear it again.
        #expect(Self.problem(store.reload(now: Self.at(106_000))) != nil)
        source.write("outbound.ini", "temp_fail_intervals = 2m", now: 107_000)
        #expect(Self.isChanged(store.reloadIfChanged(now: Self.at(108_000))))
        #expect(store.current.outbound.tempFailIntervals == [120])
    }

    @Test func aFileBeingWrittenIsLeftAlone() throws {
        let source = MemoryConfig()
        let store = try Self.store(source)
        source.write("relay_acl_allow", "10.0.0.0/8", now: 101_900)
        #expect(Self.isUnchanged(store.reloadIfChanged(now: Self.at(102_000))))
        #expect(store.current.relayNetworks.map(\.description) == ["127.0.0.0/8", "::1/128"])
        #expect(Self.isChanged(store.reloadIfChanged(now: Self.at(103_000))))
        #expect(store.current.relayNetworks.map(\.description) == ["10.0.0.0/8"])
    }

    @Test func aFileThatIsGoneForAMomentIsStillInForce() throws {
        let source = MemoryConfig(["routes.ini": "[*]\nmx = a.example"])
        let store = try Self.store(source)
        source.remove("routes.ini")
        #expect(Self.isUnchanged(store.reloadIfChanged(now: Self.at(101_000))))
        #expect(store.current.routes.route(named: "*") != nil)
        #expect(Self.isChanged(store.reloadIfChanged(now: Self.at(102_000))))
        #expect(store.current.routes.route(named: "*") == nil)
    }

    @Test func aForcedReloadReadsAtOnceAndLooksAgain() throws {
        let source = MemoryConfig()
        let store = try Self.store(source)
        source.write("outbound.ini", "concurrency_max = 7", now: 101_000)
        #expect(Self.isChanged(store.reload(now: Self.at(101_001))))
        #expect(store.current.outbound.concurrencyMax == 7)
        // Written again within the clock's grain: the same stamp, other contents.
        source.write("outbound.ini", "concurrency_max = 8", now: 101_000)
        #expect(Self.isChanged(store.reloadIfChanged(now: Self.at(102_000))))
        #expect(store.current.outbound.concurrencyMax == 8)
    }

    @Test func nothingStartsOnABrokenFile() {
        #expect(throws: ConfigErrors.self) { try Self.store(MemoryConfig(["smtp.ini": "listen = x"])) }
    }

    @Test func readsADirectory() throws {
        var template = Array("/tmp/martlet-config-XXXXXX".utf8CString)
        let path = try #require(mkdtemp(&template).map { String(cString: $0) })
        let disk = LinuxDisk()
        defer {
            try? disk.unlink("\(path)/me")
            rmdir(path)
        }
        try disk.replace("\(path)/me", with: Array("mail.example.net\n".utf8))
        let source = try ConfigDirectory(path, disk: disk)
        #expect(try SettingsReader(source, hostName: "x").read().settings.me.name == "mail.example.net")
        #expect(source.stamp(of: "me")?.size == 17)
        #expect(source.stamp(of: "smtp.ini") == nil)
        #expect(throws: ConfigErrors.self) { try ConfigDirectory("\(path)/missing", disk: disk) }
        #expect(throws: ConfigErrors.self) { try ConfigDirectory("\(path)/me", disk: disk) }
        // A directory where a file should be is no missing file.
        try disk.makeDirectory("\(path)/smtp.ini", permissions: 0o700)
        #expect(throws: ConfigErrors.self) { try SettingsReader(source, hostName: "x").read() }
        rmdir("\(path)/smtp.ini")
    }
}
