// CertificateMetrics.swift — until when our certificates hold. The name is spelled here and nowhere else.

import Config
import Metrics
import OpenSSL

/// Made at first use, when whoever collects is in place.
enum CertificateMetrics {
    private static let smtp = meter("smtp")
    private static let api = meter("api")

    private static func meter(_ use: String) -> Meter {
        Meter(label: "martlet_tls_certificate_expiry_timestamp_seconds", dimensions: [("use", use)])
    }

    /// Makes both series, so that each is there from the start: 0 is none.
    static func declare(_ settings: TLSSettings) {
        show(settings)
        show(api: nil)
    }

    /// The certificates of `tls.ini` are in force: the first that ends counts.
    static func show(_ settings: TLSSettings) {
        let files = [settings.files] + settings.named.map(\.files)
        smtp.set(files.compactMap { CertificateDates.end(of: $0.certificates) }.min() ?? 0)
    }

    /// The certificate of `admin.ini` is in force; nil: there is none.
    static func show(api pem: [UInt8]?) { api.set(pem.flatMap { CertificateDates.end(of: $0) } ?? 0) }
}
