// PEM.swift — text with keys and certificates in it, read and written in memory.

internal import COpenSSL

/// Keys and certificates from PEM text and into it.
enum PEM {
    /// The first private key of a text.
    ///
    /// - Returns: a key that the caller owns.
    static func privateKey(_ text: [UInt8]) throws(TLSError) -> OpaquePointer {
        let bio = try memory(text)
        defer { BIO_free(bio) }
        guard let key = relay_read_private_key(bio) else {
            if holds("ENCRYPTED", text) {
                TLSError.clear()
                throw TLSError(.settings, "the key is protected by a pass phrase; store it without one")
            }
            let error = TLSError.taken(.settings, "the key cannot be read")
            throw holds("PRIVATE KEY-----", text) ? error : TLSError(.settings, "there is no PEM private key in it")
        }
        return key
    }

    /// Every certificate of a text in order; the caller owns them.
    static func certificates(_ text: [UInt8]) throws(TLSError) -> [OpaquePointer] {
        let bio = try memory(text)
        defer { BIO_free(bio) }
        var found: [OpaquePointer] = []
        while let certificate = relay_read_certificate(bio) { found.append(certificate) }
        guard relay_at_end_of_pem() == 1 else {
            for certificate in found { X509_free(certificate) }
            throw TLSError.taken(.settings, "certificate \(found.count + 1) cannot be read")
        }
        TLSError.clear()
        guard !found.isEmpty else { throw TLSError(.settings, "there is no PEM certificate in it") }
        return found
    }

    /// What a writing function of OpenSSL puts into memory.
    static func text(_ write: (OpaquePointer) -> Int32) throws(TLSError) -> [UInt8] {
        guard let bio = BIO_new(BIO_s_mem()) else { throw TLSError.taken(.settings, "no memory") }
        defer { BIO_free(bio) }
        guard write(bio) == 1 else { throw TLSError.taken(.settings, "cannot be written as PEM") }
        return [UInt8](unsafeUninitializedCapacity: BIO_ctrl_pending(bio)) { buffer, count in
            count = max(Int(BIO_read(bio, buffer.baseAddress, Int32(clamping: buffer.count))), 0)
        }
    }

    /// What a DER function of OpenSSL (`i2d_…`) makes.
    static func der(_ write: (UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>?) -> Int32) -> [UInt8] {
        let size = Int(write(nil))
        guard size > 0 else { return [] }
        return [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            var end = buffer.baseAddress
            count = max(Int(write(&end)), 0)
        }
    }

    private static func memory(_ text: [UInt8]) throws(TLSError) -> OpaquePointer {
        TLSError.clear()
        guard let bio = BIO_new(BIO_s_mem()) else { throw TLSError.taken(.settings, "no memory") }
        _ = BIO_write(bio, text, Int32(clamping: text.count))
        return bio
    }

    private static func holds(_ word: String, _ text: [UInt8]) -> Bool {
        String(decoding: text, as: UTF8.self).contains(word)
    }
}
