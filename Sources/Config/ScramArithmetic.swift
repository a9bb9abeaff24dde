// ScramArithmetic.swift — the keys and signatures of SCRAM-SHA-256 (RFC 5802 §3, RFC 7677).

import OpenSSL

/// What SCRAM computes.
package enum ScramArithmetic {
    /// The keys that a server keeps of a password; blocks for some milliseconds.
    package static func keys(of password: [UInt8], _ salt: [UInt8], _ iterations: Int) -> ScramKeys {
        let salted = KeyedHash.pbkdf2(.sha256, password: password, salt: salt, iterations: iterations)
        let client = KeyedHash.hmac(.sha256, key: salted, message: Array("Client Key".utf8))
        return ScramKeys(
            salt: salt,
            iterations: iterations,
            storedKey: Digest.sha256(client),
            serverKey: KeyedHash.hmac(.sha256, key: salted, message: Array("Server Key".utf8))
        )
    }

    /// The server's signature if the client's proof is right, else nil.
    package static func signature(_ keys: ScramKeys, _ message: [UInt8], _ proof: [UInt8]) -> [UInt8]? {
        let mask = KeyedHash.hmac(.sha256, key: keys.storedKey, message: message)
        guard proof.count == mask.count else { return nil }
        let client = zip(proof, mask).map { $0 ^ $1 }
        guard Secrets.areEqual(Digest.sha256(client), keys.storedKey) else { return nil }
        return KeyedHash.hmac(.sha256, key: keys.serverKey, message: message)
    }
}
