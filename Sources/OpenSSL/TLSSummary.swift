// TLSSummary.swift — what a handshake came to: for the log, the Received field, hooks and decisions.

/// Facts of an established session.
package struct TLSSummary: Hashable, Sendable, CustomStringConvertible {
    /// What is known of the peer.
    package enum Verified: Hashable, Sendable, CustomStringConvertible {
        /// Nothing: encrypted towards somebody.
        case nothing
        /// A trusted authority signed the certificate, and it is for this name.
        case name(String)
        /// A TLSA record matched.
        case dane(usage: UInt8, selector: UInt8, matching: UInt8)
        /// A client's certificate that one of our authorities signed.
        case authority

        package var description: String {
            switch self {
            case .nothing: "unverified"
            case .name(let name): "certificate for \(name) verified"
            case .dane(let usage, let selector, let matching): "DANE \(usage) \(selector) \(matching) matched"
            case .authority: "client certificate verified"
            }
        }
    }

    /// `TLSv1.2` or `TLSv1.3`.
    package let version: String
    /// OpenSSL's name, for example `TLS_AES_256_GCM_SHA384`.
    package let cipher: String
    /// Secret bits of the cipher.
    package let bits: Int
    package let isResumed: Bool
    package let verified: Verified
    /// SHA-256 of the peer's certificate in DER; nil when it showed none.
    package let peerFingerprint: [UInt8]?
    /// The host that the client asked for (SNI), as it came; nil when it asked for none.
    package let serverName: String?

    /// Version and cipher: `TLSv1.3 TLS_AES_256_GCM_SHA384`.
    package var protection: String { "\(version) \(cipher)" }

    /// The fingerprint as 64 lower-case hexadecimal digits.
    package var peerFingerprintText: String? { peerFingerprint.map(Self.hexadecimal) }

    /// `TLSv1.3 TLS_AES_256_GCM_SHA384, certificate for mx.example.net verified`.
    package var description: String { "\(version) \(cipher), \(verified)\(isResumed ? ", resumed" : "")" }

    static func hexadecimal(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(unsafeUninitializedCapacity: bytes.count * 2) { buffer in
            for (index, byte) in bytes.enumerated() {
                buffer[index * 2] = digits[Int(byte >> 4)]
                buffer[index * 2 + 1] = digits[Int(byte & 15)]
            }
            return bytes.count * 2
        }
    }
}
