// Disk.swift — the dozen system calls that this product makes on files, as protocols, so that tests can cut the power
// after any one of them. ``LinuxDisk`` is the real one.
//
// Nobody outside this room opens, writes, syncs, renames, lists or removes a file. Every call may block.

import Glibc

/// How a file is opened.
///
/// Only ``following`` goes through a symbolic link in the last part of the path.
package enum OpenMode: Hashable, Sendable {
    /// For reading, never through a symbolic link.
    case read
    /// For reading, through symbolic links: settings and certificates are often linked to where they really are.
    case following
    /// For reading and writing; the file must exist.
    case update
    /// For reading and writing; the file must not exist yet.
    case create
    /// For reading and writing, made when missing.
    case updateOrCreate
}

/// What a directory entry or an open file is.
package enum FileKind: Hashable, Sendable {
    case file, directory, link, socket, other
}

/// What the system knows about a file.
package struct FileStatus: Hashable, Sendable {
    package var kind: FileKind
    /// Bytes.
    package var size: Int
    /// Permission bits, for example 0o600.
    package var permissions: UInt32
    package var owner: UInt32
    package var group: UInt32
    package var inode: UInt64
    /// Nanoseconds since 1970 of the last change of the content.
    package var modified: Int64
    /// Nanoseconds since 1970 of the last change of anything, permissions included.
    package var changed: Int64
    /// Names that it has.
    package var links: Int

    package init(
        kind: FileKind,
        size: Int,
        permissions: UInt32,
        owner: UInt32,
        group: UInt32,
        inode: UInt64,
        modified: Int64,
        changed: Int64 = 0,
        links: Int = 1
    ) {
        self.kind = kind
        self.size = size
        self.permissions = permissions
        self.owner = owner
        self.group = group
        self.inode = inode
        self.modified = modified
        self.changed = changed
        self.links = links
    }
}

/// One name in a directory.
package struct DirectoryEntry: Hashable, Sendable {
    package let name: String
    package let kind: FileKind

    package init(name: String, kind: FileKind) {
        self.name = name
        self.kind = kind
    }
}

/// What is left on a file system for us.
package struct DiskSpace: Hashable, Sendable {
    /// Bytes that an unprivileged process may still use.
    package var freeBytes: Int
    /// Bytes of the whole file system.
    package var totalBytes: Int
    /// Files that may still be made; `Int.max` where the file system does not count them.
    package var freeFiles: Int

    package init(freeBytes: Int, totalBytes: Int, freeFiles: Int) {
        self.freeBytes = freeBytes
        self.totalBytes = totalBytes
        self.freeFiles = freeFiles
    }
}

/// A file system.
package protocol Disk: AnyObject, Sendable {
    /// Opens a file; it is closed when the last reference to it is gone.
    ///
    /// - Parameter permissions: for a file that is made, before the umask.
    func open(_ path: String, _ mode: OpenMode, permissions: UInt32) throws(DiskError) -> any OpenFile

    /// Makes a directory; one that exists already is fine.
    func makeDirectory(_ path: String, permissions: UInt32) throws(DiskError)

    /// Gives a file another name, replacing what had it. Durable once the directory is synced.
    func rename(_ path: String, to newPath: String) throws(DiskError)

    /// Removes a name. Durable once the directory is synced.
    func unlink(_ path: String) throws(DiskError)

    /// The names in a directory in no particular order, without `.` and `..`.
    func list(_ directory: String) throws(DiskError) -> [DirectoryEntry]

    /// What a name stands for, or nil when there is none.
    ///
    /// - Parameter following: look at what a symbolic link leads to instead of the link.
    func status(_ path: String, following: Bool) throws(DiskError) -> FileStatus?

    /// The path behind all symbolic links.
    func resolve(_ path: String) throws(DiskError) -> String

    /// Makes the names in a directory durable.
    func syncDirectory(_ path: String) throws(DiskError)

    /// What is left on the file system that holds `path`.
    func space(at path: String) throws(DiskError) -> DiskSpace
}

/// An open file.
///
/// It has no position: every read and write says where.
package protocol OpenFile: AnyObject, Sendable {
    func status() throws(DiskError) -> FileStatus

    /// Reads from `offset` until the buffer is full or the file ends.
    ///
    /// - Returns: bytes read; fewer than asked only at the end of the file.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(DiskError) -> Int

    /// Writes all pieces one after another from `offset`.
    func write(_ pieces: [UnsafeRawBufferPointer], at offset: Int) throws(DiskError)

    /// Makes the content durable. After an error the content is lost and must not be synced again: Linux forgets which
    /// pages failed.
    func syncData() throws(DiskError)

    /// Makes the content and everything about the file durable.
    func sync() throws(DiskError)

    /// Asks the system to drop what it holds of the file in memory, so that the next read shows what the disk has: after
    /// a failed sync these differ. Content not yet written is written first. Best effort.
    func forgetCache()

    /// Reserves blocks and extends the file to `size` bytes.
    func allocate(_ size: Int) throws(DiskError)

    /// Cuts or extends the file.
    func truncate(to size: Int) throws(DiskError)

    /// Gives the file the permissions and, as far as allowed, the owner of another.
    func takeOwnership(of other: FileStatus) throws(DiskError)

    /// Takes the exclusive advisory lock, held until the file is closed.
    ///
    /// - Returns: false when another process holds it.
    func lock() throws(DiskError) -> Bool
}

extension Disk {
    /// Reads a whole file, through symbolic links.
    ///
    /// - Parameter limit: bytes; a longer file throws `EFBIG`.
    package func contents(of path: String, limit: Int) throws(DiskError) -> [UInt8] {
        let file = try open(path, .following, permissions: 0)
        let status = try file.status()
        guard status.kind == .file else { throw DiskError("open", path, EINVAL) }
        // One byte more than it should have, to see a file that grows.
        var bytes = [UInt8](repeating: 0, count: min(max(status.size, 0), limit) + 1)
        var count = 0
        while true {
            let got = try file.read(into: &bytes, from: count)
            count += got
            if count < bytes.count { break }
            guard count <= limit else { throw DiskError("read", path, EFBIG) }
            bytes.append(contentsOf: repeatElement(0, count: min(count, limit + 1 - count)))
        }
        bytes.removeSubrange(count...)
        return bytes
    }
}

extension Disk {
    /// Makes a directory and those above it, unless they are there; their names are durable when this returns.
    package func makeDirectories(_ path: String, permissions: UInt32) throws(DiskError) {
        guard try status(path, following: true) == nil else { return }
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let parent = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        try makeDirectories(parent, permissions: permissions)
        try makeDirectory(path, permissions: permissions)
        try syncDirectory(parent)
    }
}

extension OpenFile {
    /// Fills the array from index `start`, reading the file at the same offset.
    fileprivate func read(into bytes: inout [UInt8], from start: Int) throws(DiskError) -> Int {
        try bytes.withUnsafeMutableBufferPointer { buffer throws(DiskError) in
            try read(
                into: UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: buffer[start...])),
                at: start
            )
        }
    }

    /// Writes an array at `offset`.
    package func write(_ bytes: [UInt8], at offset: Int) throws(DiskError) {
        try bytes.withUnsafeBufferPointer { buffer throws(DiskError) in
            try write([UnsafeRawBufferPointer(buffer)], at: offset)
        }
    }

    /// Reads up to `count` bytes from `offset`; fewer only at the end of the file.
    package func read(_ count: Int, at offset: Int) throws(DiskError) -> [UInt8] {
        var failure: DiskError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            do throws(DiskError) {
                used = try read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }
}
