// ServerMachine+TLS.swift — STARTTLS: when it may be said, what is forgotten behind it (RFC 3207), REQUIRETLS (RFC 8689).
//
// Guarantees: nothing that came in the clear is known, or waits, behind the handshake (CVE-2011-0411 and its kin, “NO
// STARTTLS”, USENIX Security 2021): a client that sends more before our 220 is refused and its session ends.

import NIOCore

extension ServerMachine {
    /// Answers the command.
    ///
    /// - Parameter isFollowed: octets came behind it, which the handshake would have to protect already.
    mutating func startTLS(isFollowed: Bool) -> Need? {
        let refusal: CannedReply? =
            switch true {
            case isSecure: .tlsTwice
            case !offersTLS: .notOffered
            case hello != .ehlo: .helloFirst
            case transaction != nil: .tlsInTransaction
            default: nil
            }
        if let refusal {
            refuse(refusal)
            drainIfIdle()
            return nil
        }
        if isFollowed {
            throwOut(.tlsPipelined)
            return nil
        }
        guard countIdle() else { return nil }
        phase = .securing
        return .startTLS
    }

    /// Answers ``Need/startTLS``: the handshake begins when what is in `output` is sent, or there is no TLS now.
    package mutating func tlsBegins(_ isReady: Bool) {
        guard case .securing = phase else { return }
        if isReady {
            CannedReply.startTLS.write(to: &output)
        } else {
            phase = .command
            idle(.tlsUnavailable)
            drainIfIdle()
        }
    }

    /// The session is encrypted: after STARTTLS, or before the greeting.
    ///
    /// Everything the client has said is forgotten (RFC 3207 §4.2).
    ///
    /// - Parameters:
    ///   - mayRelay: as far as it is known now, for example by the client's certificate.
    ///   - offer: how the client may authenticate now.
    package mutating func secured(mayRelay: Bool, offer: AuthOffer) {
        switch phase {
        case .connected: break
        case .securing:
            phase = .command
            forgetClient()
        default: return
        }
        isSecure = true
        take(mayRelay: mayRelay, offer: offer)
        drainIfIdle()
    }
}
