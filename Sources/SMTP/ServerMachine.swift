// ServerMachine.swift — our side of an SMTP session as a value: octets in, octets and needs out (RFC 5321, 2920, 1870,
// 6152, 6531, 3030, 3461, 2034).
//
// It has no socket, no clock and no storage. Whoever owns it feeds it input and does what it needs. Guarantees: nothing
// a client sends can trap; how input is cut into pieces changes nothing; a session that a client abuses ends.
//
//     loop: switch machine.advance(&input, &body) {
//           case .input: wait for more …
//           case .begin(let octets): machine.begun(there is room for so many)
//           …

package import Mail
package import NIOCore

/// One SMTP session.
package struct ServerMachine: ~Copyable, Sendable {
    /// What has to happen before the session can go on.
    package enum Need: Hashable, Sendable {
        /// More input; what there was is used, or an answer is outstanding.
        case input
        /// Is there room for a message of so many octets? Then ``roomChecked(_:)``.
        case room(Int)
        /// The envelope of the transaction takes so many bytes altogether from now on. Then ``envelopeGrown(_:)``.
        case envelope(Int)
        /// Whether somebody else objects: find out, then ``answered(_:)``.
        case ask(ReceptionQuestion)
        /// A message of at most so many octets begins. Then ``begun(_:)``.
        case begin(Int)
        /// Whether a client is who it says: find out, then ``authenticated(_:)``.
        case authenticate(SASLQuestion)
        /// STARTTLS: prepare the handshake, then ``tlsBegins(_:)`` and, when it is over, ``secured(mayRelay:offer:)``.
        ///
        /// A handshake that fails ends the connection.
        case startTLS
        /// XCLIENT: the session is another client's from now on; then ``readdressed(_:user:mayRelay:offer:isWelcome:)``.
        case readdress(ClientClaim)
        /// Octets were appended to the body: a moment to look at them, and to hold input back.
        case content
        /// The message is complete: make it durable, then ``committed(_:)``.
        case commit
        /// The message that was begun will not be completed: forget it.
        case abandon
        /// Send what is to be sent and close; a message that was begun is to be forgotten.
        case close
    }

    /// What became of a message that was to be made durable.
    package enum Commit: Hashable, Sendable {
        case queued(QueueID)
        /// A plugin has seen to it; nothing was queued.
        case taken
        case refused(Rejection)
        /// A plugin, a milter or a limit refuses it: a reply of 4xx or 5xx with printable text.
        case denied(Reply, because: Rejection = .plugin)
    }

    /// How the client introduced itself.
    package enum Hello: Hashable, Sendable {
        case none, helo, ehlo
    }

    /// What the rarer ones carry lies apart: the phase is looked at several times for each command.
    enum Phase {
        /// Before the greeting.
        case connected
        case command
        /// The response to a challenge is to come.
        indirect case authenticating(SASLExchange)
        /// ``Need/authenticate(_:)`` is open.
        indirect case verifying(SASLExchange)
        /// ``Need/startTLS`` is open, or the handshake.
        case securing
        /// ``Need/readdress(_:)`` is open.
        case readdressing
        /// ``Need/room(_:)`` is open: MAIL waits.
        case checkingRoom
        /// ``Need/envelope(_:)`` is open: RCPT waits.
        indirect case growing(Recipient)
        /// HELO was said, and somebody is to be asked about it. Next: asking.
        case introducing
        /// ``Need/ask(_:)`` is open: HELO, MAIL or RCPT waits.
        indirect case asking(Asked)
        /// It was answered: the command goes on.
        indirect case resuming(Asked)
        /// ``Need/begin(_:)`` is open: DATA waits, or the chunk.
        case beginning
        case data
        case chunk
        /// Announced octets that are thrown away; then the reply.
        indirect case swallowing(Int, CannedReply)
        /// ``Need/commit`` is open.
        case committing
        case closed
    }

    package private(set) var me: Domain
    package private(set) var limits: Limits
    /// The client may send through us; otherwise every recipient is refused.
    package internal(set) var mayRelay: Bool
    /// How the client may authenticate.
    package private(set) var offer: AuthOffer
    /// What binds the mail of who has authenticated, where whoever let it in has said that.
    var granted: SenderConstraint?
    /// STARTTLS is announced, and done.
    package var offersTLS = false
    /// A trusted client may tell who its own client is.
    package var (offersXCLIENT, offersXFORWARD) = (false, false)
    /// What it told of the next message's client.
    package internal(set) var forwarded: ClientClaim?
    /// The session is encrypted.
    package internal(set) var isSecure = false
    /// Who the client has proved to be.
    package internal(set) var user: String?
    package internal(set) var hello = Hello.none
    /// What the client called itself, as it came: printable ASCII without spaces.
    package internal(set) var heloName = ""

    /// Says of a recipient, and of the sender, why no mail is taken: 4xx or 5xx; nil when every recipient is welcome.
    package var judge: (@Sendable (EmailAddress, ReversePath) -> Reply?)?

    /// Says of a recipient whether anybody may write there, relaying or not; nil: there is no such address.
    package var isForAnybody: (@Sendable (EmailAddress) -> Bool)?

    /// Somebody else has a say in HELO, in senders, and in recipients.
    package var (asksHello, asksSender, asksRecipient) = (false, false, false)

    /// What is to be sent to the client; whoever owns the session sends and clears it.
    package var output = ByteBuffer()

    var phase = Phase.connected
    /// Changed by its own methods or replaced as a whole, and never assigned to in parts: Swift 6.3 leaks what
    /// `transaction?.recipients = []` overwrites in a type that cannot be copied (`OptionalPayloadTests` has the smallest program).
    var transaction: Transaction?
    var decoder = DotDecoder(limit: 0)
    var chunks = ChunkDecoder()
    private var framer: LineFramer
    private var parser: CommandParser
    var errors = 0
    var idleCommands = 0
    var isDraining = false
    /// What was refused since ``takeRejections()`` was last called.
    var rejections: [Rejection] = []
    /// The same as the operator is told it, until ``takeTurnaways()``.
    var turnaways = Turnaways()
    /// What the client asked for last.
    package internal(set) var asked = Turnaway.Verb.connect
    /// The address of a MAIL or RCPT that is refused.
    var subject: String?
    /// What the client logs in with, or did.
    package internal(set) var mechanism: SASLMechanism?
    /// What was put right in the transaction that is open.
    package internal(set) var mending = Mending()
    var authFailures = 0
    let nonce: @Sendable () -> String

    /// - Parameter nonce: gives a text that was never used before, for a challenge; tests give a known one.
    package init(
        me: Domain,
        limits: Limits,
        mayRelay: Bool,
        offer: AuthOffer = AuthOffer(),
        nonce: @escaping @Sendable () -> String = Self.freshNonce
    ) {
        self.me = me
        self.limits = limits
        self.mayRelay = mayRelay
        self.offer = offer
        self.nonce = nonce
        framer = LineFramer(limit: limits.commandBytes)
        framer.isLenient = limits.isLenient
        parser = CommandParser(me: me)
    }

    /// Takes new settings; only while no transaction is open, otherwise nothing changes.
    package mutating func update(me: Domain, limits: Limits, mayRelay: Bool, offer: AuthOffer = AuthOffer()) {
        guard transaction == nil, case .command = phase else { return }
        if limits.commandBytes != self.limits.commandBytes { return }
        self.me = me
        self.limits = limits
        self.mayRelay = mayRelay
        self.offer = offer
        framer.isLenient = limits.isLenient
        parser = CommandParser(me: me)
    }

    /// Takes what TLS has changed.
    mutating func take(mayRelay: Bool, offer: AuthOffer) {
        self.mayRelay = mayRelay
        self.offer = offer
    }

    /// Forgets what the client has told of itself, and where in its input we are.
    mutating func forgetClient() {
        (hello, heloName, user, mechanism, forwarded) = (.none, "", nil, nil, nil)
        framer = LineFramer(limit: limits.commandBytes)
        framer.isLenient = limits.isLenient
    }

    /// 144 random bits of the system, in letters that a challenge may hold.
    package static func freshNonce() -> String {
        var generator = SystemRandomNumberGenerator()
        return Base64.encode((0..<18).map { _ in UInt8.random(in: .min ... .max, using: &generator) })
    }

    // MARK: Beginning and end

    /// The connection stands: greets, or refuses a client that has spoken already.
    package mutating func greet(spokeEarly: Bool) {
        guard case .connected = phase else { return }
        if spokeEarly {
            throwOut(.earlyTalker)
            return
        }
        if isDraining {
            end(.shuttingDown)
            return
        }
        output.writeStaticString("220 ")
        output.writeString(me.name)
        output.writeStaticString(" ESMTP Martlet\r\n")
        phase = .command
    }

    /// A time limit has passed.
    package mutating func timedOut() {
        if case .closed = phase { return }
        end(.timeout)
    }

    /// The relay stops: ends the session now, or after the transaction that is open.
    package mutating func drain() {
        isDraining = true
        if transaction == nil { drainIfIdle() }
    }

    /// The relay stops, and the time for transactions is over.
    ///
    /// A message that waits for the disk may be queued all the same; the client will send it again.
    package mutating func shutDown() {
        if case .closed = phase { return }
        end(.shuttingDown)
    }

    package var isClosed: Bool { if case .closed = phase { true } else { false } }
    /// A MAIL was accepted and its transaction is not over.
    package var hasTransaction: Bool { transaction != nil }
    /// The session ended with QUIT: the client expects no more and sends no more.
    package private(set) var saidGoodbye = false
    /// A commit is outstanding.
    package var isCommitting: Bool { if case .committing = phase { true } else { false } }
    /// A client waits to hear whether it is who it says.
    package var isVerifying: Bool { if case .verifying = phase { true } else { false } }
    /// Content is being received.
    package var isReceiving: Bool {
        switch phase {
        case .data, .chunk, .swallowing: true
        default: false
        }
    }
    /// Who is to do something next, for time limits.
    package var awaits: Awaited {
        switch phase {
        case .committing: .commit
        case .verifying, .asking: .answer
        case .data, .chunk, .swallowing: .content
        default: .command
        }
    }
    /// What a session waits for.
    package enum Awaited: Hashable, Sendable {
        case command, content
        /// ``Need/commit`` is open.
        case commit
        /// Somebody finds out about a login, a sender or a recipient.
        case answer
    }
    /// A command has begun and not ended.
    package func isMidLine(_ input: ByteBuffer) -> Bool {
        switch phase {
        case .command, .authenticating: framer.isMidLine(input)
        default: false
        }
    }

    // MARK: Stepping

    /// Goes on as far as the input leads.
    ///
    /// - Parameters:
    ///   - input: what has arrived; consumed from the front.
    ///   - body: decoded content is appended, from ``Need/begin(_:)`` on.
    package mutating func advance(
        _ input: inout ByteBuffer,
        _ body: inout ByteBuffer
    ) -> Need {
        while true {
            let need: Need?
            switch phase {
            case .command: need = command(&input)
            case .authenticating(let exchange): need = response(exchange, &input)
            case .data: need = data(&input, &body)
            case .chunk: need = chunk(&input, &body)
            case .swallowing(let octets, let reply): need = swallow(octets, reply, &input)
            case .introducing:
                phase = .asking(.hello)
                need = .ask(.hello(heloName))
            case .resuming(let asked): need = resumed(asked)
            case .connected, .securing, .verifying, .readdressing, .checkingRoom, .growing, .asking, .beginning,
                .committing:
                need = .input
            case .closed: need = .close
            }
            if let need { return need }
        }
    }

    private mutating func command(_ input: inout ByteBuffer) -> Need? {
        switch nextLine(&input) {
        case .incomplete: return .input
        case .refused(let fault):
            asked = .garbled
            refuse(fault == .tooLong ? .lineTooLong : .bareLineEnding)
            return nil
        case .line(let length):
            let (parser, allowsUTF8) = (parser, transaction?.parameters.needsUTF8 ?? false)
            if transaction == nil { mending = Mending() }
            if lineEnd == 1 { mending.insert(.lineEnds) }
            let mender = limits.local.map { PathMender($0, mendsSyntax: limits.isLenient) }
            let refusesRelay = transaction != nil && !mayRelay && isForAnybody == nil
            let command = input.withUnsafeReadableBytes { bytes -> Command in
                let line = UnsafeRawBufferPointer(rebasing: bytes[..<length])
                // Whoever may not relay learns nothing about how we read an address.
                if refusesRelay, CommandParser.isRecipient(line) {
                    rejections.append(.relayDenied)
                    asks(line)
                    return .refused(Refusal(.relayDenied))
                }
                let command = parser.parse(line, allowsUTF8: allowsUTF8)
                guard case .refused = command else { return command }
                if let mended = mender?.parse(line, by: parser, allowsUTF8: allowsUTF8) {
                    mending.formUnion(mended.did)
                    return mended.command
                }
                asks(line)
                return command
            }
            input.moveReaderIndex(forwardBy: length + lineEnd)
            if case .startTLS = command {
                asked = .startTLS
                return startTLS(isFollowed: input.readableBytes > 0)
            }
            return obey(command)
        }
    }

    /// Looks for the next line at the front of the input.
    mutating func nextLine(_ input: inout ByteBuffer) -> LineFramer.Frame { framer.next(&input) }

    /// Octets of the end of the line that was found last.
    var lineEnd: Int { framer.lineEnd }

    private mutating func obey(_ command: Command) -> Need? {
        if let verb = command.verb { asked = verb }
        switch command {
        case .mail(let sender, let parameters): return mail(sender, parameters)
        case .rcpt(let recipient): return rcpt(recipient)
        case .data: return startData()
        case .bdat(let size, let isLast): return startChunk(size, isLast: isLast)
        case .ehlo(let name): return introduce(.ehlo, name)
        case .helo(let name): return introduce(.helo, name)
        case .rset: return reset()
        case .noop: idle(.ok)
        case .vrfy: idle(.cannotVerify)
        case .help: idle(.help)
        case .quit:
            saidGoodbye = true
            end(.bye)
        case .startTLS: return startTLS(isFollowed: true)
        case .auth(let text): return auth(text)
        case .claim(let text, let kind): return claim(text, kind)
        case .refused(let refusal): return obey(refusal)
        }
        return nil
    }

    private mutating func obey(_ refusal: Refusal) -> Need? {
        switch refusal.then {
        case .goOn: refuse(refusal.reply)
        case .close: throwOut(refusal.reply)
        case .swallow(let octets): return swallowChunk(octets, refusal.reply)
        }
        return nil
    }

    private mutating func introduce(_ kind: Hello, _ name: String) -> Need? {
        guard countIdle() else { return nil }
        let need = abandonTransaction()
        hello = kind
        heloName = name
        if asksHello { phase = .introducing } else { welcome() }
        return need
    }

    /// Answers HELO or EHLO.
    mutating func welcome() {
        guard hello == .ehlo else {
            output.writeStaticString("250 ")
            output.writeString(me.name)
            output.writeStaticString("\r\n")
            return
        }
        output.writeStaticString("250-")
        output.writeString(me.name)
        output.writeStaticString("\r\n250-PIPELINING\r\n250-SIZE ")
        output.writeString(String(limits.messageBytes))
        output.writeStaticString("\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-DSN\r\n")
        if !offer.mechanisms.isEmpty {
            output.writeStaticString("250-AUTH")
            for mechanism in offer.mechanisms {
                output.writeStaticString(" ")
                output.writeString(mechanism.rawValue)
            }
            output.writeStaticString("\r\n")
        }
        announceClaims()
        if isSecure {
            output.writeStaticString("250-REQUIRETLS\r\n")
        } else if offersTLS {
            output.writeStaticString("250-STARTTLS\r\n")
        }
        output.writeStaticString("250-ENHANCEDSTATUSCODES\r\n250 HELP\r\n")
    }

    private mutating func reset() -> Need? {
        guard countIdle() else { return nil }
        let need = abandonTransaction()
        CannedReply.ok.write(to: &output)
        drainIfIdle()
        return need
    }
}
