// ClientHandler+TLS.swift — how a session gets encrypted: before its first octet, or when the machine has said STARTTLS.

import Config
import Departure
import Mail
import NIOCore
import OpenSSL
import SMTP
import Synchronization

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
    /// Without what a server may choke on; see ``TLSEngine``.
    var isBare = false
    /// What the handshake was like, for whoever wants to try another one.
    let report = Report()

    /// Filled in by the session before it says why it does not stand.
    final class Report: Sendable {
        private let laden = Atomic<Bool>(false)
        private let end = Mutex<End?>(nil)

        /// What the handshake came to.
        private enum End {
            case stands
            case broke(TLSError)
        }

        /// There was something that a server may choke on.
        var isLaden: Bool { laden.load(ordering: .acquiring) }

        func take(_ engine: TLSEngine) { laden.store(engine.isLaden, ordering: .releasing) }

        func stands() { end.withLock { $0 = .stands } }

        func broke(_ error: TLSError) { end.withLock { $0 = .broke(error) } }

        /// What reports call it; nil: TLS stood.
        ///
        /// Where there was no handshake, the server did not offer one.
        var fault: (fault: TLSFault, words: String?)? {
            switch end.withLock({ $0 }) {
            case nil: (.notOffered, nil)
            case .stands: nil
            case .broke(let error):
                switch error.certificateFault {
                case .hostMismatch: (.hostMismatch, error.reason)
                case .expired: (.expired, error.reason)
                case .notTrusted: (.notTrusted, error.reason)
                case .other, nil: (.validation, error.reason)
                }
            }
        }
    }
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
            try makeEngine().secure(context.pipeline, timeout: .seconds(Int64(plan.limits.tlsTimeout)))
        } catch {
            plan.tls?.report.broke(error)
            run(machine.handle(.tlsFailed(error.reason)))
        }
    }

    /// Implicit TLS: before the channel is connected.
    func startTLSFirst(_ pipeline: ChannelPipeline) throws(TLSError) {
        phaseBegan = .now()
        try makeEngine().secure(pipeline, timeout: .seconds(Int64(plan.limits.tlsTimeout)))
    }

    private func makeEngine() throws(TLSError) -> TLSEngine {
        guard let start = plan.tls else { throw TLSError(.settings, "no TLS was prepared for this session") }
        let engine = try TLSEngine(
            client: start.context,
            serverName: start.serverName,
            check: start.check,
            peer: start.peer,
            isBare: start.isBare
        )
        self.engine = engine
        return engine
    }

    /// Tells what the handshake was like; the session is over.
    func reportTLS() {
        if let engine { plan.tls?.report.take(engine) }
        engine = nil
    }

    /// Whether the session is in the clear for no other reason than that TLS with its host comes to nothing: now or a short
    /// while ago, or because the host wants what it does not offer.
    ///
    /// - Parameter outcomes: what the host said to a message; only a refusal asks for an answer.
    func lacksTLS(_ outcomes: [Outcome?], _ memory: PeerMemory) -> Bool {
        if plan.lacksTLS { return true }
        guard machine.security == nil, plan.options.tls == .ifOffered else { return false }
        let refusals = outcomes.lazy.compactMap { $0?.refusal }
        return !refusals.isEmpty
            && (memory.trouble(with: machine.peer, at: .now()) != nil || refusals.contains { $0.namesSTARTTLS })
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let established = event as? TLSEstablished else { return context.fireUserInboundEventTriggered(event) }
        hasProgressed = true
        plan.tls?.report.stands()
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

extension Outcome {
    /// What was refused for good, whatever becomes of it.
    fileprivate var refusal: Reply? {
        switch self {
        case .deferred(let failure), .bounced(let failure):
            failure.reply.severity == .permanent ? failure.reply : nil
        case .delivered: nil
        }
    }

    /// A refusal for want of TLS: 530 (RFC 3207 §4), or what has to do with security or policy (RFC 3463 §3.8).
    var wantsTLS: Bool { refusal.map { $0.code == 530 || $0.status?.subject == 7 } ?? false }
}

extension Reply {
    /// `530 Must issue a STARTTLS command first`, in many wordings.
    fileprivate var namesSTARTTLS: Bool {
        code == 530 && lines.contains { $0.lowercasedASCII.contains(octets: "starttls") }
    }
}
