// StoredPassword+Making.swift — a password into what a file of users keeps of it: the one place, for commands and the API.

import Mail
import OpenSSL
import Passwords

extension StoredPassword {
    /// How a password is kept.
    package enum Method: String, CaseIterable, Sendable {
        case yescrypt, sha512, bcrypt
        /// Serves SCRAM-SHA-256 besides PLAIN and LOGIN.
        case scram
    }

    /// What stands behind `name =` for a password; blocks as long as a hash takes.
    ///
    /// - Returns: nil when the library cannot hash it.
    package static func text(of password: [UInt8], by method: Method) -> String? {
        switch method {
        case .yescrypt: PasswordHash(of: password, method: .yescrypt)?.text
        case .sha512: PasswordHash(of: password, method: .sha512)?.text
        case .bcrypt: PasswordHash(of: password, method: .bcrypt)?.text
        case .scram:
            (try? Secrets.random(16)).map { ScramArithmetic.keys(of: password, $0, ScramKeys.iterations).text }
        }
    }

    /// The word for what is kept: `plain`, `yescrypt`, `sha512`, `bcrypt`, `scram`.
    package var kind: String {
        switch self {
        case .plain: return "plain"
        case .scram: return "scram"
        case .hashed(let hash):
            let known: [(prefix: String, kind: Method)] = [("$y$", .yescrypt), ("$6$", .sha512)]
            return known.first { hash.text.starts(withOctets: $0.prefix) }?.kind.rawValue ?? Method.bcrypt.rawValue
        }
    }
}
