// LinuxDiskTests.swift — the real file system does what the others imitate.

import Glibc
import Testing

@testable import Files

@Suite struct LinuxDiskTests {
    /// A directory that is removed at the end.
    private final class Scratch {
        let path: String

        init() {
            var template = Array("/tmp/martlet-files-XXXXXX".utf8CString)
            path = template.withUnsafeMutableBufferPointer { buffer in
                buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) } ?? "/nonexistent"
            }
        }

        deinit {
            let disk = LinuxDisk()
            for entry in (try? disk.list(path)) ?? [] { unlink("\(path)/\(entry.name)") }
            rmdir(path)
        }
    }

    private let disk = LinuxDisk()

    @Test func writesAndReadsInPieces() throws {
        let scratch = Scratch()
        let file = try disk.open("\(scratch.path)/a", .create, permissions: 0o600)
        // More pieces than one system call takes.
        let numbers = (0..<3000).map { [UInt8](repeating: UInt8(truncatingIfNeeded: $0), count: 5) }
        let flat = numbers.flatMap { $0 }
        try flat.withUnsafeBytes { raw in
            let pieces = (0..<3000).map { UnsafeRawBufferPointer(rebasing: raw[$0 * 5..<$0 * 5 + 5]) }
            try file.write(pieces, at: 7)
        }
        try file.syncData()
        #expect(try file.status().size == 15_007)
        #expect(try file.read(20_000, at: 7) == flat)
        #expect(try file.read(10, at: 50_000) == [])
        #expect(try disk.contents(of: "\(scratch.path)/a", limit: 20_000).count == 15_007)
        #expect(throws: DiskError.self) { try disk.contents(of: "\(scratch.path)/a", limit: 100) }
        try file.allocate(40_000)
        #expect(try file.status().size == 40_000)
        file.forgetCache()
        #expect(try file.read(5, at: 7) == [0, 0, 0, 0, 0])
    }

    @Test func doesNotFollowLinksUnlessAsked() throws {
        let scratch = Scratch()
        try disk.replace("\(scratch.path)/real", with: [1, 2, 3])
        #expect(symlink("\(scratch.path)/real", "\(scratch.path)/link") == 0)
        #expect(throws: DiskError.self) { try disk.open("\(scratch.path)/link", .read, permissions: 0) }
        #expect(throws: DiskError.self) { try disk.open("\(scratch.path)/link", .update, permissions: 0) }
        #expect(throws: DiskError.self) { try disk.open("\(scratch.path)/link", .create, permissions: 0) }
        #expect(try disk.contents(of: "\(scratch.path)/link", limit: 10) == [1, 2, 3])
        #expect(try disk.status("\(scratch.path)/link", following: false)?.kind == .link)
        #expect(try disk.status("\(scratch.path)/none", following: false) == nil)
        let kinds = try disk.list(scratch.path).sorted { $0.name < $1.name }
        #expect(kinds == [.init(name: "link", kind: .link), .init(name: "real", kind: .file)])
    }

    @Test func replacingKeepsPermissionsAndLinks() throws {
        let scratch = Scratch()
        let path = "\(scratch.path)/key"
        try disk.replace(path, with: [1], permissions: 0o640)
        #expect(try disk.status(path, following: false)?.permissions == 0o640)
        #expect(chmod(path, 0o604) == 0)
        #expect(symlink(path, "\(scratch.path)/link") == 0)
        try disk.replace("\(scratch.path)/link", with: [2, 2], permissions: 0o600)
        #expect(try disk.contents(of: path, limit: 10) == [2, 2])
        #expect(try disk.status(path, following: false)?.permissions == 0o604)
        #expect(try disk.status("\(scratch.path)/link", following: false)?.kind == .link)
        #expect(try disk.list(scratch.path).count == 2)
    }

    @Test func locksOncePerOpenFile() throws {
        let scratch = Scratch()
        let path = "\(scratch.path)/lock"
        var first: (any OpenFile)? = try disk.open(path, .updateOrCreate, permissions: 0o600)
        let second = try disk.open(path, .updateOrCreate, permissions: 0o600)
        #expect(try first?.lock() == true)
        #expect(try second.lock() == false)
        first = nil
        #expect(try second.lock() == true)
    }

    @Test func saysWhatFailedAndWhy() throws {
        do {
            _ = try disk.open("/tmp/no/such/file", .read, permissions: 0)
            Issue.record("opened a file that is not there")
        } catch {
            #expect(error.description == "open /tmp/no/such/file: No such file or directory")
            #expect(error.isMissing)
        }
        try disk.makeDirectory("/tmp", permissions: 0o700)
        #expect(throws: DiskError.self) { try disk.makeDirectory("/etc/passwd", permissions: 0o700) }
        #expect(try disk.space(at: "/tmp").totalBytes > 0)
        #expect(DiskError("write", "x", ENOSPC).isFull)
    }
}
