// TLSLevel.swift — how much protection a connection to a next hop must have, and what it got.

/// `tls` of a route, rising.
package enum TLSLevel: UInt8, Hashable, Sendable, Comparable, CaseIterable, CustomStringConvertible {
    /// Never TLS.
    case off
    /// TLS when it is offered and works, without a look at the certificate; plaintext otherwise (RFC 7435).
    case may
    /// Always TLS, without a look at the certificate.
    case require
    /// TLS with a certificate for the host's name by an authority we trust.
    case verify
    /// TLS with a certificate that the host's TLSA records name (RFC 7672).
    case dane

    /// Reads the word of `routes.ini`.
    package init?(name: some StringProtocol) {
        let word = name.lowercasedASCII
        guard let level = Self.allCases.first(where: { $0.description == word }) else { return nil }
        self = level
    }

    package static func < (a: TLSLevel, b: TLSLevel) -> Bool { a.rawValue < b.rawValue }

    package var description: String {
        switch self {
        case .off: "off"
        case .may: "may"
        case .require: "require"
        case .verify: "verify"
        case .dane: "dane"
        }
    }
}

/// How a connection was protected, in the words for log, hook and API.
package struct ChannelSecurity: Hashable, Sendable, CustomStringConvertible {
    /// Why we believe that the peer is who it should be.
    package enum Trust: UInt8, Hashable, Sendable {
        /// Encrypted, nobody knows towards whom.
        case none
        /// A certificate for the host's name, by an authority we trust.
        case name
        /// A certificate that a DNSSEC-signed TLSA record names.
        case dane
    }

    /// `TLSv1.3`.
    package let version: String
    /// OpenSSL's name of the cipher.
    package let cipher: String
    package let trust: Trust

    package init(version: String, cipher: String, trust: Trust) {
        self.version = version
        self.cipher = cipher
        self.trust = trust
    }

    /// `TLSv1.3 TLS_AES_256_GCM_SHA384 verified`.
    package var description: String {
        switch trust {
        case .none: "\(version) \(cipher) unverified"
        case .name: "\(version) \(cipher) verified"
        case .dane: "\(version) \(cipher) dane"
        }
    }
}
