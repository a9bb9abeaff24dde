// TLSError.swift — OpenSSL's error queue turned into one value with a sentence a person can act on.

internal import COpenSSL

/// Why OpenSSL, or we in its place, refused.
package struct TLSError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What the trouble is with.
    package enum Kind: Hashable, Sendable {
        /// Our own certificate, key, cipher list or other setting.
        case settings
        /// The handshake: no common version or cipher, an alert of the peer, octets that are no TLS.
        case handshake
        /// The peer's certificate is not what was demanded.
        case verification
        /// An established session broke.
        case session
        /// The peer closed or went silent in the handshake.
        case silence
    }

    /// What is wrong with a certificate, as far as others tell it apart.
    package enum CertificateFault: Hashable, Sendable {
        case hostMismatch, expired, notTrusted
        /// Something else; the reason says what.
        case other
    }

    package let kind: Kind
    /// Of ``Kind/verification``, where OpenSSL said it.
    package private(set) var certificateFault: CertificateFault?
    /// A sentence without its full stop; holds nothing secret and no control characters.
    package let reason: String

    package init(_ kind: Kind, _ reason: String) {
        self.kind = kind
        self.reason = reason
    }

    package var description: String { reason }

    /// Takes the errors of this thread's queue.
    ///
    /// - Parameter action: what was tried, as the beginning of a sentence: "cannot read the key".
    static func taken(_ kind: Kind, _ action: String) -> TLSError {
        let reasons = takeReasons()
        guard let first = reasons.first else { return TLSError(kind, action) }
        return TLSError(kind, "\(action): \(first)")
    }

    /// The error of a handshake that failed.
    ///
    /// - Parameter verification: what became of the peer's certificate, when that was asked for.
    static func handshake(_ ssl: OpaquePointer, isVerifying: Bool) -> TLSError {
        let verdict = SSL_get_verify_result(ssl)
        if isVerifying, verdict != Int(X509_V_OK) {
            clear()
            var error = TLSError(.verification, "the peer's certificate was refused: \(verdictText(verdict))")
            error.certificateFault = certificateFault(verdict)
            return error
        }
        let code = ERR_peek_error()
        let reason = Int(code & 0x7F_FFFF)
        let reasons = takeReasons()
        switch Int32(truncatingIfNeeded: reason) {
        case SSL_R_WRONG_VERSION_NUMBER, SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST, SSL_R_UNEXPECTED_MESSAGE,
            SSL_R_PACKET_LENGTH_TOO_LONG, SSL_R_RECORD_LENGTH_MISMATCH:
            return TLSError(.handshake, "the peer did not answer in TLS: \(reasons.first ?? "unknown record")")
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW, SSL_R_VERSION_TOO_HIGH:
            return TLSError(.handshake, "no TLS version in common with the peer: \(reasons.first ?? "")")
        case SSL_R_NO_SHARED_CIPHER:
            return TLSError(.handshake, "no TLS cipher in common with the peer")
        case 1000...1255:
            // An alert of the peer: its number is behind the thousand.
            return TLSError(.handshake, "the peer ended the TLS handshake: \(reasons.first ?? "alert")")
        default:
            return TLSError(.handshake, "TLS handshake failed: \(reasons.first ?? "the connection was closed")")
        }
    }

    /// Numbers of alerts that a server sends when a client shows no certificate, or not one that it likes.
    ///
    /// 40 is what TLS 1.2 has for a missing one, 116 what TLS 1.3 has; between them: bad, unsupported, revoked, expired,
    /// unknown, of an unknown authority, not admitted (RFC 8446 §6.2).
    private static let certificateAlerts: Set<Int32> = [40, 42, 43, 44, 45, 46, 48, 49, 116]

    /// The trouble of a client whose server asked for a certificate, when the error that waits in the queue is about that.
    ///
    /// With TLS 1.3 it comes behind the handshake: the client is through before its certificate is looked at.
    /// - Parameter hasShownOne: a certificate was there to be shown.
    static func clientCertificate(hasShownOne: Bool) -> TLSError? {
        let alert = Int32(truncatingIfNeeded: Int(ERR_peek_error() & 0x7F_FFFF)) - 1000
        guard certificateAlerts.contains(alert) else { return nil }
        let words = takeReasons().first ?? "alert \(alert)"
        return TLSError(
            .handshake,
            hasShownOne
                ? "the peer refuses the certificate that we showed: \(words)"
                : "the peer demands a client certificate, and there is none to show: \(words)"
        )
    }

    /// OpenSSL's words for a verdict on a certificate.
    static func verdictText(_ verdict: Int) -> String {
        switch Int32(truncatingIfNeeded: verdict) {
        case X509_V_ERR_HOSTNAME_MISMATCH: "it is for another host name"
        case X509_V_ERR_DANE_NO_MATCH: "no TLSA record matches it"
        default: X509_verify_cert_error_string(verdict).map { String(cString: $0) } ?? "error \(verdict)"
        }
    }

    private static func certificateFault(_ verdict: Int) -> CertificateFault {
        switch Int32(truncatingIfNeeded: verdict) {
        case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH: .hostMismatch
        case X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID: .expired
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
            X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_CERT_UNTRUSTED, X509_V_ERR_CERT_REVOKED,
            X509_V_ERR_INVALID_CA:
            .notTrusted
        default: .other
        }
    }

    static func clear() { ERR_clear_error() }

    /// Empties the queue of this thread; what went wrong first comes first.
    private static func takeReasons() -> [String] {
        var reasons: [String] = []
        while true {
            let code = ERR_get_error()
            guard code != 0 else { return reasons }
            guard reasons.count < 4 else { continue }
            if let text = ERR_reason_error_string(code) {
                reasons.append(String(cString: text))
            } else {
                reasons.append("OpenSSL error \(String(code, radix: 16))")
            }
        }
    }
}
