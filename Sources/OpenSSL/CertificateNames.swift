// CertificateNames.swift — which certificate this is, as its authority knows it.

internal import COpenSSL

/// What tells a certificate from all others.
package enum CertificateNames {
    /// The key identifier of the authority, and the serial number as DER has it, of the first certificate of a PEM text; nil when it has no
    /// such.
    package static func issue(of pem: [UInt8]) -> (authority: [UInt8], serial: [UInt8])? {
        guard let certificates = try? PEM.certificates(pem) else { return nil }
        defer { for certificate in certificates { X509_free(certificate) } }
        guard let first = certificates.first, let authority = X509_get0_authority_key_id(first),
            let serial = X509_get0_serialNumber(first)
        else { return nil }
        var number = octets(serial)
        // A magnitude here; a number there, whose first bit is its sign.
        if number.first.map({ $0 >= 0x80 }) ?? true { number.insert(0, at: 0) }
        return (octets(authority), number)
    }

    private static func octets(_ string: UnsafePointer<ASN1_STRING>) -> [UInt8] {
        Array(UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: Int(max(0, ASN1_STRING_length(string)))))
    }
}
