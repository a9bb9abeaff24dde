// StoredPassword.swift — what a file of users may hold for a password: plain text, a crypt(3) hash, or SCRAM keys.

import Mail
package import Passwords

/// One user's password as it is stored.
package enum StoredPassword: Hashable, Sendable {
    /// Every mechanism can use it.
    case plain(String)
    /// PLAIN and LOGIN alone.
    case hashed(PasswordHash)
    /// PLAIN, LOGIN and SCRAM-SHA-256.
    case scram(ScramKeys)

    /// Reads what stands behind `name =`.
    ///
    /// - Returns: nil for an empty value, and for what looks like a hash and is none that we verify: taken for plain text,
    ///   it would be a password that nobody set.
    package init?(_ text: String) {
        if text.starts(withOctets: ScramKeys.prefix) {
            guard let keys = ScramKeys(text) else { return nil }
            self = .scram(keys)
        } else if Self.looksHashed(text) {
            guard let hash = PasswordHash(text) else { return nil }
            self = .hashed(hash)
        } else {
            guard !text.isEmpty, text.utf8.count <= PasswordHash.longestPassword else { return nil }
            self = .plain(text)
        }
    }

    /// `$id$…$…`, `{SCHEME}…`: somebody's hash.
    private static func looksHashed(_ text: String) -> Bool {
        guard text.starts(withOctets: "$") else { return false }
        let fields = text.split(octet: "$", omittingEmpty: false)
        return fields.count >= 4 && (1...6).contains(fields[1].utf8.count) && text.utf8.count >= 30
    }
}

extension StoredPassword: CustomStringConvertible {
    /// The kind alone: a password never reaches a log by accident.
    package var description: String {
        switch self {
        case .plain: "plain"
        case .hashed(let hash): "\(hash)"
        case .scram: "SCRAM-SHA-256"
        }
    }
}
