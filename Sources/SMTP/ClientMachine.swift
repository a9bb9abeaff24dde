// ClientMachine.swift — our half of an SMTP or LMTP conversation as a value: inputs in, actions out, no socket and no clock.
//
// Guarantees: nothing a peer says can trap; a recipient is delivered only by a well-formed 2yz reply that stands in its
// place; whatever else happens, every recipient of a transaction gets exactly one verdict. RFC 5321, RFC 2920, RFC 2033.
// From the greeting to EHLO, and the end, are here; STARTTLS and AUTH in `ClientMachine+Security.swift`; MAIL to the end of
// the message in `ClientMachine+Transaction.swift` and `ClientMachine+End.swift`.

package import Mail
package import NIOCore

/// One session with one peer.
///
/// ```
/// S: 220 mx.example.net ESMTP
/// C: EHLO relay.example.org
/// S: 250-mx.example.net
/// S: 250 PIPELINING
/// C: MAIL FROM:<a@example.org>
/// C: RCPT TO:<b@example.net>
/// C: DATA
/// ```
package struct ClientMachine: ~Copyable, Sendable {
    /// What does not change during a session.
    package struct Options: Hashable, Sendable {
        /// The name we say in EHLO.
        package var helo: String
        package var isLMTP: Bool
        /// The peer, for receipts and failures.
        package var host: String
        package var ip: IPAddress?
        package var port: UInt16
        /// Commands of the next message may follow the dot in one write, once a transaction went in strict order and showed
        /// that the replies to MAIL and to the dot can be told apart.
        package var pipelinesAcrossDot: Bool
        /// HELO from the beginning: for peers that hang up at EHLO.
        package var saysHELO = false
        package var tls = TLSNeed.never
        /// What we log in with; nil: without AUTH.
        package var login: Login?
        /// When the peer offers no AUTH that we can use.
        package var onAuthUnavailable = AuthFallback.sendWithout
        /// A password may be said without TLS: it does not leave this machine, or the route says so.
        package var mayLogInUnencrypted = false
        /// The name of the host comes from the administrator, DNSSEC or MTA-STS, so that a certificate for it means
        /// something (RFC 8689 §4.2.1).
        package var isHostAuthentic = false

        package init(
            helo: String,
            isLMTP: Bool = false,
            host: String,
            ip: IPAddress? = nil,
            port: UInt16 = MX.smtpPort,
            pipelinesAcrossDot: Bool = true
        ) {
            self.helo = helo
            self.isLMTP = isLMTP
            self.host = host
            self.ip = ip
            self.port = port
            self.pipelinesAcrossDot = pipelinesAcrossDot
        }
    }

    /// When a session is encrypted.
    package enum TLSNeed: Hashable, Sendable {
        case never
        /// By STARTTLS, when it is offered and not refused.
        case ifOffered
        /// By STARTTLS, or there is no session.
        case required
        /// Before the greeting.
        case implicit
    }

    /// What has happened.
    package enum Input: Hashable, Sendable {
        /// The greeting may come; with implicit TLS after ``tlsEstablished(_:)``.
        case connected
        /// The handshake is over and was what it had to be.
        case tlsEstablished(ChannelSecurity)
        /// In our words, from the TLS engine.
        case tlsFailed(String)
        /// `moreFollows`: bytes behind this reply have been received already.
        case replied(Reply, moreFollows: Bool)
        /// In our words, from ``ReplyParser``.
        case malformedReply(String)
        /// Only after ``Action/ready``, once for each.
        case offered(Transaction)
        /// The whole message with its dot is on its way.
        case bodySent
        /// Our own store cannot give the rest of the message.
        case bodyFailed(String)
        case timedOut
        case peerClosed(String?)
        /// End the session politely as soon as nothing is running.
        case quit
        /// Stop now: what the peer has got the dot of is finished, everything else is left untried.
        case abort
    }

    /// What is to be done, in this order.
    package enum Action: Hashable, Sendable {
        case send(ByteBuffer)
        /// Begin the TLS handshake, then say ``Input/tlsEstablished(_:)`` or ``Input/tlsFailed(_:)``.
        case startTLS
        case warn(Warning)
        /// Send the message of the oldest unfinished transaction and its dot, then say ``Input/bodySent``.
        case sendBody
        /// A transaction may be offered. After a body this comes before the reply to its dot.
        case ready
        /// The oldest unfinished transaction is over: an outcome per recipient, nil for one that was not tried.
        case finished([Outcome?])
        /// The session is over. A failure when it ended out of order.
        indirect case close(Failure?)
    }

    /// What an administrator should hear of.
    package enum Warning: Hashable, Sendable {
        /// The route has credentials and the session goes on without them.
        case sentWithoutAuth(String)
    }

    /// What the next reply answers; each has its own timeout.
    package enum Phase: Hashable, Sendable {
        case greeting, hello, tls, auth, mail, recipient, dataInit, dataDone, reset, quit
    }

    enum State: Hashable, Sendable {
        /// → greeting, closed
        case idle
        /// → hello, closed
        case greeting
        /// → hello (HELO), startingTLS, authenticating, ready, closed
        case hello(isFallback: Bool)
        /// STARTTLS is said: → handshaking, authenticating, ready, closed
        case startingTLS
        /// → hello, closed
        case handshaking
        /// → ready, authenticating (another mechanism), closed
        case authenticating(Exchange)
        /// → transaction, quitting, closed
        case ready
        /// MAIL, RCPT and DATA: → body, ready, resetting, closed
        case commands
        /// The message is being sent: → end, closed
        case body
        /// The dot is sent: → commands, ready, resetting, closed
        case end
        /// → ready, closed
        case resetting
        /// → closed
        case quitting
        case closed
    }

    let options: Options
    /// HMAC-MD5 of a message under a key, for CRAM-MD5; nil leaves that mechanism out.
    let hmacMD5: (@Sendable ([UInt8], [UInt8]) -> [UInt8])?
    let remote: String
    var state = State.idle
    package internal(set) var capabilities = Capabilities()
    /// How the session is protected; nil while it is not.
    package internal(set) var security: ChannelSecurity?
    /// A reply has come through TLS.
    var hasHeardInside = false
    /// Logged in.
    package internal(set) var isAuthenticated = false
    var current: Progress?
    /// Its commands follow the dot of `current`.
    var upcoming: Progress?
    /// Transactions that went from MAIL to the reply to the dot in strict order.
    var completed = 0
    /// What this peer says to MAIL, learnt where nothing could stand before it.
    var statusOfMail: EnhancedStatus?
    /// The reply to a dot has shown, where nothing could stand before it, that it cannot be taken for one to MAIL.
    var tellsApart = false
    /// QUIT follows when nothing is running any more.
    var isEnding = false
    /// No further message is sent, even if the peer waits for it.
    var isAborting = false
    /// The session was lost while commands followed a dot and what the peer had said could be the reply to either, so that
    /// nobody knows what became of the message.
    package private(set) var brokeBehindDot = false
    /// So many recipients the peer had taken when it left with 421 in the place of an answer to the next one.
    package internal(set) var takenBeforeLeaving: Int?
    /// The peer hung up on EHLO, without a word and where nothing but plain SMTP is asked for: it may know HELO.
    package private(set) var hungUpAtEHLO = false
    /// Reused for commands, so that a session in full flight allocates nothing.
    var scratch = ByteBuffer()

    package init(_ options: Options, hmacMD5: (@Sendable ([UInt8], [UInt8]) -> [UInt8])? = nil) {
        self.options = options
        self.hmacMD5 = hmacMD5
        remote =
            options.ip.map { "\(options.host)[\($0)]:\(options.port)" }
            // The path of a socket stands for itself.
            ?? (options.port == 0 ? options.host : "\(options.host):\(options.port)")
    }

    /// Octets of text the parser should keep of the reply that is awaited.
    package var textLimit: Int {
        switch state {
        case .hello, .authenticating: 16 << 10
        default: ReplyParser.keptText
        }
    }

    /// What the next reply answers; nil when none is awaited.
    package var awaited: Phase? {
        switch state {
        case .idle: options.tls == .implicit ? .tls : nil
        case .ready, .body, .closed: nil
        case .greeting: .greeting
        case .hello: .hello
        case .startingTLS, .handshaking: .tls
        case .authenticating: .auth
        case .commands: current.map { phase(of: $0) }
        case .end: (current?.end == nil ? nil : upcoming).map { phase(of: $0) } ?? .dataDone
        case .resetting: .reset
        case .quitting: .quit
        }
    }

    /// True while the peer may have a message whose outcome is not known yet.
    package var hasSentDot: Bool { current?.dotSent ?? false }

    /// The peer as logs name it: `host[ip]:port`.
    package var peer: String { remote }

    /// True when no transaction is running and one may be offered.
    package var isReady: Bool { state == .ready }

    /// True when ``Input/offered(_:)`` is welcome: in ``isReady``, or behind a dot.
    package var takesOffer: Bool {
        state == .ready || state == .end && !isEnding && upcoming == nil && current?.end == nil
    }

    package var isClosed: Bool { state == .closed }

    private func phase(of progress: Progress) -> Phase {
        switch progress.step {
        case 0: .mail
        case ...progress.count: .recipient
        default: .dataInit
        }
    }

    /// Never traps on anything a peer can cause; an impossible input closes the session.
    package mutating func handle(_ input: Input) -> [Action] {
        if state == .closed { return [] }
        switch input {
        case .connected:
            guard state == .idle else { return impossible() }
            state = .greeting
            return []
        case .tlsEstablished(let security): return tlsEstablished(security)
        case .tlsFailed(let reason): return tlsFailed(reason)
        case .replied(let reply, let moreFollows): return replied(reply, moreFollows)
        case .malformedReply(let reason):
            return breakOff(Reply(451, EnhancedStatus(4, 5, 0), "the peer sent \(reason)"))
        case .offered(let transaction): return offered(transaction)
        case .bodySent: return bodySent()
        case .bodyFailed(let reason):
            guard state == .body else { return impossible() }
            return breakOff(Reply(451, EnhancedStatus(4, 3, 0), reason), scope: .message)
        case .timedOut: return timedOut()
        case .peerClosed(let reason): return peerClosed(reason)
        case .quit: return quit()
        case .abort: return abort()
        }
    }

    // MARK: the beginning

    private mutating func replied(_ reply: Reply, _ moreFollows: Bool) -> [Action] {
        switch state {
        case .greeting: return greeted(reply, moreFollows)
        case .hello(let isFallback): return helloAnswered(reply, moreFollows, isFallback)
        case .startingTLS: return startTLSAnswered(reply, moreFollows)
        case .authenticating(let exchange): return authAnswered(reply, moreFollows, exchange)
        case .commands: return commandAnswered(reply, moreFollows)
        case .body: return answeredTooEarly(reply)
        case .end: return endAnswered(reply, moreFollows)
        case .resetting:
            guard reply.severity == .success, !isOutOfPlace(reply), !moreFollows else { return close(nil) }
            return settleDown()
        case .quitting: return close(nil)
        // A reply that nobody asked for; usually 421 from a peer that is tired of waiting.
        case .ready: return close(nil)
        case .idle, .handshaking: return impossible()
        case .closed: return []
        }
    }

    private mutating func greeted(_ reply: Reply, _ moreFollows: Bool) -> [Action] {
        hasHeardInside = security != nil
        guard reply.severity == .success else { return refuse(reply, at: .greeting) }
        if moreFollows { return breakOff(Self.surplus) }
        return [sayHello()]
    }

    mutating func sayHello() -> Action {
        if options.saysHELO, !options.isLMTP {
            state = .hello(isFallback: true)
            return send("HELO ", options.helo)
        }
        state = .hello(isFallback: false)
        return send(options.isLMTP ? "LHLO " : "EHLO ", options.helo)
    }

    private mutating func helloAnswered(_ reply: Reply, _ moreFollows: Bool, _ isFallback: Bool) -> [Action] {
        hasHeardInside = security != nil
        if moreFollows { return breakOff(Self.surplus) }
        if isOutOfPlace(reply) || reply.severity == .intermediate { return breakOff(Self.wrongPlace(reply)) }
        switch reply.severity {
        case .success:
            if !isFallback { capabilities = Capabilities(reply) }
            return secure()
        case .permanent where !isFallback && !options.isLMTP:
            state = .hello(isFallback: true)
            return [send("HELO ", options.helo)]
        case .intermediate, .temporary, .permanent:
            return refuse(reply, at: .hello)
        }
    }

    /// The peer does not want to talk to us at all: the next host may.
    mutating func refuse(_ reply: Reply, at stage: Failure.Stage) -> [Action] {
        if reply.severity == .intermediate { return breakOff(Self.wrongPlace(reply)) }
        return close(Failure(.host, at: stage, reply, remote: remote))
    }

    // MARK: the end

    /// No transaction is running: wait for one, or leave.
    mutating func settleDown() -> [Action] {
        state = .ready
        return isEnding ? quit() : [.ready]
    }

    private mutating func quit() -> [Action] {
        isEnding = true
        switch state {
        case .ready:
            state = .quitting
            return [send("QUIT", "")]
        case .idle, .greeting, .hello, .startingTLS, .handshaking, .authenticating: return close(nil)
        case .commands, .body, .end, .resetting, .quitting, .closed: return []
        }
    }

    private mutating func abort() -> [Action] {
        isEnding = true
        isAborting = true
        switch state {
        case .ready: return quit()
        // The reply to the dot is worth waiting for; the next body is not sent, see `dataAnswered`.
        case .end, .quitting, .closed: return []
        case .idle, .greeting, .hello, .startingTLS, .handshaking, .authenticating, .commands, .body, .resetting:
            return finishUntried() + close(nil)
        }
    }

    private mutating func timedOut() -> [Action] {
        let words =
            switch awaited {
            case .greeting: "no greeting in time"
            case .hello: "no reply to EHLO in time"
            case .tls: state == .startingTLS ? "no reply to STARTTLS in time" : "the TLS handshake took too long"
            case .auth: "no reply to AUTH in time"
            case .mail: "no reply to MAIL in time"
            case .recipient: "no reply to RCPT in time"
            case .dataInit: "no reply to DATA in time"
            case .dataDone: "no reply to the end of the message in time"
            case .reset, .quit: "no reply in time"
            case nil: state == .body ? "the message was not taken in time" : "nothing happened for too long"
            }
        return breakOff(Reply(451, EnhancedStatus(4, 4, 2), words))
    }

    private mutating func peerClosed(_ reason: String?) -> [Action] {
        // A session that was good for a message and is gone before it says a word about the next: no fault of that one.
        if let progress = current, completed > 0, state == .commands, progress.step == 0 {
            return finishUntried() + close(nil)
        }
        if isEndBelieved { return leaveBehindDot() }
        hungUpAtEHLO =
            state == .hello(isFallback: false) && !options.isLMTP && security == nil
            && options.login == nil && (options.tls == .never || options.tls == .ifOffered)
        return breakOff(Reply(451, EnhancedStatus(4, 4, 2), reason ?? "the peer closed the connection"))
    }

    /// Ends the session for a reason that is not the message's: everything open is deferred.
    mutating func breakOff(_ reply: Reply, scope: Failure.Scope = .host) -> [Action] {
        let stage = self.stage
        var actions: [Action] = []
        if isEndBelieved {
            actions.append(.finished(takeEnd()))
        } else if let progress = current {
            brokeBehindDot = upcoming != nil && progress.end != nil
            actions.append(.finished(deferAll(progress, reply, stage, scope)))
            current = nil
        }
        if let progress = upcoming {
            // What was noted for it stood perhaps in the wrong place; it starts over.
            actions.append(.finished(deferAll(Progress(progress.transaction), reply, .mail, scope)))
            upcoming = nil
        }
        state = .closed
        actions.append(.close(Failure(scope, at: stage, reply, remote: remote)))
        return actions
    }

    private func deferAll(
        _ progress: Progress,
        _ reply: Reply,
        _ stage: Failure.Stage,
        _ scope: Failure.Scope
    ) -> [Outcome?] {
        var progress = progress
        let mayBeDuplicate = progress.dotSent && !progress.isAbandoned
        let failure = Failure(scope, at: stage, reply, remote: remote, mayBeDuplicate: mayBeDuplicate)
        progress.settleOpen(.settled(.deferred(failure)))
        return progress.outcomes()
    }

    private mutating func finishUntried() -> [Action] {
        var actions: [Action] = []
        if let progress = current { actions.append(.finished(progress.outcomes())) }
        if let progress = upcoming { actions.append(.finished(progress.outcomes())) }
        current = nil
        upcoming = nil
        return actions
    }

    mutating func close(_ failure: Failure?) -> [Action] {
        state = .closed
        return [.close(failure)]
    }

    /// Ours to prevent, and no reason to harm anybody: this session ends.
    mutating func impossible() -> [Action] {
        assertionFailure("impossible input in state \(state)")
        return breakOff(Reply(451, EnhancedStatus(4, 3, 0), "internal error"))
    }

    /// How far the session has come.
    var stage: Failure.Stage {
        switch state {
        case .idle: options.tls == .implicit ? .tls : .connect
        case .greeting: isProtectionUnproven ? .tls : .greeting
        case .hello: isProtectionUnproven ? .tls : .hello
        case .startingTLS, .handshaking: .tls
        case .authenticating: .auth
        case .ready, .resetting, .quitting, .closed: .mail
        case .commands:
            switch current.map({ phase(of: $0) }) {
            case .recipient: .recipient
            case .dataInit: .data
            default: .mail
            }
        case .body: .body
        case .end: .endOfData
        }
    }

    // MARK: small pieces

    static let surplus = Reply(451, EnhancedStatus(4, 5, 0), "the peer sent more replies than there were commands")

    static func wrongPlace(_ reply: Reply) -> Reply {
        Reply(451, EnhancedStatus(4, 5, 0), "the peer sent a reply in the wrong place: \(reply)")
    }

    /// 22z speaks about the connection (RFC 5321 §4.2.1): it greets or says goodbye, and accepts nothing.
    func isOutOfPlace(_ reply: Reply) -> Bool { reply.code / 10 == 22 }

    mutating func send(_ verb: StaticString, _ argument: String) -> Action {
        scratch.clear()
        scratch.compose(128) { line in
            line.put(verb)
            line.put(argument)
            line.put("\r\n")
        }
        return .send(scratch)
    }
}
