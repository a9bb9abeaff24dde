// SigningKey.swift — private keys that sign: RSA with SHA-256, Ed25519 (RFC 8017, 8032; for DKIM RFC 6376, 8463).

internal import COpenSSL

/// A private key.
///
/// Sendable: an EVP_PKEY is not changed once it is loaded, and OpenSSL lets any number of threads sign with one.
package final class SigningKey: @unchecked Sendable {  // The key behind the pointer is never changed.
    /// What a key is for.
    package enum Kind: Hashable, Sendable {
        case rsa(bits: Int)
        case ed25519
        /// ECDSA over P-256: for certificates, not for DKIM.
        case p256
    }

    package let kind: Kind
    let pointer: OpaquePointer

    /// Reads a key from PEM text.
    ///
    /// - Throws: when there is none, it needs a pass phrase, or its kind is unknown here.
    package convenience init(pem: [UInt8]) throws(TLSError) { try self.init(owning: PEM.privateKey(pem)) }

    /// Takes a key that OpenSSL gave us.
    private init(owning pointer: OpaquePointer) throws(TLSError) {
        self.pointer = pointer
        if relay_is_rsa(pointer) == 1 {
            kind = .rsa(bits: Int(EVP_PKEY_get_bits(pointer)))
        } else if relay_is_ed25519(pointer) == 1 {
            kind = .ed25519
        } else if EVP_PKEY_is_a(pointer, "EC") == 1 {
            kind = .p256
        } else {
            throw TLSError(.settings, "the key is neither RSA nor Ed25519 nor ECDSA")
        }
    }

    /// Makes a new key.
    ///
    /// Blocks: an RSA key takes some tenths of a second.
    /// - Throws: when OpenSSL cannot, for example for a size below 1024 bits.
    package static func generate(_ kind: Kind) throws(TLSError) -> SigningKey {
        TLSError.clear()
        let made =
            switch kind {
            case .rsa(let bits): (1024...16384).contains(bits) ? relay_generate_rsa(bits) : nil
            case .ed25519: relay_generate_ed25519()
            case .p256: relay_generate_p256()
            }
        guard let made else { throw TLSError.taken(.settings, "cannot make such a key") }
        return try SigningKey(owning: made)
    }

    deinit { EVP_PKEY_free(pointer) }

    /// Signs: RSASSA-PKCS1-v1_5 or ECDSA over the SHA-256 of the message, or plain Ed25519 of the message itself.
    ///
    /// For DKIM an Ed25519 key gets the SHA-256 of what is signed (RFC 8463 §3), an RSA key the thing itself.
    /// - Throws: when OpenSSL fails, which a sound key does not make it do.
    package func sign(_ message: [UInt8]) throws(TLSError) -> [UInt8] {
        guard let context = EVP_MD_CTX_new() else { throw TLSError.taken(.settings, "no memory") }
        defer { EVP_MD_CTX_free(context) }
        TLSError.clear()
        var size = 0
        guard EVP_DigestSignInit(context, nil, method, nil, pointer) == 1,
            EVP_DigestSign(context, nil, &size, message, message.count) == 1
        else { throw TLSError.taken(.settings, "cannot sign") }
        var isSigned = false
        let signature = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            isSigned = EVP_DigestSign(context, buffer.baseAddress, &size, message, message.count) == 1
            count = isSigned ? size : 0
        }
        guard isSigned else { throw TLSError.taken(.settings, "cannot sign") }
        return signature
    }

    /// Whether a signature is one that ``sign(_:)`` makes of the message.
    package func isValid(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        guard let context = EVP_MD_CTX_new() else { return false }
        defer {
            EVP_MD_CTX_free(context)
            TLSError.clear()
        }
        return EVP_DigestVerifyInit(context, nil, method, nil, pointer) == 1
            && EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
    }

    private var method: OpaquePointer? { kind == .ed25519 ? nil : HashMethod.sha256.pointer }

    /// The public half as SubjectPublicKeyInfo in DER: `p=` of an RSA key in DKIM, what TLSA selector 1 hashes.
    package var publicKeyDER: [UInt8] { PEM.der { i2d_PUBKEY(pointer, $0) } }

    /// The 32 octets of an Ed25519 public key, `p=` of RFC 8463; nil for other kinds.
    package var rawPublicKey: [UInt8]? {
        guard kind == .ed25519 else { return nil }
        var size = 32
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            count = EVP_PKEY_get_raw_public_key(pointer, buffer.baseAddress, &size) == 1 ? size : 0
        }
        return bytes.count == 32 ? bytes : nil
    }

    /// The private key as PKCS #8 in PEM: a secret, for a file of mode 0600.
    ///
    /// - Throws: when OpenSSL cannot write it.
    package func pem() throws(TLSError) -> [UInt8] {
        try PEM.text { relay_write_private_key($0, pointer) }
    }
}
