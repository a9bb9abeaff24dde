// TLSContext.swift — what many TLS sessions have in common: versions, ciphers, certificates, trusted authorities.
//
// A context never changes once it is built: new certificates make a new context, and sessions that stand keep theirs.
// Renegotiation, compression and everything below TLS 1.2 are never on.

internal import COpenSSL
import Synchronization

/// A TLS context for a server or a client.
///
/// Sendable: OpenSSL allows any number of threads to make sessions of one SSL_CTX that is no longer configured.
package final class TLSContext: @unchecked Sendable {  // Nothing in it changes after init but what has a lock.
    /// The oldest version that is spoken.
    package enum Version: String, Hashable, Sendable, CaseIterable {
        case tls12 = "TLSv1.2"
        case tls13 = "TLSv1.3"

        var number: Int32 { self == .tls12 ? TLS1_2_VERSION : TLS1_3_VERSION }
    }

    /// What both sides may set.
    package struct Parameters: Hashable, Sendable {
        package var minimumVersion = Version.tls12
        package var maximumVersion = Version.tls13
        /// In OpenSSL's syntax; names that begin with `TLS_` are suites of TLS 1.3.
        ///
        /// Empty: OpenSSL's own list.
        package var ciphers = ""

        package init() {}
    }

    /// Whether a server asks clients for a certificate.
    package enum ClientCertificates: Hashable, Sendable {
        case never
        /// Asks; a client without one, or with one that nobody signed, is served all the same.
        case asked
    }

    /// A server's settings.
    package struct Server: Sendable {
        package var parameters = Parameters()
        package var certificate: CertificatePair
        /// Others for clients that name a host (SNI): exact names in lower case, or `*.domain`.
        package var byName: [String: CertificatePair] = [:]
        package var prefersOwnCiphers = true
        package var clientCertificates = ClientCertificates.never
        /// PEM of the authorities whose client certificates count as verified.
        package var clientAuthorities: [UInt8] = []

        package init(certificate: CertificatePair) { self.certificate = certificate }
    }

    /// Whom a client believes.
    package enum Authorities: Hashable, Sendable {
        /// Those the operating system trusts.
        case system
        /// PEM certificates, and nobody else.
        case pem([UInt8])
    }

    /// A client's settings.
    package struct Client: Sendable {
        package var parameters = Parameters()
        package var authorities = Authorities.system
        /// Shown to servers that ask for one.
        package var certificate: CertificatePair?

        package init() {}
    }

    let pointer: OpaquePointer
    let isServer: Bool
    /// Sessions that a client may resume.
    let sessions = ResumptionCache()
    /// Contexts for other names; their sessions belong to this one.
    private let others: [String: TLSContext]

    /// Builds a server's context.
    ///
    /// - Throws: ``TLSError`` of kind `settings` that says which part is wrong.
    package convenience init(server: Server) throws(TLSError) {
        var others: [String: TLSContext] = [:]
        for (name, pair) in server.byName {
            var other = server
            other.certificate = pair
            other.byName = [:]
            do throws(TLSError) {
                others[Self.lowered(name.utf8)] = try TLSContext(server: other)
            } catch {
                throw TLSError(error.kind, "for \(name): \(error.reason)")
            }
        }
        try self.init(parameters: server.parameters, isServer: true, others: others)
        try configure(server)
    }

    /// Builds a client's context.
    ///
    /// - Throws: ``TLSError`` of kind `settings` that says which part is wrong.
    package convenience init(client: Client) throws(TLSError) {
        try self.init(parameters: client.parameters, isServer: false, others: [:])
        switch client.authorities {
        case .system:
            guard SSL_CTX_set_default_verify_paths(pointer) == 1 else {
                throw TLSError.taken(.settings, "the system's certificate authorities cannot be read")
            }
        case .pem(let text): try trust(text)
        }
        if let pair = client.certificate { try use(pair) }
        guard SSL_CTX_dane_enable(pointer) == 1 else { throw TLSError.taken(.settings, "DANE is not to be had") }
        relay_context_set_session_cache(pointer, Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL))
        SSL_CTX_sess_set_new_cb(pointer) { ssl, session in TLSEngine.keep(session, of: ssl) }
    }

    private init(parameters: Parameters, isServer: Bool, others: [String: TLSContext]) throws(TLSError) {
        TLSError.clear()
        guard let context = SSL_CTX_new(isServer ? TLS_server_method() : TLS_client_method()) else {
            throw TLSError.taken(.settings, "no TLS context")
        }
        pointer = context
        self.isServer = isServer
        self.others = others
        guard relay_context_harden(context, parameters.minimumVersion.number) == 1 else {
            throw TLSError.taken(.settings, "minVersion \(parameters.minimumVersion.rawValue) is not to be had")
        }
        guard relay_context_set_newest(context, parameters.maximumVersion.number) == 1 else {
            throw TLSError.taken(.settings, "maxVersion \(parameters.maximumVersion.rawValue) is not to be had")
        }
        try set(ciphers: parameters.ciphers)
    }

    deinit { SSL_CTX_free(pointer) }

    // MARK: Settings

    private func set(ciphers: String) throws(TLSError) {
        let names = ciphers.utf8.split { $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: " ") }
        let suites = names.filter { $0.starts(with: "TLS_".utf8) }.map { String(Substring($0)) }.joined(separator: ":")
        let older = names.filter { !$0.starts(with: "TLS_".utf8) }.map { String(Substring($0)) }.joined(separator: ":")
        if !suites.isEmpty, SSL_CTX_set_ciphersuites(pointer, suites) != 1 {
            throw TLSError.taken(.settings, "ciphers names a suite of TLS 1.3 that OpenSSL does not know")
        }
        if !older.isEmpty, SSL_CTX_set_cipher_list(pointer, older) != 1 {
            throw TLSError.taken(.settings, "ciphers is not a list that OpenSSL understands")
        }
    }

    private func configure(_ server: Server) throws(TLSError) {
        try use(server.certificate)
        if server.prefersOwnCiphers { relay_context_prefer_server_ciphers(pointer) }
        // Tickets carry the session, so that the server keeps nothing; one is what a mail client uses.
        relay_context_set_session_cache(pointer, Int(SSL_SESS_CACHE_OFF))
        SSL_CTX_set_num_tickets(pointer, 1)
        let purpose = Array("martlet".utf8)
        SSL_CTX_set_session_id_context(pointer, purpose, UInt32(purpose.count))
        if server.clientCertificates == .asked {
            // Whoever signed it, the handshake proves that the client has its key; the fingerprint decides then.
            SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER) { _, _ in 1 }
            if !server.clientAuthorities.isEmpty {
                try trust(server.clientAuthorities)
                for authority in try PEM.certificates(server.clientAuthorities) {
                    SSL_CTX_add_client_CA(pointer, authority)
                    X509_free(authority)
                }
            }
        }
        guard !others.isEmpty else { return }
        // Unretained: every session keeps its context.
        relay_context_set_server_name_callback(
            pointer,
            { ssl, _, argument in
                guard let ssl, let argument else { return SSL_TLSEXT_ERR_NOACK }
                return Unmanaged<TLSContext>.fromOpaque(argument).takeUnretainedValue().choose(for: ssl)
            },
            Unmanaged.passUnretained(self).toOpaque()
        )
    }

    /// Shows the certificate of the name that the client asked for.
    private func choose(for ssl: OpaquePointer) -> Int32 {
        guard let name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) else { return SSL_TLSEXT_ERR_OK }
        let asked = Self.lowered(String(cString: name).utf8)
        let parent = asked.utf8.firstIndex(of: UInt8(ascii: ".")).map { "*" + asked[$0...] } ?? ""
        if let other = others[asked] ?? others[parent] { SSL_set_SSL_CTX(ssl, other.pointer) }
        return SSL_TLSEXT_ERR_OK
    }

    /// A host name in lower case; one in a handshake is ASCII.
    private static func lowered(_ name: String.UTF8View) -> String {
        String(decoding: name.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }

    private func use(_ pair: CertificatePair) throws(TLSError) {
        let chain: [OpaquePointer]
        do throws(TLSError) {
            chain = try PEM.certificates(pair.certificates)
        } catch {
            throw TLSError(.settings, "certificate: \(error.reason)")
        }
        defer { for certificate in chain { X509_free(certificate) } }
        let key = try PEM.privateKey(pair.key)
        defer { EVP_PKEY_free(key) }
        guard SSL_CTX_use_certificate(pointer, chain[0]) == 1 else {
            throw TLSError.taken(.settings, "certificate cannot be used")
        }
        guard SSL_CTX_use_PrivateKey(pointer, key) == 1, SSL_CTX_check_private_key(pointer) == 1 else {
            throw TLSError.taken(.settings, "key and certificate do not belong together")
        }
        for certificate in chain.dropFirst() {
            guard relay_context_add1_chain_certificate(pointer, certificate) == 1 else {
                throw TLSError.taken(.settings, "certificate chain cannot be used")
            }
        }
    }

    private func trust(_ authorities: [UInt8]) throws(TLSError) {
        let found: [OpaquePointer]
        do throws(TLSError) {
            found = try PEM.certificates(authorities)
        } catch {
            throw TLSError(.settings, "certificate authorities: \(error.reason)")
        }
        for authority in found {
            X509_STORE_add_cert(SSL_CTX_get_cert_store(pointer), authority)
            X509_free(authority)
        }
        TLSError.clear()
    }
}
