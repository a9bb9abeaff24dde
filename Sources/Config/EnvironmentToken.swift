// EnvironmentToken.swift — the token of the API that containers give: `MARTLET_ADMIN_TOKEN`, or a file that another
// variable names.
//
// Guarantee: once somebody has asked for a token, no trouble with it opens the API. A token that cannot be used stops the
// start; while the relay runs it lets nobody in, and neither does the one before it.

import Mail
import OpenSSL

/// A token that the environment gives.
package enum EnvironmentToken: Hashable, Sendable {
    /// SHA-256 of the token.
    case digest([UInt8])
    /// Nobody is let in by it.
    case unusable(ConfigError)

    /// Shorter ones could be guessed; longer ones are never presented.
    private static let lengths = 16...512

    init(_ text: String, variable: String) {
        let token = text.trimmed
        func unusable(_ reason: String) -> EnvironmentToken {
            .unusable(ConfigError(file: Environment.name, reason: "\(variable): \(reason)"))
        }
        if GivenText.isBlank(text) {
            self = unusable("the file holds no token; openssl rand -hex 32 makes a good one")
        } else if !token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) {
            self = unusable("a token is one word of visible ASCII characters")
        } else if !Self.lengths.contains(token.utf8.count) {
            self = unusable("must have at least 16 characters and at most 512; openssl rand -hex 32 makes a good one")
        } else {
            self = .digest(Digest.sha256(Array(token.utf8)))
        }
    }

    /// What keeps a relay from starting with it.
    package var trouble: ConfigError? {
        if case .unusable(let error) = self { error } else { nil }
    }
}
