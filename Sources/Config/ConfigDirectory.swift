// ConfigDirectory.swift — configuration files in a directory of the machine.

package import Files
import Glibc

/// The configuration directory on disk.
///
/// Symbolic links are followed: containers mount files that way.
package struct ConfigDirectory: ConfigSource {
    /// There, and not to be looked at: another stamp than any, so that the read says what is wrong.
    private static let unreadable = FileStamp(inode: 0, size: -1, modified: 0)
    /// How long another process may keep the lock, milliseconds.
    private static let patience = 5000

    private let path: String
    private let disk: any Disk
    /// Where copies of files that must be written in place go; nil: beside them.
    private let copies: String?

    /// - Parameter copies: a directory for the old content of files that must be written in place.
    /// - Throws: when there is no such directory: a mistyped `--config` must not start a relay on defaults.
    package init(_ path: String, disk: any Disk, copies: String? = nil) throws(ConfigErrors) {
        self.path = path
        self.disk = disk
        self.copies = copies
        let kind: FileKind?
        do throws(DiskError) {
            kind = try disk.status(path, following: true)?.kind
        } catch {
            throw ConfigErrors([ConfigError(file: path, reason: error.description)])
        }
        guard kind == .directory else { throw ConfigErrors([ConfigError(file: path, reason: "is no directory")]) }
    }

    package func contents(of file: String, atMost limit: Int) throws(ConfigError) -> [UInt8]? {
        let complaint: String
        do throws(DiskError) {
            if let status = try disk.status(path(of: file), following: true) {
                // Whoever opens a device or a named pipe may wait for ever.
                if status.kind == .file { return try disk.contents(of: path(of: file), limit: limit) }
                complaint = status.kind == .directory ? "is a directory" : "is no regular file"
            } else {
                guard let reason = try absence(of: file) else { return nil }
                complaint = reason
            }
        } catch {
            if error.isMissing { return nil }
            throw ConfigError(file: file, reason: "cannot be read: \(error)")
        }
        throw ConfigError(file: file, reason: complaint)
    }

    /// Why a file that is not there is more than that: only a file that nobody made means its defaults.
    private func absence(of file: String) throws(DiskError) -> String? {
        guard try disk.status(path, following: true)?.kind == .directory else { return "the directory is gone" }
        guard try disk.status(path(of: file), following: false) != nil else { return nil }
        return "is a symbolic link that leads nowhere"
    }

    package func stamp(of file: String) -> FileStamp? {
        do throws(DiskError) {
            guard let status = try disk.status(path(of: file), following: true) else {
                return try absence(of: file) == nil ? nil : Self.unreadable
            }
            return FileStamp(
                inode: status.inode,
                size: status.size,
                modified: status.modified,
                changed: status.changed
            )
        } catch {
            return Self.unreadable
        }
    }

    package func exposure(of file: String) -> String? {
        guard let status = try? disk.status(path(of: file), following: true) else { return nil }
        return SecretFile.complaint(status, groups: geteuid() == 0 ? nil : Self.groups())
    }

    /// Every group of the process.
    private static func groups() -> Set<UInt32> {
        var found = [gid_t](repeating: 0, count: Int(max(0, getgroups(0, nil))))
        let count = Int(max(0, getgroups(Int32(found.count), &found)))
        return Set(found.prefix(count) + [getegid()])
    }

    package func path(of file: String) -> String { file.utf8.first == UInt8(ascii: "/") ? file : "\(path)/\(file)" }

    package func replace(_ file: String, with bytes: [UInt8]) throws(WriteError) -> Replacement {
        do throws(DiskError) {
            let isSecret = [AuthSettings.file, AdminSettings.file, Routes.file].contains(file)
            try disk.replace(path(of: file), with: bytes, permissions: 0o640, isSecret: isSecret)
            return .atomic
        } catch {
            guard error.isMounted || error.isForbidden else { throw .failed(error.description) }
            return try overwrite(file, with: bytes, after: error)
        }
    }

    private func overwrite(
        _ file: String,
        with bytes: [UInt8],
        after refusal: DiskError
    ) throws(WriteError) -> Replacement {
        do throws(DiskError) {
            // A forbidden directory may hold a file that is not: mounted by itself, or given to us alone.
            guard try disk.status(path(of: file), following: true) != nil else { throw refusal }
            let copy = "\(copies ?? path)/\(file).before"
            let old = try disk.contents(of: path(of: file), limit: SettingsReader.largestFile)
            if let copies { try disk.makeDirectory(copies, permissions: 0o700) }
            try disk.replace(copy, with: old, permissions: 0o600)
            try disk.overwrite(path(of: file), with: bytes)
            return .inPlace(copy: copy)
        } catch {
            throw error.isForbidden ? .readOnly(error.description) : .failed(error.description)
        }
    }

    package func lock() -> (any AnyObject & Sendable)? {
        guard let directory = try? disk.open(path, .following, permissions: 0) else { return nil }
        for _ in 0..<Self.patience / 10 {
            guard let isOurs = try? directory.lock() else { return nil }
            if isOurs { return directory }
            usleep(10_000)
        }
        return nil
    }
}
