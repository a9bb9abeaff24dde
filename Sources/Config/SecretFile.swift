// SecretFile.swift — may a file with a secret in it be trusted? Pure.
//
// A file counts as secret when it holds one: `auth_flat_file.ini` with a user in it, `routes.ini` with a password in it, a
// private key. Its mode may let in its owner, and a group that the relay itself belongs to (the package's root:martlet
// 0640): nobody else. `admin.ini` holds only digests of long random tokens, and what `@file:` names is made by those who
// know better, container engines and systemd, whose secrets have modes of their own behind closed directories.

package import Files

/// The rule for the modes of secret files.
package enum SecretFile {
    /// Why a file is open to too many.
    ///
    /// - Parameters:
    ///   - groups: those of the process; root, who can let any group in on purpose, gives nil.
    /// - Returns: nil when it is not.
    package static func complaint(_ status: FileStatus, groups: Set<UInt32>?) -> String? {
        let mode = String(status.permissions & 0o7777, radix: 8)
        if status.permissions & 0o006 != 0 {
            return "holds a secret and everybody may read or change it (mode \(mode)); run: chmod 640 on it, or 600"
        }
        if status.permissions & 0o060 != 0, let groups, !groups.contains(status.group) {
            return
                "holds a secret and a group that is not ours may read or change it (mode \(mode), group \(status.group));"
                + " run: chmod 600 on it, or give it a group of the relay's"
        }
        return nil
    }
}
