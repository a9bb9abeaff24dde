// CertificatePair.swift — a certificate with its key, as PEM: what a server shows, and how a first one is made.

internal import COpenSSL

/// A certificate chain and the private key of its first certificate.
///
/// Its text never shows the key.
package struct CertificatePair: Hashable, Sendable, CustomStringConvertible {
    /// PEM, the own certificate first, then those that lead to an authority.
    package let certificates: [UInt8]
    /// PEM; may be the same text.
    package let key: [UInt8]

    package init(certificates: [UInt8], key: [UInt8]) {
        self.certificates = certificates
        self.key = key
    }

    package var description: String { "certificate of \(certificates.count) bytes with its key" }

    /// What a certificate to be made is like.
    package struct Request: Hashable, Sendable {
        /// Host names and IP addresses; the first is the subject too.
        package var names: [String]
        /// Days from now until it begins to be valid; negative for the past.
        package var startsAfterDays = 0
        package var days = 3650
        package var kind = SigningKey.Kind.p256
        /// May sign other certificates.
        package var isAuthority = false

        package init(names: [String]) { self.names = names }
    }

    /// Makes a pair: signed by `issuer`, or by itself.
    ///
    /// - Throws: when a name could not stand in a certificate, or the issuer cannot be read.
    package static func make(_ request: Request, issuer: CertificatePair? = nil) throws(TLSError) -> CertificatePair {
        guard let subject = request.names.first, request.names.allSatisfy(isFit) else {
            throw TLSError(.settings, "a certificate needs host names or addresses of letters, digits, '.', '-', ':'")
        }
        let key = try SigningKey.generate(request.kind)
        guard let certificate = X509_new() else { throw TLSError.taken(.settings, "no memory") }
        defer { X509_free(certificate) }
        let signer: OpaquePointer
        let signingKey: SigningKey
        if let issuer {
            signingKey = try SigningKey(pem: issuer.key)
            let chain = try PEM.certificates(issuer.certificates)
            for extra in chain.dropFirst() { X509_free(extra) }
            signer = chain[0]
        } else {
            (signer, signingKey) = (certificate, key)
            X509_up_ref(certificate)
        }
        defer { X509_free(signer) }
        guard
            describe(certificate, request, subject, key),
            X509_set_issuer_name(certificate, X509_get_subject_name(signer)) == 1,
            extend(certificate, request, signer),
            X509_sign(certificate, signingKey.pointer, signingKey.kind == .ed25519 ? nil : HashMethod.sha256.pointer)
                > 0
        else { throw TLSError.taken(.settings, "cannot make the certificate") }
        let own = try PEM.text { PEM_write_bio_X509($0, certificate) }
        return CertificatePair(certificates: own + (issuer?.certificates ?? []), key: try key.pem())
    }

    private static func isFit(_ name: String) -> Bool {
        (1...253).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                (0x30...0x3A).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                    || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "*")
            }
    }

    private static func describe(
        _ certificate: OpaquePointer,
        _ request: Request,
        _ subject: String,
        _ key: SigningKey
    ) -> Bool {
        guard let serial = try? Secrets.random(16), let number = BN_bin2bn(serial, 16, nil) else { return false }
        defer { BN_free(number) }
        BN_clear_bit(number, 127)
        // A common name holds 64 characters; longer ones are in the alternative names alone.
        let common = Array(subject.utf8.prefix(64))
        let day = 86_400
        return X509_set_version(certificate, 2) == 1
            && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nil
            && X509_gmtime_adj(X509_getm_notBefore(certificate), request.startsAfterDays &* day) != nil
            && X509_gmtime_adj(
                X509_getm_notAfter(certificate),
                (request.startsAfterDays &+ request.days) &* day
            ) != nil
            && X509_set_pubkey(certificate, key.pointer) == 1
            && X509_NAME_add_entry_by_txt(
                X509_get_subject_name(certificate),
                "CN",
                MBSTRING_UTF8,
                common,
                Int32(common.count),
                -1,
                0
            ) == 1
    }

    private static func extend(_ certificate: OpaquePointer, _ request: Request, _ signer: OpaquePointer) -> Bool {
        let names = request.names.map { name in
            a2i_IPADDRESS(name).map { ASN1_OCTET_STRING_free($0) } != nil ? "IP:\(name)" : "DNS:\(name)"
        }
        let usage = request.isAuthority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature"
        var wanted = [
            (NID_basic_constraints, request.isAuthority ? "critical,CA:TRUE" : "critical,CA:FALSE"),
            (NID_key_usage, usage),
            (NID_subject_alt_name, names.joined(separator: ",")),
            (NID_subject_key_identifier, "hash"),
        ]
        if !request.isAuthority { wanted.append((NID_ext_key_usage, "serverAuth,clientAuth")) }
        return wanted.allSatisfy { relay_add_extension(certificate, signer, $0.0, $0.1) == 1 }
    }
}
