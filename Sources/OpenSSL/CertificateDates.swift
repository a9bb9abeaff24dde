// CertificateDates.swift — until when a certificate holds.

internal import COpenSSL
import Glibc

/// The dates of a certificate in PEM form.
package enum CertificateDates {
    /// The end of the first certificate of a PEM text, seconds since 1970; nil when there is none.
    package static func end(of pem: [UInt8]) -> Int? {
        guard let certificates = try? PEM.certificates(pem) else { return nil }
        defer { for certificate in certificates { X509_free(certificate) } }
        var parts = tm()
        guard let first = certificates.first, ASN1_TIME_to_tm(X509_get0_notAfter(first), &parts) == 1 else {
            return nil
        }
        return Int(timegm(&parts))
    }
}
