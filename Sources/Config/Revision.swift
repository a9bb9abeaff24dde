// Revision.swift — the name of a file's content: what an edit says it is based on.

import Mail
import OpenSSL

/// A digest of a file's bytes: the same content has the same revision, wherever and whenever.
///
/// The API's strong ETag.
package struct Revision: Hashable, Sendable, CustomStringConvertible {
    /// The first half of a SHA-256: 32 hexadecimal digits.
    package let digest: String

    /// Takes a revision that a client gave back.
    package init(digest: String) { self.digest = digest }

    /// Of a file's bytes; a missing file has those of an empty one.
    package init(of bytes: [UInt8]) {
        digest = Digest.sha256(bytes).prefix(16).hexadecimal
    }

    package var description: String { digest }
}
