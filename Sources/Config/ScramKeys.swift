// ScramKeys.swift — what a server keeps of a password for SCRAM-SHA-256 (RFC 5802 §3, RFC 7677).
//
// Written as PostgreSQL and others write it: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, all in base64.
// The keys are computed where OpenSSL is; this is their form.

import Mail

/// Salt and keys of one user.
package struct ScramKeys: Hashable, Sendable {
    /// What the stored form begins with.
    package static let prefix = "SCRAM-SHA-256$"
    /// Rounds for new keys, and for those that are derived from a plain password (RFC 7677 §4).
    package static let iterations = 4096
    /// Rounds that we are willing to work when somebody else's keys ask for more.
    package static let mostIterations = 1_000_000

    package let salt: [UInt8]
    package let iterations: Int
    /// SHA-256 of the client's key.
    package let storedKey: [UInt8]
    /// The key that the server proves itself with.
    package let serverKey: [UInt8]

    package init(salt: [UInt8], iterations: Int, storedKey: [UInt8], serverKey: [UInt8]) {
        self.salt = salt
        self.iterations = iterations
        self.storedKey = storedKey
        self.serverKey = serverKey
    }

    /// Reads the stored form.
    ///
    /// - Returns: nil when it is not complete.
    package init?(_ text: String) {
        let fields = text.split(octet: "$", omittingEmpty: false)
        guard fields.count == 3, fields[0] == "SCRAM-SHA-256" else { return nil }
        let first = fields[1].split(octet: ":", omittingEmpty: false)
        let second = fields[2].split(octet: ":", omittingEmpty: false)
        guard first.count == 2, second.count == 2, let iterations = Int(first[0]),
            (4096...Self.mostIterations).contains(iterations),
            let salt = Base64.decode(first[1].utf8), (8...64).contains(salt.count),
            let stored = Base64.decode(second[0].utf8), stored.count == 32,
            let server = Base64.decode(second[1].utf8), server.count == 32
        else { return nil }
        self.init(salt: salt, iterations: iterations, storedKey: stored, serverKey: server)
    }

    /// The stored form.
    package var text: String {
        "\(Self.prefix)\(iterations):\(Base64.encode(salt))$\(Base64.encode(storedKey)):\(Base64.encode(serverKey))"
    }
}

extension ScramKeys: CustomStringConvertible {
    /// Nothing of the keys.
    package var description: String { "\(Self.prefix)…" }
}
