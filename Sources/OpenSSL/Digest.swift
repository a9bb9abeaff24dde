// Digest.swift — hashes, keyed hashes, password-based keys, random octets, and a comparison that leaks no time.

internal import COpenSSL
package import NIOCore

/// SHA-256 over octets that come in pieces.
///
/// Bound to whoever makes it: not for two threads at once.
package final class Digest {
    /// Octets of a SHA-256.
    package static let size = 32

    private let context: OpaquePointer?

    package init() {
        context = EVP_MD_CTX_new()
        if let context { EVP_DigestInit_ex(context, HashFunction.sha256.method.pointer, nil) }
    }

    deinit { EVP_MD_CTX_free(context) }

    /// Takes more octets.
    package func update(_ bytes: UnsafeRawBufferPointer) {
        guard let context, bytes.count > 0 else { return }
        EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
    }

    /// Takes the readable octets of a buffer.
    package func update(_ buffer: ByteBuffer) { buffer.withUnsafeReadableBytes { update($0) } }

    /// Takes more octets.
    package func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    /// The hash of everything so far, and begins anew.
    package func finish() -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: Self.size) { buffer, count in
            guard let context, EVP_DigestFinal_ex(context, buffer.baseAddress, nil) == 1 else { return }
            EVP_DigestInit_ex(context, HashFunction.sha256.method.pointer, nil)
            count = Self.size
        }
    }

    /// The SHA-256 of octets that are all there.
    package static func sha256(_ bytes: [UInt8]) -> [UInt8] {
        let digest = Digest()
        digest.update(bytes)
        return digest.finish()
    }
}

/// A hash function for ``KeyedHash``.
package enum HashFunction: Hashable, Sendable {
    /// Only for CRAM-MD5 (RFC 2195), as HMAC.
    case md5
    case sha256

    /// Octets of its result.
    package var size: Int { self == .md5 ? 16 : 32 }

    var method: HashMethod { self == .md5 ? .md5 : .sha256 }
}

/// HMAC and PBKDF2.
package enum KeyedHash {
    /// HMAC of a message.
    ///
    /// - Source: RFC 2104
    package static func hmac(_ function: HashFunction, key: [UInt8], message: [UInt8]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: function.size) { buffer, count in
            var length: UInt32 = 0
            let keyLength = Int32(clamping: key.count)
            guard
                HMAC(
                    function.method.pointer,
                    key,
                    keyLength,
                    message,
                    message.count,
                    buffer.baseAddress,
                    &length
                ) != nil
            else { return }
            count = Int(length)
        }
    }

    /// A key of the function's size from a password: PBKDF2 with HMAC, `Hi` of SCRAM.
    ///
    /// Blocks for as long as the iterations take.
    /// - Returns: empty when `iterations` is no positive 32-bit number.
    /// - Source: RFC 8018 §5.2, RFC 5802 §2.2
    package static func pbkdf2(
        _ function: HashFunction,
        password: [UInt8],
        salt: [UInt8],
        iterations: Int
    ) -> [UInt8] {
        guard let rounds = Int32(exactly: iterations), rounds > 0 else { return [] }
        return [UInt8](unsafeUninitializedCapacity: function.size) { buffer, count in
            let isDerived = password.withUnsafeBytes { secret in
                PKCS5_PBKDF2_HMAC(
                    secret.assumingMemoryBound(to: CChar.self).baseAddress,
                    Int32(clamping: secret.count),
                    salt,
                    Int32(clamping: salt.count),
                    rounds,
                    function.method.pointer,
                    Int32(function.size),
                    buffer.baseAddress
                )
            }
            count = isDerived == 1 ? function.size : 0
        }
    }
}

/// Octets that nobody can guess, and comparisons that tell nothing.
package enum Secrets {
    /// Random octets for keys, nonces and tokens.
    ///
    /// - Throws: when the operating system has no randomness to give.
    package static func random(_ count: Int) throws(TLSError) -> [UInt8] {
        var isFilled = false
        let bytes = [UInt8](unsafeUninitializedCapacity: max(count, 0)) { buffer, filled in
            isFilled = RAND_bytes(buffer.baseAddress, Int32(clamping: buffer.count)) == 1
            filled = isFilled ? buffer.count : 0
        }
        guard isFilled else { throw TLSError.taken(.settings, "no random octets") }
        return bytes
    }

    /// Whether two secrets are equal, in a time that depends on their lengths alone.
    package static func areEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        guard a.count == b.count else { return false }
        return CRYPTO_memcmp(a, b, a.count) == 0
    }
}

/// A hash function, looked up once: OpenSSL 3 would search its providers at every use.
///
/// Sendable: an EVP_MD never changes once it is fetched, and is never freed here.
struct HashMethod: @unchecked Sendable {  // An EVP_MD is constant and lives as long as the process.
    static let md5 = HashMethod("MD5")
    static let sha256 = HashMethod("SHA256")

    let pointer: OpaquePointer?

    private init(_ name: String) { pointer = EVP_MD_fetch(nil, name, nil) }
}
