// TLSEngine.swift — one TLS session over two memory buffers: octets in, octets out, no socket and no clock.
//
// Guarantees: nothing a peer sends can trap; the plaintext and the answers to what came in are never larger than a
// small multiple of it; after an error only the alert for the peer is left to be taken.

internal import COpenSSL
package import NIOCore

/// One side of a TLS session.
///
/// Bound to whoever makes it, for example an event loop: not for two threads at once.
package final class TLSEngine {
    /// Where the session stands.
    package enum Progress: Hashable, Sendable {
        case handshaking, open
        /// The peer said close_notify: it sends no more.
        case closed
    }

    /// Octets handed to OpenSSL at a time: a full record and its trimmings, so that its buffers stay small.
    private static let portion = 18 << 10
    private static let record = 16 << 10

    private let ssl: OpaquePointer
    /// Owned by `ssl`.
    private let (incoming, outgoing): (OpaquePointer, OpaquePointer)
    private let context: TLSContext
    private let check: PeerCheck
    private let resumptionKey: ResumptionCache.Key?
    private let resumed: ResumableSession?
    private var hasFailed = false
    /// The server asked for a certificate of ours.
    private var wasAskedForCertificate = false
    private var verified = TLSSummary.Verified.nothing

    package private(set) var progress = Progress.handshaking
    /// What the handshake came to; nil until it is over.
    package private(set) var summary: TLSSummary?

    /// The server's side of a session that begins.
    ///
    /// - Throws: when OpenSSL has no memory for one.
    package convenience init(server context: TLSContext) throws(TLSError) {
        try self.init(context, check: .none, key: nil)
        SSL_set_accept_state(ssl)
    }

    /// The client's side of a session that begins.
    ///
    /// - Parameters:
    ///   - context: made for a client.
    ///   - serverName: the host to ask for by SNI; addresses are not asked for. nil: the first name of the check.
    ///   - check: what must be true of the server.
    ///   - peer: names the server, for example `mx.example.net:25`, among those whose sessions may be resumed; nil
    ///     resumes none.
    ///   - isBare: nothing that a server may choke on: no session is resumed, no certificate shown.
    /// - Throws: when the check cannot be made: no usable TLSA record, a name that is none.
    package convenience init(
        client context: TLSContext,
        serverName: String?,
        check: PeerCheck,
        peer: String? = nil,
        isBare: Bool = false
    ) throws(TLSError) {
        let key = peer.map { ResumptionCache.Key(peer: $0, check: check) }
        if isBare, let key { context.sessions.forget(key) }
        try self.init(context, check: check, key: key)
        try check.apply(to: ssl)
        if isBare { SSL_certs_clear(ssl) }
        SSL_set_cert_cb(ssl, { ssl, _ in TLSEngine.certificateAsked(of: ssl) }, nil)
        if let name = (serverName ?? check.serverName).map(PeerCheck.plain), Self.isHostName(name) {
            guard relay_set_server_name(ssl, name) == 1 else {
                throw TLSError.taken(.settings, "\(name) cannot be asked for")
            }
        }
        if let resumed { SSL_set_session(ssl, resumed.pointer) }
        SSL_set_connect_state(ssl)
    }

    private init(_ context: TLSContext, check: PeerCheck, key: ResumptionCache.Key?) throws(TLSError) {
        TLSError.clear()
        guard let ssl = SSL_new(context.pointer) else { throw TLSError.taken(.session, "no TLS session") }
        guard let incoming = BIO_new(BIO_s_mem()) else {
            SSL_free(ssl)
            throw TLSError.taken(.session, "no memory")
        }
        guard let outgoing = BIO_new(BIO_s_mem()) else {
            BIO_free(incoming)
            SSL_free(ssl)
            throw TLSError.taken(.session, "no memory")
        }
        relay_memory_never_ends(incoming)
        relay_memory_never_ends(outgoing)
        SSL_set_bio(ssl, incoming, outgoing)
        self.ssl = ssl
        (self.incoming, self.outgoing) = (incoming, outgoing)
        self.context = context
        self.check = check
        resumptionKey = key
        resumed = key.flatMap { context.sessions.take(for: $0) }
        // Unretained: callbacks run only while a method of this object does.
        SSL_set_ex_data(ssl, 0, Unmanaged.passUnretained(self).toOpaque())
    }

    deinit {
        // OpenSSL would spoil a session that ends without close_notify; RFC 8446 does not ask for that.
        if !hasFailed { SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN) }
        SSL_free(ssl)
    }

    /// An address literal is no host name (RFC 6066 §3).
    private static func isHostName(_ name: String) -> Bool {
        guard !name.isEmpty, name.utf8.count <= 255 else { return false }
        guard let address = a2i_IPADDRESS(name) else {
            TLSError.clear()
            return true
        }
        ASN1_OCTET_STRING_free(address)
        return false
    }

    /// A client's session was begun with what a server may choke on, and what another one with `isBare` would not have: an
    /// earlier session to resume, or a certificate that was shown.
    package var isLaden: Bool { resumed != nil || wasAskedForCertificate && hasCertificate }

    private var hasCertificate: Bool { SSL_get_certificate(ssl) != nil }

    /// The handshake is over for the peer, too: a server of TLS 1.3 has only tickets left to send.
    var owesOnlyTicket: Bool { context.isServer && summary?.version == TLSContext.Version.tls13.rawValue }

    // MARK: Verbs

    /// A client's first octets; a server has none.
    ///
    /// - Throws: when OpenSSL cannot begin.
    package func start() throws(TLSError) { try handshake() }

    /// Takes what the peer sent; all of it is consumed.
    ///
    /// - Parameters:
    ///   - ciphertext: octets as they came.
    ///   - plaintext: what they mean is appended.
    /// - Returns: where the session stands now.
    /// - Throws: when the session is over; ``takeCiphertext(into:)`` may hold an alert for the peer.
    @discardableResult
    package func receive(_ ciphertext: inout ByteBuffer, into plaintext: inout ByteBuffer) throws(TLSError) -> Progress
    {
        guard !hasFailed else { throw TLSError(.session, "the TLS session has failed before") }
        while ciphertext.readableBytes > 0, progress != .closed {
            let taken = ciphertext.readWithUnsafeReadableBytes { bytes -> Int in
                max(Int(BIO_write(incoming, bytes.baseAddress, Int32(min(bytes.count, Self.portion)))), 0)
            }
            guard taken > 0 else { throw fail(TLSError(.session, "no memory for what the peer sent")) }
            if progress == .handshaking { try handshake() }
            if progress == .open { try decrypt(into: &plaintext) }
        }
        return progress
    }

    /// Encrypts octets for the peer; ``takeCiphertext(into:)`` has them then.
    ///
    /// - Throws: when the handshake is not over, or the session is.
    package func send(_ plaintext: ByteBuffer) throws(TLSError) {
        guard summary != nil, !hasFailed else { throw TLSError(.session, "the TLS session is not open") }
        var rest = plaintext
        while rest.readableBytes > 0 {
            TLSError.clear()
            let sent = rest.readWithUnsafeReadableBytes { bytes -> Int in
                max(Int(SSL_write(ssl, bytes.baseAddress, Int32(min(bytes.count, Self.record)))), 0)
            }
            guard sent > 0 else { throw fail(TLSError.taken(.session, "cannot encrypt")) }
        }
    }

    /// Appends what is to be sent to the peer.
    package func takeCiphertext(into buffer: inout ByteBuffer) {
        let waiting = BIO_ctrl_pending(outgoing)
        guard waiting > 0 else { return }
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: waiting) { bytes in
            max(Int(BIO_read(outgoing, bytes.baseAddress, Int32(clamping: bytes.count))), 0)
        }
    }

    package var hasCiphertext: Bool { BIO_ctrl_pending(outgoing) > 0 }

    /// Says close_notify: we send no more.
    package func close() {
        guard summary != nil, !hasFailed else { return }
        TLSError.clear()
        SSL_shutdown(ssl)
        TLSError.clear()
    }

    // MARK: Steps

    private func handshake() throws(TLSError) {
        TLSError.clear()
        let result = SSL_do_handshake(ssl)
        if result == 1 {
            established()
            return
        }
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return
        default: throw fail(certificateTrouble() ?? .handshake(ssl, isVerifying: check.isDemanding))
        }
    }

    private func decrypt(into plaintext: inout ByteBuffer) throws(TLSError) {
        while true {
            TLSError.clear()
            var result: Int32 = 0
            plaintext.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.record) { bytes in
                result = SSL_read(ssl, bytes.baseAddress, Int32(clamping: bytes.count))
                return max(Int(result), 0)
            }
            if result > 0 { continue }
            switch SSL_get_error(ssl, result) {
            case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return
            case SSL_ERROR_ZERO_RETURN:
                progress = .closed
                return
            default: throw fail(certificateTrouble() ?? .taken(.session, "the TLS session broke"))
            }
        }
    }

    private func certificateTrouble() -> TLSError? {
        wasAskedForCertificate ? .clientCertificate(hasShownOne: hasCertificate) : nil
    }

    private func fail(_ error: TLSError) -> TLSError {
        hasFailed = true
        TLSError.clear()
        if let resumptionKey { context.sessions.forget(resumptionKey) }
        return error
    }

    private func established() {
        let isResumed = SSL_session_reused(ssl) == 1
        if context.isServer {
            let hasVerdict = SSL_get_verify_result(ssl) == Int(X509_V_OK)
            verified = hasVerdict && SSL_get0_peer_certificate(ssl) != nil ? .authority : .nothing
        } else if isResumed, let resumed {
            verified = resumed.verified
        } else {
            verified = check.verified(by: ssl)
        }
        let cipher = SSL_get_current_cipher(ssl)
        summary = TLSSummary(
            version: Self.text(SSL_get_version(ssl)) ?? "",
            cipher: Self.text(SSL_CIPHER_get_name(cipher)) ?? "",
            bits: Int(SSL_CIPHER_get_bits(cipher, nil)),
            isResumed: isResumed,
            verified: verified,
            peerFingerprint: fingerprint(),
            serverName: Self.text(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name))
        )
        progress = .open
    }

    private func fingerprint() -> [UInt8]? {
        guard let certificate = SSL_get0_peer_certificate(ssl) else { return nil }
        return [UInt8](unsafeUninitializedCapacity: Digest.size) { buffer, count in
            var length: UInt32 = 0
            let isMade = X509_digest(certificate, HashMethod.sha256.pointer, buffer.baseAddress, &length) == 1
            count = isMade ? Int(length) : 0
        }
    }

    private static func text(_ text: UnsafePointer<CChar>?) -> String? { text.map { String(cString: $0) } }

    /// The server asks for a certificate.
    ///
    /// - Returns: 1: go on with the one that is set, or with none.
    private static func certificateAsked(of ssl: OpaquePointer?) -> Int32 {
        guard let ssl, let data = SSL_get_ex_data(ssl, 0) else { return 1 }
        Unmanaged<TLSEngine>.fromOpaque(data).takeUnretainedValue().wasAskedForCertificate = true
        return 1
    }

    /// OpenSSL has a session that may be resumed later.
    ///
    /// - Returns: 1 when the reference is kept.
    static func keep(_ session: OpaquePointer?, of ssl: OpaquePointer?) -> Int32 {
        guard let session, let ssl, let data = SSL_get_ex_data(ssl, 0) else { return 0 }
        let engine = Unmanaged<TLSEngine>.fromOpaque(data).takeUnretainedValue()
        guard let key = engine.resumptionKey, SSL_SESSION_is_resumable(session) == 1 else { return 0 }
        // In TLS 1.2 the ticket comes before the handshake is over, so that the summary is not there yet.
        let verified = engine.summary?.verified ?? engine.resumed?.verified ?? engine.check.verified(by: ssl)
        engine.context.sessions.put(ResumableSession(session, verified: verified), for: key)
        return 1
    }
}
