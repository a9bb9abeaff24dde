// DiskError.swift — a system call that failed: which one, on what, and why.

import Glibc

/// A file operation that did not work.
package struct DiskError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The name of the system call, for example `fdatasync`.
    package let call: String
    package let path: String
    /// The error number, `EIO` and so on.
    package let code: Int32

    package init(_ call: String, _ path: String, _ code: Int32) {
        self.call = call
        self.path = path
        self.code = code
    }

    /// There is no space, no inode or no quota left.
    package var isFull: Bool { code == ENOSPC || code == EDQUOT || code == EFBIG }

    /// The file is not there.
    package var isMissing: Bool { code == ENOENT }

    /// A file of that name is there already.
    package var isPresent: Bool { code == EEXIST }

    /// Where a system call would stand: a link that root does not follow.
    static let follow = "follow"

    /// What to do about it, behind ``description``: whose the directory should be; empty where nothing helps for sure.
    package var remedy: String {
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        return switch code {
        case EACCES, EPERM: "; this process is uid \(geteuid()): chown -R \(geteuid()) \(directory)"
        case EROFS: "; mount a volume that can be written there"
        default: ""
        }
    }

    /// `fdatasync /var/spool/x: No space left on device`, for the log.
    package var description: String {
        if call == Self.follow {
            return "\(path) is a link made by another user, to a file that is not theirs: root does not write there"
        }
        // Safe from any thread in glibc 2.32 and later.
        let reason = strerror(code).map { String(cString: $0) } ?? "error \(code)"
        return "\(call) \(path): \(reason)"
    }
}
