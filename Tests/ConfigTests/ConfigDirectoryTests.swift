// ConfigDirectoryTests.swift — how an edit reaches the disk: atomic, in place where it must, and cut off at every system call.

import Files
import Glibc
import Mail
import Synchronization
import TestSupport
import Testing

@testable import Config

@Suite struct ConfigDirectoryTests {
    private static let old = "; ours\nconcurrency_max = 5\n"
    private static let new = "; ours\nconcurrency_max = 5\ndisabled = true\n"

    private static func store(_ disk: any Disk) throws -> SettingsStore {
        let now = Timestamp(milliseconds: 1_000_000)
        return try SettingsStore(ConfigDirectory("/data", disk: disk, copies: "/copies"), hostName: "r.test", now: now)
    }

    private static func edit(_ store: SettingsStore) throws(EditError) -> Edit {
        let clock = { Timestamp(milliseconds: 2_000_000) }
        return try editing { () throws(EditFailure<ConfigError>) in
            try store.edit(.outbound, operation: "set", key: "disabled", clock: clock) {
                (document) throws(ConfigError) in
                try document.set("disabled", to: "true", in: nil)
            }
        }
    }

    private static func text(_ disk: MemoryDisk, _ path: String = "/data/outbound.ini") -> String? {
        disk.bytes(path).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test func aCutAtEverySystemCallLeavesTheOldOrTheNew() throws {
        let prepared = MemoryDisk()
        prepared.plant("/data/outbound.ini", .file, Array(Self.old.utf8))
        let whole = CrashDisk(limit: .max, on: prepared)
        let start = try Self.store(whole.disk)
        let before = whole.calls
        _ = try Self.edit(start)
        let after = whole.calls
        #expect(after > before + 5)
        var (olds, news) = (0, 0)
        for limit in before..<after {
            for cut in [PowerCut.keepsNothing, .keepsEverything, .keepsSome(seed: UInt64(limit))] {
                let crash = CrashDisk(limit: limit, on: prepared)
                let isDone = (try? Self.edit(Self.store(crash.disk))) != nil
                let found = Self.text(crash.disk.afterPowerCut(cut))
                #expect(found == Self.old || found == Self.new, "\(limit) \(cut) \(found ?? "gone")")
                if isDone { #expect(found == Self.new) }
                if found == Self.old { olds += 1 } else { news += 1 }
            }
        }
        #expect(olds > 0 && news > 0)
    }

    /// One system call of the write fails, each in turn: the file is the old one or the new one, whoever was told that it
    /// is the new one was told the truth, and the next edit works.
    @Test(arguments: [EIO, ENOSPC, EACCES])
    func everySingleFailureLeavesTheOldOrTheNew(code: Int32) throws {
        let prepared = MemoryDisk()
        prepared.plant("/data/outbound.ini", .file, Array(Self.old.utf8))
        var (refused, position, hasStruck) = (0, 0, true)
        while hasStruck {
            let left = Mutex<Int?>(nil)
            let disk = prepared.afterKill { call in
                left.withLock { left in
                    defer { left = left.map { $0 - 1 } }
                    return left == 0 ? DiskError(call.name, call.path, code) : nil
                }
            }
            let store = try Self.store(disk)
            left.withLock { $0 = position }
            let isDone = (try? Self.edit(store)) != nil
            hasStruck = left.withLock { left in
                defer { left = nil }
                return left.map { $0 < 0 } ?? false
            }
            let found = Self.text(disk)
            #expect(found == Self.old || found == Self.new, "\(position) \(found ?? "gone")")
            if isDone { #expect(found == Self.new, "\(position)") } else { refused += 1 }
            _ = try Self.edit(store)
            #expect(Self.text(disk) == Self.new && store.current.outbound.isDisabled, "\(position)")
            position += 1
        }
        #expect(refused > 3 && position > 8)
    }

    @Test func keepsTheModeOfTheFile() throws {
        let disk = MemoryDisk()
        disk.plant("/data/outbound.ini", .file, Array(Self.old.utf8))
        _ = try disk.open("/data/outbound.ini", .update, permissions: 0)
            .takeOwnership(
                of: FileStatus(kind: .file, size: 0, permissions: 0o640, owner: 0, group: 0, inode: 0, modified: 0)
            )
        _ = try Self.edit(Self.store(disk))
        #expect(try disk.status("/data/outbound.ini", following: true)?.permissions == 0o640)
        #expect(Self.text(disk) == Self.new)
    }

    @Test(arguments: [EBUSY, EXDEV])
    func aMountedFileIsWrittenInPlace(code: Int32) throws {
        let earlier = MemoryDisk()
        earlier.plant("/data/outbound.ini", .file, Array(Self.old.utf8))
        let faulty = FaultyDisk(on: earlier)
        faulty.fail("rename", "/data/", code: code, times: 100)
        let edit = try Self.edit(Self.store(faulty.disk))
        #expect(edit.replacement == .inPlace(copy: "/copies/outbound.ini.before"))
        #expect(Self.text(faulty.disk) == Self.new)
        #expect(Self.text(faulty.disk, "/copies/outbound.ini.before") == Self.old)
        #expect(!faulty.disk.paths.contains { $0.hasSuffix(".new") })
    }

    @Test func aShorterContentLeavesNothingBehindInPlace() throws {
        let disk = MemoryDisk()
        disk.plant("/data/x", .file, Array("a longer text".utf8))
        try disk.overwrite("/data/x", with: Array("short".utf8))
        #expect(Self.text(disk, "/data/x") == "short")
    }

    @Test func aReadOnlyDirectoryIsSaidToBeOne() throws {
        let earlier = MemoryDisk()
        earlier.plant("/data/outbound.ini", .file, Array(Self.old.utf8))
        let faulty = FaultyDisk(on: earlier)
        let store = try Self.store(faulty.disk)
        faulty.fail("open", ".new", code: EROFS, times: 100)
        faulty.fail("mkdir", "/copies", code: EROFS, times: 100)
        do throws(EditError) {
            _ = try Self.edit(store)
            Issue.record("written")
        } catch {
            guard case .readOnly(let reason, let diff) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(reason.contains("Read-only") && diff.contains("+disabled = true"))
        }
        #expect(Self.text(faulty.disk) == Self.old)
        #expect(!store.current.outbound.isDisabled)
    }

    @Test func aFullDiskChangesNothing() throws {
        let earlier = MemoryDisk()
        earlier.plant("/data/outbound.ini", .file, Array(Self.old.utf8))
        let faulty = FaultyDisk(on: earlier)
        let store = try Self.store(faulty.disk)
        faulty.fail("pwritev", ".new", code: ENOSPC)
        #expect(throws: EditError.self) { try Self.edit(store) }
        #expect(Self.text(faulty.disk) == Self.old && !faulty.disk.paths.contains { $0.hasSuffix(".new") })
        #expect(try Self.edit(store).isChanged)
    }

    @Test func anotherProcessIsWaitedFor() throws {
        let path = "/tmp/h-routes-lock-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        let disk = LinuxDisk()
        try disk.makeDirectory(path, permissions: 0o700)
        defer { rmdir(path) }
        let (one, other) = (try ConfigDirectory(path, disk: disk), try ConfigDirectory(path, disk: disk))
        var first = one.lock()
        #expect(first != nil)
        let directory = try disk.open(path, .following, permissions: 0)
        #expect(try !directory.lock())
        withExtendedLifetime(first) {}
        first = nil
        #expect(other.lock() != nil)
    }
}
