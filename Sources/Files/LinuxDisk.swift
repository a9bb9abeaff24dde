// LinuxDisk.swift — the real file system.
//
// Guarantees: descriptors are close-on-exec; a symbolic link in the last part of a path is not followed unless asked;
// interrupted calls are repeated and short writes completed.

import Glibc

/// Files of this machine.
package final class LinuxDisk: Disk {
    package init() {}

    package func open(_ path: String, _ mode: OpenMode, permissions: UInt32) throws(DiskError) -> any OpenFile {
        let flags: Int32 =
            switch mode {
            // Without O_NONBLOCK, opening a named pipe that somebody left here would wait for ever.
            case .read: O_RDONLY | O_NOFOLLOW | O_NONBLOCK
            case .following: O_RDONLY | O_NONBLOCK
            case .update: O_RDWR | O_NOFOLLOW | O_NONBLOCK
            case .create: O_RDWR | O_NOFOLLOW | O_CREAT | O_EXCL
            case .updateOrCreate: O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CREAT
            }
        let descriptor = try call("open", path) { Glibc.open(path, flags | O_CLOEXEC, mode_t(permissions)) }
        return LinuxFile(descriptor, path)
    }

    package func makeDirectory(_ path: String, permissions: UInt32) throws(DiskError) {
        do throws(DiskError) {
            try call("mkdir", path) { mkdir(path, mode_t(permissions)) }
        } catch  where error.isPresent {
            guard try status(path, following: true)?.kind == .directory else { throw DiskError("mkdir", path, ENOTDIR) }
        }
    }

    package func rename(_ path: String, to newPath: String) throws(DiskError) {
        try call("rename", path) { Glibc.rename(path, newPath) }
    }

    package func unlink(_ path: String) throws(DiskError) {
        try call("unlink", path) { Glibc.unlink(path) }
    }

    package func list(_ directory: String) throws(DiskError) -> [DirectoryEntry] {
        guard let stream = opendir(directory) else { throw DiskError("opendir", directory, errno) }
        defer { closedir(stream) }
        var entries: [DirectoryEntry] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw DiskError("readdir", directory, errno) }
                return entries
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name == "." || name == ".." { continue }
            entries.append(DirectoryEntry(name: name, kind: try kind(entry.pointee.d_type, of: "\(directory)/\(name)")))
        }
    }

    /// Some file systems leave the type of an entry out.
    private func kind(_ type: UInt8, of path: String) throws(DiskError) -> FileKind {
        switch Int(type) {
        case Int(DT_REG): .file
        case Int(DT_DIR): .directory
        case Int(DT_LNK): .link
        case Int(DT_SOCK): .socket
        case Int(DT_UNKNOWN): try status(path, following: false)?.kind ?? .other
        default: .other
        }
    }

    package func status(_ path: String, following: Bool) throws(DiskError) -> FileStatus? {
        var raw = stat()
        do throws(DiskError) {
            try call("stat", path) { following ? stat(path, &raw) : lstat(path, &raw) }
        } catch  where error.isMissing {
            return nil
        }
        return FileStatus(raw)
    }

    package func resolve(_ path: String) throws(DiskError) -> String {
        guard let resolved = realpath(path, nil) else { throw DiskError("realpath", path, errno) }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    package func syncDirectory(_ path: String) throws(DiskError) {
        let descriptor = try call("open", path) { Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        defer { close(descriptor) }
        try call("fsync", path) { fsync(descriptor) }
    }

    package func space(at path: String) throws(DiskError) -> DiskSpace {
        var raw = statvfs()
        try call("statvfs", path) { statvfs(path, &raw) }
        let block = UInt64(raw.f_frsize)
        return DiskSpace(
            freeBytes: Int(clamping: UInt64(raw.f_bavail).multipliedReportingOverflow(by: block).partialValue),
            totalBytes: Int(clamping: UInt64(raw.f_blocks).multipliedReportingOverflow(by: block).partialValue),
            // btrfs and others report no inodes at all.
            freeFiles: raw.f_files == 0 ? Int.max : Int(clamping: raw.f_favail)
        )
    }
}

/// One descriptor, closed with its last reference, so that no call can meet a number that means another file by now.
private final class LinuxFile: OpenFile {
    private let descriptor: Int32
    private let path: String

    init(_ descriptor: Int32, _ path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    deinit { close(descriptor) }

    func status() throws(DiskError) -> FileStatus {
        var raw = stat()
        try call("fstat", path) { fstat(descriptor, &raw) }
        return FileStatus(raw)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(DiskError) -> Int {
        var count = 0
        while count < buffer.count, let start = buffer.baseAddress {
            let got = try call("pread", path) {
                pread(descriptor, start + count, buffer.count - count, off_t(offset + count))
            }
            if got == 0 { break }
            count += got
        }
        return count
    }

    func write(_ pieces: [UnsafeRawBufferPointer], at offset: Int) throws(DiskError) {
        var vectors: [iovec] = []
        vectors.reserveCapacity(pieces.count)
        for piece in pieces where !piece.isEmpty {
            vectors.append(iovec(iov_base: UnsafeMutableRawPointer(mutating: piece.baseAddress), iov_len: piece.count))
        }
        var position = offset
        var first = 0
        while first < vectors.count {
            let count = min(vectors.count - first, 1024)  // IOV_MAX
            var written = try vectors.withUnsafeBufferPointer { buffer throws(DiskError) in
                try call("pwritev", path) {
                    pwritev(descriptor, buffer.baseAddress.map { $0 + first }, Int32(count), off_t(position))
                }
            }
            guard written > 0 else { throw DiskError("pwritev", path, EIO) }
            position += written
            while first < vectors.count, written >= vectors[first].iov_len {
                written -= vectors[first].iov_len
                first += 1
            }
            if written > 0 {
                vectors[first].iov_base += written
                vectors[first].iov_len -= written
            }
        }
    }

    func syncData() throws(DiskError) {
        try call("fdatasync", path) { fdatasync(descriptor) }
    }

    func sync() throws(DiskError) {
        try call("fsync", path) { fsync(descriptor) }
    }

    func forgetCache() {
        _ = fdatasync(descriptor)
        _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED)
    }

    func allocate(_ size: Int) throws(DiskError) {
        let code = posix_fallocate(descriptor, 0, off_t(size))
        if code != 0 { throw DiskError("fallocate", path, code) }
    }

    func truncate(to size: Int) throws(DiskError) {
        try call("ftruncate", path) { ftruncate(descriptor, off_t(size)) }
    }

    func takeOwnership(of other: FileStatus) throws(DiskError) {
        let own = try status()
        if own.owner != other.owner || own.group != other.group {
            // Only root may give files away; the permissions below still hold.
            _ = fchown(descriptor, other.owner, other.group)
        }
        try call("fchmod", path) { fchmod(descriptor, mode_t(other.permissions)) }
    }

    func lock() throws(DiskError) -> Bool {
        do throws(DiskError) {
            try call("flock", path) { flock(descriptor, LOCK_EX | LOCK_NB) }
            return true
        } catch  where error.code == EWOULDBLOCK {
            return false
        }
    }
}

extension FileStatus {
    fileprivate init(_ raw: stat) {
        let kind: FileKind =
            switch raw.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .directory
            case S_IFLNK: .link
            case S_IFSOCK: .socket
            default: .other
            }
        self.init(
            kind: kind,
            size: Int(raw.st_size),
            permissions: UInt32(raw.st_mode) & 0o7777,
            owner: UInt32(raw.st_uid),
            group: UInt32(raw.st_gid),
            inode: UInt64(raw.st_ino),
            modified: Int64(raw.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(raw.st_mtim.tv_nsec),
            changed: Int64(raw.st_ctim.tv_sec) &* 1_000_000_000 &+ Int64(raw.st_ctim.tv_nsec),
            links: Int(raw.st_nlink)
        )
    }
}

/// Makes one system call, again when a signal interrupted it.
@discardableResult
private func call<Result: SignedInteger>(
    _ name: String,
    _ path: String,
    _ body: () -> Result
) throws(DiskError) -> Result {
    while true {
        let result = body()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { throw DiskError(name, path, code) }
    }
}
