// ServerHandler+TLS.swift — TLS for a client: STARTTLS in the middle of a session, or the handshake before the greeting.
//
// Guarantees: our 220 is the last octet in the clear, in both directions; a handshake that fails or stalls ends the
// connection; what the client was and said before counts for nothing behind it.

import Config
import Log
import Loop
import NIOCore
import OpenSSL
import SMTP

extension ServerHandler {
    /// STARTTLS was accepted by the machine.
    ///
    /// - Parameter buffered: input that came behind it, which must be nothing.
    func beginTLS(behind buffered: ByteBuffer) {
        guard let context, let engine = makeEngine() else {
            machine.tlsBegins(false)
            return
        }
        machine.tlsBegins(true)
        send(context)
        secure(context, engine, buffered)
    }

    /// Implicit TLS: the connection has just begun.
    func beginTLSFirst(_ context: ChannelHandlerContext) {
        guard let engine = makeEngine() else {
            context.close(promise: nil)
            return
        }
        secure(context, engine, ByteBuffer())
    }

    private func makeEngine() -> TLSEngine? {
        guard let tls = door.tls() else { return nil }
        do throws(TLSError) {
            return try TLSEngine(server: tls)
        } catch {
            door.log.write(.error, "TLS session not possible") { $0.add(.reason, error.reason) }
            return nil
        }
    }

    private func secure(_ context: ChannelHandlerContext, _ engine: TLSEngine, _ buffered: ByteBuffer) {
        do throws(TLSError) {
            let timeout = TimeAmount.seconds(Int64(settings.tlsTimeout))
            try engine.secure(context.pipeline, buffered: buffered, timeout: timeout)
        } catch {
            reportTLS(error)
            phase = .left
            context.close(promise: nil)
        }
    }

    /// The handshake is over.
    func established(_ summary: TLSSummary, _ context: ChannelHandlerContext) {
        guard phase == .talking, security == nil else { return }
        security = summary
        protection = summary.protection
        IngestMetrics.secured(summary)
        let settings = door.settings.current
        // Whoever authenticated in the clear has to do it again.
        let mayRelay = mayRelay(settings, isAuthenticated: false)
        let offer = Authenticator.offer(settings, to: client, isSecure: true)
        machine.secured(mayRelay: mayRelay, offer: offer)
        door.log.write(.debug, "TLS established") { line in
            line.add(.client, clientLiteral)
            line.add(.tls, summary.description)
            if let fingerprint = summary.peerFingerprintText { line.add(.certificate, fingerprint) }
        }
        if isImplicitTLS { welcome(context) } else { resume() }
    }

    /// Whether this client may relay under these settings.
    func mayRelay(_ settings: Settings, isAuthenticated: Bool) -> Bool {
        RelayPolicy.mayRelay(
            client,
            networks: settings.networks(at: here),
            isAuthenticated: isAuthenticated,
            certificate: isReaddressed ? nil : security?.peerFingerprint,
            certificates: settings.certificates(at: here)
        )
    }

    /// A peer causes this at will, so that it is no error of ours.
    func reportTLS(_ error: TLSError) {
        if security == nil { IngestMetrics.handshakeFailed() }
        guard security != nil else { return tell(.handshakeFailed) { $0.add(.reason, error.reason) } }
        door.log.write(.info, "TLS session broke") { line in
            line.add(.client, clientLiteral)
            line.add(.reason, error.reason)
        }
    }
}
