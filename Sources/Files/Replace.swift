// Replace.swift — a new content under an old name, all or nothing, power cut included.
//
// Order: write a temporary file beside it, sync it, rename it over the old one, sync the directory. Whoever reads the
// name sees the old content or the new one, never a part.

import Glibc

extension Disk {
    /// Replaces the content of a file, or makes it.
    ///
    /// An existing file keeps its permissions and, as far as allowed, its owner; a symbolic link stays and the file
    /// behind it is replaced, if it is one that may be followed (`LinkTrust`).
    /// - Parameters:
    ///   - permissions: for a file that does not exist yet.
    ///   - isSecret: whoever is neither owner nor in the group loses what access there was.
    ///   - isPublic: everybody may read it, whatever the umask says.
    /// - Throws: ``DiskError``; the old content is then still there, unless only the last step failed, the sync of the
    ///   directory: then either of the two may be found after a power cut.
    package func replace(
        _ path: String,
        with content: [UInt8],
        permissions: UInt32 = 0o600,
        isSecret: Bool = false,
        isPublic: Bool = false
    ) throws(DiskError) {
        try checkLinks(of: path)
        var old = try status(path, following: true)
        if isSecret { old?.permissions &= ~0o007 }
        let target = old == nil ? path : try resolve(path)
        let slash = target.utf8.lastIndex(of: UInt8(ascii: "/"))
        let directory = slash.map { $0 == target.startIndex ? "/" : String(target[..<$0]) } ?? "."
        let name = slash.map { target[target.utf8.index(after: $0)...] } ?? target[...]
        let temporary = "\(directory)/.\(name).new"
        do throws(DiskError) {
            try fill(temporary, with: content, like: old, permissions: permissions, isPublic: isPublic)
            try rename(temporary, to: target)
        } catch {
            do throws(DiskError) { try unlink(temporary) } catch {}  // the first error is the one to tell
            throw error
        }
        try syncDirectory(directory)
    }

    private func fill(
        _ temporary: String,
        with content: [UInt8],
        like old: FileStatus?,
        permissions: UInt32,
        isPublic: Bool
    ) throws(DiskError) {
        // One may be left from a crash; it was never anything.
        do throws(DiskError) { try unlink(temporary) } catch  where error.isMissing {}
        // Secret until it has the right owner.
        let file = try open(temporary, .create, permissions: old == nil ? permissions : 0o600)
        if let old { try file.takeOwnership(of: old) }
        if isPublic {
            var status = try file.status()
            status.permissions = 0o644
            try file.takeOwnership(of: status)
        }
        try file.write(content, at: 0)
        try file.sync()
    }
}

extension Disk {
    /// Writes new content into a file that is there, where its name cannot be replaced: a single file that is mounted.
    ///
    /// Not atomic: a power cut in the middle may leave a mixture, so the caller keeps a copy of the old content.
    /// - Throws: ``DiskError``.
    package func overwrite(_ path: String, with content: [UInt8]) throws(DiskError) {
        try checkLinks(of: path)
        let file = try open(try resolve(path), .update, permissions: 0)
        let old = try file.status()
        try file.write(content, at: 0)
        if old.size > content.count { try file.truncate(to: content.count) }
        try file.sync()
    }
}

extension DiskError {
    /// The name cannot be given to another file, although the file itself may be writable: a mount point.
    package var isMounted: Bool { code == EBUSY || code == EXDEV }

    /// Writing is not allowed here.
    package var isForbidden: Bool { code == EROFS || code == EACCES || code == EPERM }
}
