// TLSSettings.swift — `tls.ini`, typed: the certificates that clients see, and how strict we are with them.

package import OpenSSL

/// The files of a certificate and its key, and what they hold.
///
/// Its text never shows the key.
package struct CertificateFiles: Hashable, Sendable, CustomStringConvertible {
    /// As written in `tls.ini`.
    package var certificateFile: String
    package var keyFile: String
    /// PEM; whether it makes sense is for OpenSSL to say.
    package internal(set) var certificates: [UInt8] = []
    /// PEM.
    package internal(set) var key: [UInt8] = []

    package var description: String { "\(certificateFile) with \(keyFile)" }
}

/// `tls.ini`.
///
/// Each field names its key; the initial value is the documented default.
package struct TLSSettings: Hashable, Sendable {
    /// The certificate of a host name that clients ask for: a section of its own.
    package struct Named: Hashable, Sendable {
        /// In lower case; may begin with `*.`.
        package let name: String
        package var files: CertificateFiles
    }

    /// `key` and `cert`.
    ///
    /// Without both files there is no TLS for clients.
    package var files = CertificateFiles(certificateFile: "tls_cert.pem", keyFile: "tls_key.pem")
    /// `ciphers`, in OpenSSL's syntax; those that begin with `TLS_` are of TLS 1.3.
    package var ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20"
    /// `minVersion`: `TLSv1.2` or `TLSv1.3`.
    package var minimumVersion = "TLSv1.2"
    /// `honorCipherOrder`: our order of ciphers counts, not the client's.
    package var honorsCipherOrder = true
    /// `requestCert`: clients are asked for a certificate, see `relay_acl_certs`.
    package var requestsCertificate = false
    /// `clientCA`: PEM file of authorities that sign clients' certificates; nil: none.
    package var clientAuthorityFile: String?
    /// What `clientCA` holds.
    package internal(set) var clientAuthorities: [UInt8] = []
    /// Sections `[host.name]` with `key` and `cert`.
    package var named: [Named] = []
    /// `acme_…`.
    package var acme = ACMESettings()
    /// The files of `key` and `cert` are there.
    package internal(set) var isAvailable = false

    package init() {}

    /// Every file that is named, whether it is there or not.
    var fileNames: Set<String> {
        Set(
            ([files] + named.map(\.files)).flatMap { [$0.keyFile, $0.certificateFile] }
                + [clientAuthorityFile].compactMap(\.self)
        )
    }
}

extension CertificatePair {
    /// What the files hold.
    package init(_ files: CertificateFiles) { self.init(certificates: files.certificates, key: files.key) }
}

extension Settings {
    /// What servers see that ask us for a certificate: that of `tls.ini`, unless `client_certificate` says no.
    package var clientCertificate: CertificatePair? {
        outbound.showsCertificate && tls.isAvailable ? CertificatePair(tls.files) : nil
    }
}
