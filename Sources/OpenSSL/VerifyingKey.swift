// VerifyingKey.swift — public keys of others, as a JWKS has them, and whether a signature is theirs: RS256, ES256, EdDSA
// (RFC 7517, 7518, 8037).
//
// What a key is for is in the key, and never in what it is to verify: a signature by another method is no signature.

internal import COpenSSL

/// A public key.
///
/// Sendable: an EVP_PKEY is not changed once it is loaded, and OpenSSL lets any number of threads verify with one.
package final class VerifyingKey: @unchecked Sendable {  // The key behind the pointer is never changed.
    /// The one method that a key is for.
    package enum Method: String, Hashable, Sendable {
        case rs256 = "RS256"
        case es256 = "ES256"
        case edDSA = "EdDSA"
    }

    package let method: Method
    private let pointer: OpaquePointer

    private init?(_ method: Method, subjectPublicKeyInfo der: [UInt8]) {
        TLSError.clear()
        let key: OpaquePointer? = der.withUnsafeBufferPointer { bytes in
            var place = bytes.baseAddress
            return d2i_PUBKEY(nil, &place, bytes.count)
        }
        guard let key else {
            TLSError.clear()
            return nil
        }
        (self.method, pointer) = (method, key)
    }

    deinit { EVP_PKEY_free(pointer) }

    /// RSA: modulus and exponent, big-endian.
    ///
    /// - Returns: nil for a modulus below 2048 bits or above 8192, and for what is no key.
    package convenience init?(modulus: [UInt8], exponent: [UInt8]) {
        let modulus = Array(modulus.drop { $0 == 0 })
        guard (256...1024).contains(modulus.count), (1...8).contains(exponent.count) else { return nil }
        let key = DER.sequence(DER.integer(modulus) + DER.integer(exponent))
        let algorithm = DER.sequence([0x06, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1, 0x05, 0])
        self.init(.rs256, subjectPublicKeyInfo: DER.sequence(algorithm + DER.bits(key)))
    }

    /// P-256: a point, 32 octets each; one that is not on the curve is no key.
    package convenience init?(x: [UInt8], y: [UInt8]) {
        guard x.count == 32, y.count == 32 else { return nil }
        let algorithm = DER.sequence(
            [0x06, 7, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1, 0x06, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7]
        )
        self.init(.es256, subjectPublicKeyInfo: DER.sequence(algorithm + DER.bits([4] + x + y)))
    }

    /// Ed25519: 32 octets.
    package convenience init?(ed25519 x: [UInt8]) {
        guard x.count == 32 else { return nil }
        let algorithm = DER.sequence([0x06, 3, 0x2B, 0x65, 0x70])
        self.init(.edDSA, subjectPublicKeyInfo: DER.sequence(algorithm + DER.bits(x)))
    }

    /// Whether a signature is one of the message.
    ///
    /// - Parameter signature: as JWS has it: of ES256 two numbers of 32 octets.
    package func isValid(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        var signature = signature
        if method == .es256 {
            guard signature.count == 64 else { return false }
            signature = DER.sequence(DER.integer(Array(signature[..<32])) + DER.integer(Array(signature[32...])))
        }
        guard let context = EVP_MD_CTX_new() else { return false }
        defer {
            EVP_MD_CTX_free(context)
            TLSError.clear()
        }
        let hash = method == .edDSA ? nil : HashMethod.sha256.pointer
        return EVP_DigestVerifyInit(context, nil, hash, nil, pointer) == 1
            && EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
    }
}

/// As much of DER as public keys and signatures need (X.690).
private enum DER {
    static func sequence(_ content: [UInt8]) -> [UInt8] { [0x30] + length(content.count) + content }

    /// Of octets, none unused.
    static func bits(_ content: [UInt8]) -> [UInt8] { [0x03] + length(content.count + 1) + [0] + content }

    /// A number that is not negative, big-endian.
    static func integer(_ number: [UInt8]) -> [UInt8] {
        var content = Array(number.drop { $0 == 0 })
        if content.isEmpty || content[0] & 0x80 != 0 { content = [0] + content }
        return [0x02] + length(content.count) + content
    }

    private static func length(_ count: Int) -> [UInt8] {
        if count < 0x80 { return [UInt8(count)] }
        var (bytes, rest) = ([UInt8](), count)
        while rest > 0 {
            bytes.insert(UInt8(rest & 0xFF), at: 0)
            rest >>= 8
        }
        return [0x80 | UInt8(bytes.count)] + bytes
    }
}
