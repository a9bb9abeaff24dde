// CertificateDates.swift — until when a certificate holds.

internal import COpenSSL
import Glibc

/// The dates of a certificate in PEM form.
package enum CertificateDates {
    /// The end of the first certificate of a PEM text, seconds since 1970; nil when there is none.
    package static func end(of pem: [UInt8]) -> Int? { date(of: pem) { X509_get0_notAfter($0) } }

    /// The same for its beginning.
    package static func begin(of pem: [UInt8]) -> Int? { date(of: pem) { X509_get0_notBefore($0) } }

    private static func date(
        of pem: [UInt8],
        _ date: (OpaquePointer) -> UnsafePointer<ASN1_TIME>?
    ) -> Int? {
        guard let certificates = try? PEM.certificates(pem) else { return nil }
        defer { for certificate in certificates { X509_free(certificate) } }
        var parts = tm()
        guard let first = certificates.first, ASN1_TIME_to_tm(date(first), &parts) == 1 else {
            return nil
        }
        return Int(timegm(&parts))
    }
}
