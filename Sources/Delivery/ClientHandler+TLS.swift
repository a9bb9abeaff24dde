// ClientHandler+TLS.swift — how a session gets encrypted: before its first octet, or when the machine has said STARTTLS.

import Config
import Mail
import NIOCore
import OpenSSL
import SMTP

/// What a handshake needs; crosses from the task that opens a session to the loop.
struct TLSStart: Sendable {
    var context: TLSContext
    var check: PeerCheck
    /// For SNI; an address is not asked for.
    var serverName: String
    /// Whose sessions may be resumed: `host[ip]:port`.
    var peer: String
    /// Seconds.
    var timeout: Int
}

extension ClientHandler {
    /// Puts TLS under the session.
    ///
    /// What became of it comes back as ``TLSEstablished`` or an error of the pipeline.
    func startTLS() {
        guard let context else { return }
        // The machine has seen to it that nothing in the clear is left behind.
        flush()
        phaseBegan = .now()
        do throws(TLSError) {
            try Self.engine(plan).secure(context.pipeline, timeout: .seconds(Int64(plan.limits.tlsTimeout)))
        } catch {
            run(machine.handle(.tlsFailed(error.reason)))
        }
    }

    /// Implicit TLS: before the channel is connected.
    func startTLSFirst(_ pipeline: ChannelPipeline) throws(TLSError) {
        phaseBegan = .now()
        try Self.engine(plan).secure(pipeline, timeout: .seconds(Int64(plan.limits.tlsTimeout)))
    }

    private static func engine(_ plan: Plan) throws(TLSError) -> TLSEngine {
        guard let start = plan.tls else { throw TLSError(.settings, "no TLS was prepared for this session") }
        return try TLSEngine(
            client: start.context,
            serverName: start.serverName,
            check: start.check,
            peer: start.peer
        )
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let established = event as? TLSEstablished else { return context.fireUserInboundEventTriggered(event) }
        hasProgressed = true
        DeliveryMetrics.record(.tls, since: phaseBegan)
        step(.tlsEstablished(ChannelSecurity(established.summary)))
        // With implicit TLS the session only begins now.
        if plan.options.tls == .implicit { step(.connected) }
    }
}

extension ChannelSecurity {
    init(_ summary: TLSSummary) {
        let trust: Trust =
            switch summary.verified {
            case .nothing, .authority: .none
            case .name: .name
            case .dane: .dane
            }
        self.init(version: summary.version, cipher: summary.cipher, trust: trust)
    }
}
