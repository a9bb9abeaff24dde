// DeliverySwitchTests.swift — the switch works where `outbound.ini` cannot be edited, holds over a restart, and ends when the
// file says otherwise.

import Files
import Loop
import Mail
import Synchronization
import TestSupport
import Testing

@testable import Config

@Suite struct DeliverySwitchTests {
    private static func at(_ seconds: Int64) -> Timestamp { Timestamp(milliseconds: seconds * 1000) }

    /// A relay with its configuration in memory and its data directory on a disk in memory.
    private struct Relay {
        let config: MemoryConfig
        let disk: MemoryDisk
        let store: SettingsStore

        init(_ config: MemoryConfig, _ disk: MemoryDisk, at seconds: Int64 = 100) throws {
            (self.config, self.disk) = (config, disk)
            store = try SettingsStore(
                config,
                hostName: "relay.example.org",
                switchFile: SwitchFile("/data", disk: disk),
                now: DeliverySwitchTests.at(seconds)
            )
        }

        init(_ outbound: String) throws {
            let config = MemoryConfig(["outbound.ini": outbound])
            try self.init(config, MemoryDisk())
        }

        /// The same relay, started again.
        func restarted(at seconds: Int64) throws -> Relay { try Relay(config, disk, at: seconds) }

        @discardableResult
        func turn(_ isDisabled: Bool, _ reason: String = "", expecting: Revision? = nil) throws(EditError) -> Edit {
            let position = DeliverySwitch(isDisabled: isDisabled, reason: reason)
            return try editing { () throws(EditFailure<ConfigError>) in
                try store.edit(
                    .outbound,
                    expecting: expecting,
                    operation: "set",
                    key: "disabled",
                    switching: position,
                    clock: { DeliverySwitchTests.at(1000) }
                ) { (document) throws(ConfigError) in
                    try document.set("disabled", to: isDisabled ? "true" : "false", in: nil)
                }
            }
        }

        func write(_ text: String, at seconds: Int64) -> SettingsStore.Reload {
            config.write("outbound.ini", text, now: seconds * 1000)
            return store.reloadIfChanged(now: DeliverySwitchTests.at(seconds + 1))
        }

        var isDisabled: Bool { store.current.outbound.isDisabled }
        var origin: SwitchOrigin { store.health.current.switchOrigin }
        var isKept: Bool { disk.bytes("/data/delivery_switch") != nil }
    }

    @Test func whereTheFileCanBeWrittenItIsWritten() throws {
        let relay = try Relay("concurrency_max = 7\n")
        #expect(relay.origin == .standard)
        let edit = try relay.turn(true)
        #expect(edit.isKeptBecause == nil && relay.isDisabled && relay.origin == .file && !relay.isKept)
    }

    @Test(arguments: [WriteError.readOnly("Read-only file system"), .failed("No space left on device")])
    func isKeptWhereTheFileCannotBeWritten(_ refusal: WriteError) throws {
        let relay = try Relay("disabled = false\n")
        relay.config.refusal.withLock { $0 = refusal }
        let before = relay.store.revision(.outbound)
        let edit = try relay.turn(true, "maintenance")
        #expect(edit.isChanged && edit.isKeptBecause != nil && edit.after.outbound.isDisabled)
        #expect(relay.isDisabled && relay.origin == .dataDirectory && relay.isKept)
        #expect(relay.store.current.outbound.disabledReason == "maintenance")
        // Another version for whoever says what the change is based on.
        #expect(edit.revision != before && edit.revision == relay.store.revision(.outbound))
        #expect(throws: EditError.stale(current: edit.revision)) { try relay.turn(false, expecting: before) }
        // Other files, and other words of this one, change nothing about it.
        _ = relay.write("disabled = false\nconcurrency_max = 9\n", at: 2000)
        #expect(relay.isDisabled && relay.store.current.outbound.concurrencyMax == 9)
        #expect(!relay.store.reload(now: Self.at(2002)).isChanged && relay.isDisabled)
        let again = try relay.restarted(at: 3000)
        #expect(again.isDisabled && again.origin == .dataDirectory && !again.store.warnings.isEmpty)
        // And back: the file says so already.
        try again.turn(false)
        #expect(!again.isDisabled && again.origin == .file && !again.isKept)
        #expect(try !again.restarted(at: 4000).isDisabled)
    }

    /// What the file says afterwards, and whether delivery is off then.
    @Test(arguments: [
        ("disabled = false\n", true), ("; by hand\ndisabled = false\nconcurrency_max = 3\n", true),
        ("disabled = no\n", false), ("", false), ("disabled = true\n", true),
        ("disabled = false\ndisabled_reason = x\n", false),
        ("disabled = no\nconcurrency_max = many\n", true), ("disabled = yes\nconcurrency_max = many\n", true),
    ])
    func theFileWinsAsSoonAsItSaysSomethingElse(text: String, isDisabled: Bool) throws {
        for restarts in [false, true] where !(restarts && text.utf8.count > 60) {
            let relay = try Relay("disabled = false\n")
            relay.config.refusal.withLock { $0 = .readOnly("Read-only file system") }
            try relay.turn(true)
            let isBroken = (try? read(["outbound.ini": text])) == nil
            if restarts, !isBroken {
                relay.config.write("outbound.ini", text, now: 2_000_000)
                #expect(try relay.restarted(at: 3000).isDisabled == isDisabled)
            } else {
                _ = relay.write(text, at: 2000)
                #expect(relay.isDisabled == isDisabled)
            }
        }
    }

    @Test func theFileHasTheWordAgainWhenItCanBeWritten() throws {
        let relay = try Relay("disabled = false\n")
        relay.config.refusal.withLock { $0 = .readOnly("Read-only file system") }
        try relay.turn(true)
        relay.config.refusal.withLock { $0 = nil }
        // The file says so already: nothing is written, and nothing is kept any more.
        let edit = try relay.turn(false)
        #expect(
            edit.isChanged && edit.replacement == nil && !relay.isDisabled && !relay.isKept && relay.origin == .file
        )
        #expect(try !relay.restarted(at: 3000).isDisabled)
    }

    @Test(arguments: ["concurrency_max = many\n", "disabled = perhaps\n", "a line\n"])
    func worksWhileTheFileIsBroken(text: String) throws {
        let relay = try Relay("disabled = false\n")
        _ = relay.write(text, at: 200)
        if text.utf8.first == UInt8(ascii: "d") {
            // The edit mends the very line.
            #expect(try relay.turn(true).isMended && relay.origin == .file)
        } else {
            #expect(try relay.turn(true).isKeptBecause != nil && relay.origin == .dataDirectory)
        }
        #expect(relay.isDisabled)
    }

    @Test func worksWhileTheFileCannotBeRead() throws {
        let relay = try Relay("disabled = false\n")
        relay.config.write("outbound.ini", [0xFF, 0xFE], now: 200_000)
        _ = relay.store.reloadIfChanged(now: Self.at(201))
        #expect(try relay.turn(true).isKeptBecause != nil && relay.isDisabled)
        // Mended with the words of before: somebody stopped delivery meanwhile, and it stays so.
        let reload = relay.write("disabled = false\n", at: 300)
        #expect(reload.mended == [.outbound] && relay.isDisabled)
    }

    @Test func worksForThisRunWhereNothingCanBeWritten() throws {
        let config = MemoryConfig(["outbound.ini": ""])
        let faulty = FaultyDisk(on: MemoryDisk())
        let store = try SettingsStore(
            config,
            hostName: "r.test",
            switchFile: SwitchFile("/data", disk: faulty.disk),
            now: Self.at(100)
        )
        config.refusal.withLock { $0 = .failed("No space left on device") }
        faulty.fail("open", "delivery_switch", code: 28, times: 100)
        _ = try editing { () throws(EditFailure<ConfigError>) in
            try store.edit(
                .outbound,
                operation: "set",
                key: "disabled",
                switching: DeliverySwitch(isDisabled: true, reason: ""),
                clock: { Self.at(1000) }
            ) { (document) throws(ConfigError) in try document.set("disabled", to: "true", in: nil) }
        }
        #expect(store.current.outbound.isDisabled && store.health.current.switchOrigin == .memory)
    }

    @Test func otherWordsAreRefusedAsBefore() throws {
        let relay = try Relay("")
        relay.config.refusal.withLock { $0 = .readOnly("Read-only file system") }
        #expect(throws: EditError.self) {
            try editing { () throws(EditFailure<ConfigError>) in
                try relay.store.edit(.outbound, operation: "set", key: "concurrency_max", clock: { Self.at(1000) }) {
                    (document) throws(ConfigError) in try document.set("concurrency_max", to: "3", in: nil)
                }
            }
        }
        #expect(!relay.isKept)
    }

    /// Our own files are outside too: what cannot be read keeps delivery off, and is named.
    @Test(arguments: ["", "disabled = true\n", "\u{0}\u{0}", "disabled = maybe\noutbound_ini = 0123\n", "{}"])
    func aDamagedFileKeepsDeliveryOff(text: String) throws {
        let disk = MemoryDisk()
        disk.plant("/data/delivery_switch", .file, Array(text.utf8))
        let relay = try Relay(MemoryConfig(["outbound.ini": ""]), disk)
        #expect(relay.isDisabled && relay.origin == .dataDirectory)
        #expect(relay.store.current.outbound.disabledReason.contains("cannot be read"))
        #expect(!relay.store.warnings.isEmpty)
    }

    @Test(arguments: [("", true), ("for; a [while] = #x", false), ("täglich", true)])
    func whatIsKeptReadsBack(reason: String, isDisabled: Bool) throws {
        let kept = KeptSwitch(
            DeliverySwitch(isDisabled: isDisabled, reason: reason),
            words: SwitchWords(INIDocument(parsing: "disabled = no")).digest
        )
        #expect(KeptSwitch(try kept.text()) == kept)
    }

    @Test func aMissingLineIsNotADefaultSpelledOut() {
        func digest(_ text: String) -> String { SwitchWords(INIDocument(parsing: text)).digest }
        let texts = ["", "disabled = false", "disabled =", "disabled = true", "disabled_reason = false"]
        #expect(Set(texts.map(digest)).count == texts.count)
        #expect(digest("disabled = no\n[main]\ndisabled = false") == digest("disabled = false"))
    }
}
