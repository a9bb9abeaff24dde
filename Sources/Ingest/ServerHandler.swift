// ServerHandler.swift — one SMTP session on its event loop: feeds the machine, does what it needs, writes what it says.
//
// Guarantees: one write for everything that one read brought; the socket is read only while the session can use input,
// so that memory never follows what a client sends; every wait has a time limit. The message itself is the business of
// its ``Reception``.

import Config
import Intake
import Log
import Loop
import Mail
import MessageFormat
import NIOCore
import OpenSSL
import Queue
import SMTP

/// The last handler of a client's channel.
final class ServerHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = Never
    typealias OutboundIn = Never
    typealias OutboundOut = ByteBuffer

    /// Milliseconds between our last word and the end of the connection, in which the client may read it.
    private static let lingering: Int64 = 2000
    /// Milliseconds between two looks at the settings.
    private static let settingsAge: Int64 = 1000
    /// An output buffer that grew beyond this in a burst is given back.
    private static let keptOutput = 16 << 10

    /// How far the session has come.
    enum Phase: Hashable {
        /// Greeting, commands, messages. Next: closing.
        case talking
        /// Our last word is said: what the client still sends is not used. Next: left.
        case closing
        /// It was sent, and the client has a moment to read it.
        case left
    }

    /// What the session waits for, which says how long it may.
    private enum Wait {
        case command, content, commit
        /// A plugin, an attempt to log in, the disk, the moment before the greeting: each has an end of its own. We are
        /// awaited and not the client, whose time stands still.
        case ourselves
    }

    let door: Door
    var client: IPAddress?
    var clientLiteral: String
    /// Its port; 0 when that could not be told.
    var clientPort: UInt16
    /// The name of its host, where a trusted proxy told it.
    var clientName: String?
    /// What XCLIENT told so far, and that it did.
    var (claimed, isReaddressed) = (ClientClaim(), false)
    /// The connection among those of its client.
    var slot: ConnectionSlot?
    /// The client spoke behind a balancer's PROXY header, before it was greeted.
    var spokeEarly = false
    /// Our end of its connection.
    let here: ListenAddress?
    /// What the log calls the session.
    let number: Int
    var settings: ListenerSettings
    var machine: ServerMachine
    /// Who said that the client may come in.
    var loginProof = LoginProof.own
    /// The message that is being received.
    let reception: Reception
    var phase = Phase.talking
    var context: ChannelHandlerContext?
    /// What the handshake came to; nil in the clear.
    var security: TLSSummary?
    /// Version and cipher, in words.
    var protection: String?
    /// The connection begins with a handshake, before the greeting.
    let isImplicitTLS: Bool
    /// For the metrics.
    var entrance: Entrance { isImplicitTLS ? .smtps : .smtp }

    private var deadline: Deadline?
    private var input = ByteBuffer()
    private var holdsRead = false
    private var isWritable = true
    private var greets: Scheduled<Void>?
    /// Plugins are asked about the client; it is not greeted yet.
    var isAskedAbout = false
    private var lineBegan: NIODeadline?
    private var dataBegan: NIODeadline?
    private var began = NIODeadline.uptimeNanoseconds(0)
    /// Since when the client waits for us.
    private var owesSince: NIODeadline?
    private var settingsRead = NIODeadline.uptimeNanoseconds(0)
    /// Of the settings that were read last, and whether there was anybody who gets nothing.
    private var (generation, holdsBack): (UInt64, Bool) = (0, false)

    init(
        door: Door,
        client: IPAddress?,
        port: UInt16 = 0,
        at here: ListenAddress? = nil,
        settings: Settings,
        _ kind: Listener.Kind,
        on loop: any EventLoop
    ) {
        self.door = door
        (self.client, clientPort) = (client, port)
        self.here = here
        clientLiteral = client?.addressLiteral ?? "[unknown]"
        number = door.book.nextSession()
        self.settings = settings.listener.applied(at: here)
        isImplicitTLS = kind == .implicitTLS
        reception = Reception(door.intake, IntakeRules(settings), on: loop)
        machine = ServerMachine(
            me: settings.name(at: here),
            limits: Self.limits(settings, client, at: here),
            mayRelay: RelayPolicy.mayRelay(client, networks: settings.networks(at: here)),
            offer: Authenticator.offer(settings, to: client, isSecure: false)
        )
        machine.offersTLS = !isImplicitTLS && door.tls() != nil
        machine.offersXCLIENT = settings.listener.mayTell(client, \.xclientNetworks)
        machine.offersXFORWARD = settings.listener.mayTell(client, \.xforwardNetworks)
        reception.mender = Self.mender(machine.limits)
        learnHooks()
        machine.judge = door.intake.judge(settings, for: way)
        machine.isForAnybody = door.intake.openAddresses(settings)
    }

    static func limits(_ settings: Settings, _ client: IPAddress?, at here: ListenAddress?) -> Limits {
        let listener = settings.listener.applied(at: here)
        let isLenient = listener.lenient.includes(client, at: here, among: listener.everywhere)
        // Programs of this machine are known by where they come from; what they leave out, nobody else may.
        let isLocal = client?.isLoopback == true && settings.local.isOn
        return Limits(
            // Access tokens are long (RFC 4954 §4.5.3.1 has room for them).
            commandBytes: settings.asksForTokens ? max(listener.commandBytes, 12_288) : listener.commandBytes,
            messageBytes: listener.messageBytes,
            recipients: listener.recipients,
            errors: listener.errors,
            idleCommands: listener.idleCommands,
            senderDomains: listener.allowedSenderDomains,
            isLenient: isLenient,
            local: isLenient || isLocal ? settings.local : nil
        )
    }

    /// Puts headers right for whom envelopes are.
    static func mender(_ limits: Limits) -> HeaderMender? {
        limits.local.map { HeaderMender($0, isLenient: limits.isLenient) }
    }

    // MARK: Life of the channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        deadline = Deadline(loop: context.eventLoop) { [weak self] in self?.timeIsUp() }
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        if phase == .talking { tell(.lost) }
        tell(.disconnected)
        phase = .left
        greets?.cancel()
        deadline?.cancel()
        reception.discard()
        reception.releaseEnvelope()
        reception.escort?.close()
        self.context = nil
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? TLSError { reportTLS(error) }
        context.close(promise: nil)
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard began == .uptimeNanoseconds(0) else { return }
        let now = context.eventLoop.now
        began = now
        settingsRead = now
        tell(.connected)
        if isImplicitTLS { beginTLSFirst(context) } else { welcome(context) }
        if phase == .talking { touch(now) }
    }

    /// Greets, now or after the delay that catches early talkers.
    func welcome(_ context: ChannelHandlerContext) {
        if !askAboutClient(context) { greetNow(context) }
    }

    /// Nobody objects to the client.
    func greetNow(_ context: ChannelHandlerContext) {
        guard settings.bannerDelay > 0, input.readableBytes == 0 else {
            let spokeEarly = self.spokeEarly || input.readableBytes > 0 || Self.hasUnreadInput(context.channel)
            greet(spokeEarly: !isImplicitTLS && spokeEarly)
            return
        }
        greets = context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(Int64(settings.bannerDelay))) {
            self.greet(spokeEarly: false)
        }
    }

    private func greet(spokeEarly: Bool) {
        greets = nil
        machine.greet(spokeEarly: spokeEarly)
        resume()
    }

    /// Whether the kernel holds octets of the client already, without reading them: SO_MEMINFO begins with the memory of
    /// the receive queue.
    private static func hasUnreadInput(_ channel: any Channel) -> Bool {
        let soMemInfo = NIOBSDSocket.Option(rawValue: 55)
        let option = ChannelOptions.Types.SocketOption(level: .socket, name: soMemInfo)
        guard let queued = try? channel.syncOptions?.getOption(option) else { return false }
        // An option's value is 64 bits wide here, so that the kernel wrote a second field behind the first.
        return queued & 0xFFFF_FFFF > 0
    }

    // MARK: Input

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard phase == .talking else { return }
        var bytes = unwrapInboundIn(data)
        if greets != nil {
            greets?.cancel()
            greet(spokeEarly: true)
            return
        }
        guard input.readableBytes == 0 else {
            input.writeBuffer(&bytes)
            step()
            return
        }
        process(&bytes)
        guard bytes.readableBytes > 0 else { return }
        // Copied, so that the channel can use its buffer again.
        input.clear()
        input.writeBuffer(&bytes)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        settle()
    }

    /// Goes on after something that was waited for.
    func resume() {
        step()
        settle()
    }

    private func step() {
        guard input.readableBytes > 0 || machine.isClosed || machine.isResuming else { return }
        var work = ByteBuffer()
        swap(&work, &input)
        process(&work)
        if work.readableBytes == 0 { work.clear() } else { work.discardReadBytes() }
        swap(&work, &input)
    }

    private func process(_ work: inout ByteBuffer) {
        while !reception.isAtDisk, phase == .talking {
            switch machine.advance(&work, &reception.body) {
            case .input: return
            case .room(let octets): machine.roomChecked(door.intake.queue.hasRoom(for: octets))
            case .envelope(let bytes): machine.envelopeGrown(reception.reserveEnvelope(bytes))
            case .authenticate(let question): authenticate(question)
            case .ask(let question): ask(question)
            case .startTLS: beginTLS(behind: work)
            case .readdress(let claim): readdress(claim)
            case .begin(let octets): beginMessage(octets)
            case .content: lookAtContent()
            case .commit: commit()
            case .abandon: reception.discard()
            case .close: close()
            }
        }
    }

    /// Nothing more is worked on: what is said is sent, and the connection ends.
    private func close() {
        reception.discard()
        reception.releaseEnvelope()
        phase = .closing
    }

    // MARK: Output, reading, time

    /// Sends what there is to send and arranges for what comes next.
    private func settle() {
        guard let context else { return }
        if !machine.hasTransaction { reception.releaseEnvelope() }
        for rejection in machine.takeRejections() { IntakeMetrics.count(rejection, at: entrance) }
        if machine.hasTurnaways { tellTurnaways(context.eventLoop) }
        send(context)
        let now = context.eventLoop.now
        guard phase == .talking else { return leave(context, now) }
        touch(now)
        if holdsRead, mayRead {
            holdsRead = false
            context.read()
        }
    }

    /// Writes what there is to say.
    func send(_ context: ChannelHandlerContext) {
        guard machine.output.readableBytes > 0 else { return }
        context.writeAndFlush(wrapOutboundOut(machine.output), promise: nil)
        if machine.output.capacity > Self.keptOutput { machine.output = ByteBuffer() } else { machine.output.clear() }
    }

    /// Ends the connection so that the client gets our last word: closing a socket with unread input would destroy it.
    private func leave(_ context: ChannelHandlerContext, _ now: NIODeadline) {
        guard phase == .closing else { return }
        phase = .left
        if machine.saidGoodbye || !isWritable {
            context.close(promise: nil)
            return
        }
        context.close(mode: .output, promise: nil)
        deadline?.set(at: now + .milliseconds(Self.lingering), now: now)
        if holdsRead {
            holdsRead = false
            context.read()
        }
    }

    /// False while input could not be used: one read's worth may wait for a commit, nothing for the disk.
    private var mayRead: Bool {
        guard phase == .talking else { return true }
        guard isWritable, !reception.isAtDisk else { return false }
        return input.readableBytes == 0
            || !(machine.isCommitting || machine.isVerifying || machine.isAsking || isAskedAbout)
    }

    func read(context: ChannelHandlerContext) {
        if mayRead { context.read() } else { holdsRead = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        isWritable = context.channel.isWritable
        if isWritable, holdsRead, mayRead {
            holdsRead = false
            context.read()
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? TLSEstablished { return established(event.summary, context) }
        guard let event = event as? Shutdown else {
            context.fireUserInboundEventTriggered(event)
            return
        }
        guard phase == .talking else { return }
        switch event {
        case .drain: machine.drain()
        case .stop: machine.shutDown()
        }
        if machine.isClosed { close() }
        settle()
    }

    private var wait: Wait {
        let phase = reception.phase
        if phase == .asking || phase == .screening || greets != nil { return .ourselves }
        let awaited = machine.awaits
        if awaited == .commit { return .commit }
        if phase == .spilling || phase == .signing || awaited == .answer || isAskedAbout { return .ourselves }
        return awaited == .content ? .content : .command
    }

    /// Moves the time limit to where the session stands now.
    private func touch(_ now: NIODeadline) {
        let wait = wait
        switch wait {
        case .ourselves, .commit: owesSince = owesSince ?? now
        case .command, .content: giveBackTime(now)
        }
        var due = began + .seconds(Int64(settings.sessionDeadline))
        switch wait {
        case .ourselves: return deadline?.clear() ?? ()
        case .commit: due = now + .seconds(Int64(settings.commitTimeout))
        case .content:
            let began = dataBegan ?? now
            dataBegan = began
            due = min(due, now + .seconds(Int64(settings.dataTimeout)), began + .seconds(Int64(settings.dataDeadline)))
        case .command:
            dataBegan = nil
            due = min(due, now + .seconds(Int64(settings.commandTimeout)))
            if machine.isMidLine(input) {
                let began = lineBegan ?? now
                lineBegan = began
                due = min(due, began + .seconds(Int64(settings.commandDeadline)))
            } else {
                lineBegan = nil
            }
            refreshSettings(now)
        }
        deadline?.set(at: due, now: now)
    }

    /// The client's limits are later by what it waited for us.
    private func giveBackTime(_ now: NIODeadline) {
        guard let since = owesSince else { return }
        owesSince = nil
        began = began + (now - since)
        dataBegan = dataBegan.map { $0 + (now - since) }
        lineBegan = lineBegan.map { $0 + (now - since) }
    }

    private func refreshSettings(_ now: NIODeadline) {
        guard now - settingsRead >= .milliseconds(Self.settingsAge), !machine.hasTransaction else { return }
        settingsRead = now
        let generation = door.settings.generation
        defer { self.generation = generation }
        let holdsBack = door.intake.knowsSuppressions
        defer { self.holdsBack = holdsBack }
        guard generation != self.generation || holdsBack != self.holdsBack || machine.user != nil else {
            return refreshRest()
        }
        let fresh = door.settings.current
        settings = fresh.listener.applied(at: here)
        reception.rules = IntakeRules(fresh)
        machine.update(
            me: fresh.name(at: here),
            limits: Self.limits(fresh, client, at: here),
            mayRelay: mayRelay(
                fresh,
                isAuthenticated: machine.user.map { door.authenticator.knows($0, by: loginProof, fresh) } ?? false
            ),
            offer: Authenticator.offer(fresh, to: client, isSecure: machine.isSecure)
        )
        reception.mender = Self.mender(machine.limits)
        machine.judge = door.intake.judge(fresh, for: way)
        machine.isForAnybody = door.intake.openAddresses(fresh)
        refreshRest()
    }

    /// What changes without the settings: certificates, plugins.
    private func refreshRest() {
        machine.offersTLS = !machine.isSecure && door.tls() != nil
        learnHooks()
    }

    private func timeIsUp() {
        guard let context else { return }
        guard phase == .talking else { return context.close(promise: nil) }
        if machine.isCommitting {
            reception.abandon()
            machine.committed(.refused(.tooSlow))
            resume()
        } else {
            tell(.timedOut)
            machine.timedOut()
            close()
            settle()
        }
    }
}
