// PeerCheck.swift — what is demanded of a server's certificate: nothing, a name, or a TLSA record (RFC 6125, 6698, 7672).

internal import COpenSSL

/// What has to be true of a server for a handshake to succeed.
package enum PeerCheck: Hashable, Sendable {
    /// Encryption towards whoever answers (RFC 7435).
    case none
    /// A trusted authority signed the certificate, and it is for one of these names or addresses, said by subject
    /// alternative names.
    case names([String])
    /// A TLSA record matches; with usage 2 the certificate is for one of the names too.
    ///
    /// `base` is the TLSA base domain, which is asked for by SNI and is one of the names; `names` are further ones (RFC
    /// 7672 §3.2.2). Records that ``TLSA/isUsable`` excludes are skipped, and at least one must be left.
    case dane([TLSA], base: String, names: [String])

    /// The data of a TLSA record.
    package struct TLSA: Hashable, Sendable, CustomStringConvertible {
        package let usage: UInt8
        package let selector: UInt8
        package let matching: UInt8
        package let data: [UInt8]

        package init(usage: UInt8, selector: UInt8, matching: UInt8, data: [UInt8]) {
            self.usage = usage
            self.selector = selector
            self.matching = matching
            self.data = data
        }

        /// The record as a zone file has it.
        package var zoneText: String { "\(usage) \(selector) \(matching) \(TLSSummary.hexadecimal(data))" }

        /// `3 1 1 2bb1…`.
        package var description: String {
            "\(usage) \(selector) \(matching) \(TLSSummary.hexadecimal(Array(data.prefix(8))))…"
        }

        /// Whether SMTP can use the record: usage 2 or 3, and data that can be what it claims to be.
        ///
        /// Usages 0 and 1 are not for SMTP.
        /// - Source: RFC 7672 §3.1.3, §2.1
        package var isUsable: Bool {
            guard usage == 2 || usage == 3, selector <= 1 else { return false }
            switch matching {
            case 0: return isWhole
            case 1: return data.count == 32
            case 2: return data.count == 64
            default: return false
            }
        }

        /// The data is a certificate or a public key, and nothing but that.
        private var isWhole: Bool {
            defer { TLSError.clear() }
            return data.withUnsafeBufferPointer { bytes in
                guard let start = bytes.baseAddress else { return false }
                var end: UnsafePointer<UInt8>? = start
                if selector == 0 {
                    guard let certificate = d2i_X509(nil, &end, bytes.count) else { return false }
                    X509_free(certificate)
                } else {
                    guard let key = d2i_PUBKEY(nil, &end, bytes.count) else { return false }
                    EVP_PKEY_free(key)
                }
                return end == start + bytes.count
            }
        }
    }

    /// True when the handshake fails on a certificate that is not right.
    package var isDemanding: Bool { self != .none }

    /// Tells a session what to look at.
    func apply(to ssl: OpaquePointer) throws(TLSError) {
        switch self {
        case .none: SSL_set_verify(ssl, SSL_VERIFY_NONE, nil)
        case .names(let names):
            guard !names.isEmpty else { throw TLSError(.settings, "no host name to verify") }
            // RFC 8461 §4.2, RFC 9525 §2: only subject alternative names count, never the subject's common name.
            try Self.expect(names, of: ssl, UInt32(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT))
            SSL_set_verify(ssl, SSL_VERIFY_PEER, nil)
        case .dane(let records, let base, let names):
            guard SSL_dane_enable(ssl, Self.plain(base)) > 0 else {
                throw TLSError.taken(.settings, "DANE cannot be used for \(base)")
            }
            relay_set_dane_ee_flags(ssl)
            var added = 0
            for record in records where record.isUsable {
                let result = SSL_dane_tlsa_add(
                    ssl,
                    record.usage,
                    record.selector,
                    record.matching,
                    record.data,
                    record.data.count
                )
                if result > 0 { added += 1 }
            }
            TLSError.clear()
            guard added > 0 else { throw TLSError(.verification, "no TLSA record of \(base) is usable") }
            // RFC 7672 §3.2.3: the common name counts where a certificate has no alternative name of a host.
            try Self.expect(names, of: ssl)
            SSL_set_verify(ssl, SSL_VERIFY_PEER, nil)
        }
    }

    /// The name that goes into SNI when none was given.
    var serverName: String? {
        switch self {
        case .none: nil
        case .names(let names): names.first
        case .dane(_, let base, _): base
        }
    }

    /// What the handshake of this session proved.
    func verified(by ssl: OpaquePointer) -> TLSSummary.Verified {
        switch self {
        case .none: return .nothing
        case .names(let names):
            if let name = SSL_get0_peername(ssl) { return .name(String(cString: name)) }
            // An address that matched has no peer name.
            return .name(names.first ?? "")
        case .dane:
            var (usage, selector, matching) = (UInt8(0), UInt8(0), UInt8(0))
            let depth = SSL_get0_dane_tlsa(ssl, &usage, &selector, &matching, nil, nil)
            return depth < 0 ? .nothing : .dane(usage: usage, selector: selector, matching: matching)
        }
    }

    private static func expect(_ names: [String], of ssl: OpaquePointer, _ flags: UInt32 = 0) throws(TLSError) {
        SSL_set_hostflags(ssl, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS) | flags)
        for name in names {
            guard SSL_add1_host(ssl, plain(name)) == 1 else {
                throw TLSError.taken(.settings, "\(name) cannot be verified")
            }
        }
    }

    /// Without the root's dot.
    static func plain(_ name: String) -> String {
        name.utf8.last == UInt8(ascii: ".") ? String(Substring(name.utf8.dropLast())) : name
    }
}
