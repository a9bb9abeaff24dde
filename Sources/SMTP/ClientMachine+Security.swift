// ClientMachine+Security.swift — between EHLO and `ready`: STARTTLS, EHLO again, AUTH.
//
// Guarantees: nothing that was said in the clear counts after the handshake (RFC 3207 §4.2, CVE-2011-0411 in reverse);
// where TLS is demanded not a word of a message is said without it; a secret is never said where others can read it, and
// never comes back in a failure. A refused login is our trouble: it never bounces mail.

import Mail
import NIOCore

extension ClientMachine {
    /// An AUTH exchange that is running.
    struct Exchange: Hashable, Sendable {
        var sasl: SASLClient
        /// Mechanisms to try when the peer does not know this one after all.
        var others: ArraySlice<Credentials.Mechanism>
        /// Held back until the peer asks: the line would have been too long, or the peer speaks first.
        var response: [UInt8]?
    }

    /// Longest AUTH command, CRLF included, that may carry an initial response (RFC 4954 §4).
    private static let longestCommand = 512

    // MARK: TLS

    /// EHLO is answered: encrypt, log in, go on.
    mutating func secure() -> [Action] {
        if security != nil { return logIn() }
        switch options.tls {
        case .never: return logIn()
        case .implicit: return impossible()
        case .ifOffered where !capabilities.startTLS: return logIn()
        case .required where !capabilities.startTLS:
            return close(tlsFailure(EnhancedStatus(4, 7, 4), "the peer does not offer STARTTLS, and TLS is demanded"))
        case .ifOffered, .required:
            state = .startingTLS
            return [send("STARTTLS", "")]
        }
    }

    mutating func startTLSAnswered(_ reply: Reply, _ moreFollows: Bool) -> [Action] {
        // What stands behind the reply in the clear would pass for something that was said inside TLS.
        if moreFollows {
            return close(
                tlsFailure(EnhancedStatus(4, 7, 5), "the peer sent octets in the clear behind its STARTTLS reply")
            )
        }
        if reply.code == 220 {
            state = .handshaking
            return [.startTLS]
        }
        if reply.severity == .success || reply.severity == .intermediate { return breakOff(Self.wrongPlace(reply)) }
        if reply.code == 421 { return refuse(reply, at: .tls) }
        // Offered and refused is trouble with TLS, also where TLS is only a wish: who opens sessions decides what follows.
        return close(tlsFailure(EnhancedStatus(4, 7, 4), "the peer refuses the STARTTLS that it offers: \(reply)"))
    }

    mutating func tlsEstablished(_ security: ChannelSecurity) -> [Action] {
        switch state {
        case .idle where options.tls == .implicit:
            self.security = security
            return []
        case .handshaking:
            self.security = security
            capabilities = Capabilities()
            return [sayHello()]
        default: return impossible()
        }
    }

    mutating func tlsFailed(_ reason: String) -> [Action] {
        switch state {
        case .idle, .handshaking: close(tlsFailure(EnhancedStatus(4, 7, 5), reason))
        case .greeting, .hello:
            isProtectionUnproven ? close(tlsFailure(EnhancedStatus(4, 7, 5), reason)) : handle(.peerClosed(reason))
        // A session that stood and broke.
        default: handle(.peerClosed(reason))
        }
    }

    /// The handshake is over for us and nothing was heard inside TLS yet.
    ///
    /// A server of TLS 1.3 looks at what a client showed only then: it leaves where the certificate it wants is missing.
    var isProtectionUnproven: Bool { security != nil && !hasHeardInside }

    private func tlsFailure(_ status: EnhancedStatus, _ text: String) -> Failure {
        Failure(.host, at: .tls, Reply(451, status, text), remote: remote)
    }

    // MARK: AUTH

    /// Logs in when there is something to log in with.
    private mutating func logIn() -> [Action] {
        guard let login = options.login, !isAuthenticated else { return settleDown() }
        let isPrivate = security != nil || options.mayLogInUnencrypted
        let mechanisms = login.choose(
            offered: capabilities.mechanisms,
            isPrivate: isPrivate,
            canHash: hmacMD5 != nil
        )
        guard let first = mechanisms.first else { return authUnavailable(login, isPrivate) }
        return [authenticate(first, mechanisms.dropFirst(), login)]
    }

    private mutating func authUnavailable(_ login: Login, _ isPrivate: Bool) -> [Action] {
        let known = login.mechanisms.map(\.rawValue)
        let reason: String
        if capabilities.mechanisms.isEmpty {
            reason = "the peer offers no AUTH"
        } else if !isPrivate, capabilities.mechanisms.contains(where: known.contains) {
            reason = "the peer takes AUTH only in a form that others could read, and the connection is not encrypted"
        } else {
            reason = "the peer offers no AUTH mechanism of \(known.joined(separator: ", "))"
        }
        switch options.onAuthUnavailable {
        case .sendWithout: return [.warn(.sentWithoutAuth(reason))] + settleDown()
        case .defer:
            let reply = Reply(451, EnhancedStatus(4, 7, 0), reason)
            return close(Failure(.destination, at: .auth, reply, remote: remote))
        case .bounce:
            // The only failure of AUTH that an administrator wants mail to bounce for; see `nextStep`.
            let reply = Reply(550, EnhancedStatus(5, 7, 0), reason)
            return close(Failure(.message, at: .auth, reply, remote: remote))
        }
    }

    private mutating func authenticate(
        _ mechanism: Credentials.Mechanism,
        _ others: ArraySlice<Credentials.Mechanism>,
        _ login: Login
    ) -> Action {
        var sasl = SASLClient(mechanism, login, host: options.host, port: options.port)
        var response = sasl.initialResponse()
        scratch.clear()
        scratch.writeStaticString("AUTH ")
        scratch.writeString(mechanism.rawValue)
        if let bytes = response, bytes.count / 3 * 4 + 32 <= Self.longestCommand {
            scratch.writeStaticString(" ")
            scratch.writeString(Base64.encode(bytes))
            response = nil
        }
        scratch.writeStaticString("\r\n")
        state = .authenticating(Exchange(sasl: sasl, others: others, response: response))
        return .send(scratch)
    }

    mutating func authAnswered(_ reply: Reply, _ moreFollows: Bool, _ exchange: Exchange) -> [Action] {
        if moreFollows { return breakOff(Self.surplus) }
        if isOutOfPlace(reply) { return breakOff(Self.wrongPlace(reply)) }
        switch reply.severity {
        case .success:
            isAuthenticated = true
            return settleDown()
        case .intermediate: return challenged(reply, exchange)
        case .temporary: return close(authFailure(.host, reply))
        case .permanent:
            guard let login = options.login, let next = exchange.others.first, reply.wantsOtherMechanism else {
                return close(authFailure(.destination, reply))
            }
            return [authenticate(next, exchange.others.dropFirst(), login)]
        }
    }

    private mutating func challenged(_ reply: Reply, _ exchange: Exchange) -> [Action] {
        var exchange = exchange
        let challenge = reply.lines.count == 1 ? Base64.decode((reply.lines.first ?? "").utf8) : nil
        var response = exchange.response.take()
        // What LOGIN and PLAIN are asked is read by people, if at all: some servers do not encode it.
        let isPrompt = exchange.sasl.mechanism == .login || exchange.sasl.mechanism == .plain
        if response == nil, let challenge = challenge ?? (isPrompt ? [] : nil) {
            response = exchange.sasl.answer(challenge, hmac: hmacMD5)
        }
        state = .authenticating(exchange)
        // RFC 4954 §4: an asterisk gives the exchange up; 501 follows.
        return [send("", response.map { Base64.encode($0) } ?? "*")]
    }

    /// - Parameter scope: the whole destination when our login was judged, this host when it was only not judged now.
    func authFailure(_ scope: Failure.Scope, _ reply: Reply) -> Failure {
        Failure(scope, at: .auth, withoutSecret(reply), remote: remote)
    }

    /// A peer that quotes what we said must not bring it into a log or a report.
    private func withoutSecret(_ reply: Reply) -> Reply {
        guard let login = options.login, SASLClient.givesAway(reply.lines.joined(separator: " "), login) else {
            return reply
        }
        return Reply(reply.code, reply.status, "(the peer's words repeat the login and are withheld)")
    }

    /// RFC 4954 §6: something is refused for want of a login that we have and could not use.
    ///
    /// A bounce would punish the sender for a password of ours.
    func wantsLogin(_ reply: Reply) -> Bool { options.login != nil && reply.refusesLogin }

    // MARK: what a message demands

    /// Why this session is not good enough for a message that must not be read on its way; a socket of this machine is.
    func lackOfProtection(for envelope: Envelope) -> Failure? {
        if options.ip == nil { return nil }
        if security == nil, envelope.notes.forceTLS || envelope.requiresTLS {
            return tlsFailure(EnhancedStatus(4, 7, 4), "the message must be encrypted, and the connection is not")
        }
        guard envelope.requiresTLS else { return nil }
        // RFC 8689 §4.2.1: permanent, since the next attempt would find the same.
        guard security?.trust != ChannelSecurity.Trust.none, options.isHostAuthentic else {
            return requireTLSFailure("the message demands REQUIRETLS, and nobody vouches for the next hop")
        }
        return capabilities.requireTLS ? nil : requireTLSFailure("the next hop does not offer REQUIRETLS")
    }

    private func requireTLSFailure(_ text: String) -> Failure {
        Failure(.host, at: .tls, Reply(550, EnhancedStatus(5, 7, 30), text), remote: remote)
    }
}
