// ClientHandler.swift — a session on its event loop: executes what the client machine says, keeps its time limits.
//
// Guarantees: reads and memory are bounded; every wait has an end that the peer cannot move (a limit runs from the command
// to its complete reply, however the reply drips); every attempt that was taken is given back exactly once. Timeouts per
// phase: RFC 5321 §4.5.3.2. The body is sent in `ClientHandler+Body.swift`.

import Config
import Departure
import Loop
import Mail
import MessageFormat
import NIOCore
import NIOPosix
import OpenSSL
import Queue
import SMTP
import Storage

/// One connection to one host.
final class ClientHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// How far the session has come.
    enum Phase: Hashable {
        /// Until it is greeted and may carry mail. Next: working, over.
        case opening
        /// It carries messages, or is about to. Next: idle, parting, over.
        case working
        /// It stands and has nothing to do. Next: working, parting, over.
        case idle
        /// Its goodbye is answered: the slot stays taken until the peer has closed, too. Next: over.
        case parting
        /// It carries nothing any more, and its connection is closed.
        case over
    }

    /// What a session is made of; crosses from the task that opens it to the loop.
    struct Plan: Sendable {
        var lane: Lane
        var options: ClientMachine.Options
        var limits: OutboundSettings
        /// Hosts of the route after this one.
        var hostsLeft: Int
        /// Position of this host in the route.
        var host: Int
        var route: Route
        /// What earlier hosts could not take.
        var carried: [Attempt]
        /// What was learnt of the lane.
        var memory: PeerMemory
        var disk: NIOThreadPool
        /// What mail in memory is counted in; nil: by nobody.
        var budget: MemoryBudget?
        /// Keys for what is converted and has to be signed anew.
        var dkim: DKIMSettings
        /// What STARTTLS and implicit TLS need; nil for a session without.
        var tls: TLSStart?
        /// An MTA-STS policy in force names the host.
        var isNamedByPolicy = false
        /// In the clear for no other reason than that TLS with the host came to nothing.
        var lacksTLS = false
        /// When the session must stand.
        var due = NIODeadline.distantFuture
        /// The slot of the queue that it stands on; nil for a visit.
        var opening: Opening?
        /// Gives mail senders of our own; nil: it goes out with those it came with.
        var returnPaths: ReturnPaths?
        /// What mail is posted with; nil: the host speaks SMTP.
        var post: PostTerms?
    }

    let plan: Plan
    /// Answered when the session stands, or with the ``Failure`` that kept it from standing.
    private let stands: EventLoopPromise<Void>
    private let source: any ParcelSource
    var machine: ClientMachine
    private var parser: ReplyParser
    var context: ChannelHandlerContext?
    /// Bytes for the next write.
    var out = ByteBuffer()
    /// The message whose commands or body are being sent, and the one behind its dot.
    private(set) var current: Attempt?
    /// What the current message is sent as; nil: as it is.
    private(set) var conversion: Conversion?
    /// A disk thread finds out what the message that waits first can be sent as.
    private var isPreparing = false
    private var following: Attempt?
    /// For the next host.
    private(set) var leftovers: [Attempt] = []
    private var waiting: [Attempt]
    private var actions: [ClientMachine.Action] = []
    /// Actions are being executed: what comes of them follows behind.
    private var isRunning = false
    private(set) var phase = Phase.opening
    /// Those that it was given.
    private(set) var messages = 0
    /// When it stood.
    private(set) var stoodAt = Uptime.now()
    private var deadline: Deadline?
    /// When the session must stand, then when the transaction must be over, however busy the peer keeps us.
    private var stepDue: NIODeadline
    /// Something happened that the limit of the awaited reply starts over with.
    var hasProgressed = false
    var stream: BodyStream?
    /// Of this session's TLS, until it is over.
    var engine: TLSEngine?
    /// When the step that is measured began: handshake, envelope or data.
    var phaseBegan = NIODeadline.now()
    /// The body of the current message is on its way, or was.
    var hasBody = false
    /// What is known so far of the current transaction.
    var stages = Stages()
    private let bornAt = NIODeadline.now()

    init(_ plan: Plan, source: any ParcelSource, stands: EventLoopPromise<Void>) {
        self.plan = plan
        self.source = source
        self.stands = stands
        parser = ReplyParser(takesBareLF: plan.limits.takesBareLF)
        machine = ClientMachine(plan.options) { key, message in
            KeyedHash.hmac(.md5, key: key, message: message)
        }
        waiting = plan.carried.reversed()
        stepDue = plan.due
    }

    var lane: Lane { plan.lane }

    var isIdle: Bool { phase == .idle }

    // MARK: events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        deadline = Deadline(loop: context.eventLoop) { [unowned self] in ranOut() }
        if context.channel.isActive { connected() }
    }

    func channelActive(context: ChannelHandlerContext) { connected() }

    private func connected() {
        hasProgressed = true
        // The handshake comes first, and its time limit is that of the TLS handler.
        if plan.options.tls == .implicit { rearm() } else { step(.connected) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard phase != .over else { return }
        parser.append(Self.unwrapInboundIn(data))
        readReplies()
    }

    private func readReplies() {
        while phase != .over {
            switch parser.next(keeping: machine.textLimit) {
            case .incomplete:
                rearm()
                return
            case .malformed(let reason): step(.malformedReply(reason))
            case .reply(let reply):
                hasProgressed = true
                if machine.awaited == .quit, phase != .opening { phase = .parting }
                run(machine.handle(.replied(reply, moreFollows: parser.holdsMore)))
            }
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) { flush() }

    func channelInactive(context: ChannelHandlerContext) {
        step(.peerClosed(nil))
        end(nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? TLSError {
            plan.tls?.report.broke(error)
            step(.tlsFailed(error.reason))
        } else {
            step(.peerClosed("connection lost: \(reasonText(error))"))
        }
        context.close(promise: nil)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end(nil)
        deadline?.cancel()
        self.context = nil
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { resumeBody() }
    }

    private func ranOut() {
        if phase == .parting {
            end(nil)
        } else if isIdle {
            step(.quit)
        } else {
            step(.timedOut)
        }
    }

    // MARK: what the dispatcher asks

    /// Asks for work; for a session that idles.
    ///
    /// - Returns: whether there was some.
    func pull() -> Bool {
        guard isIdle, machine.isReady else { return false }
        take()
        drainActions()
        flush()
        rearm()
        return !isIdle
    }

    /// Ends the session when what is running is done.
    func quit() { step(.quit) }

    /// Ends the session before the next dot; a message whose dot was sent is finished first.
    func abort() { step(.abort) }

    /// Closes the connection at once; what is running counts as lost.
    func cut() { step(.peerClosed("given up at shutdown")) }

    // MARK: actions

    /// One input from outside of a read.
    func step(_ input: ClientMachine.Input) {
        if phase == .over { return }
        run(machine.handle(input))
        flush()
        rearm()
    }

    /// Executes actions in order; those that come of executing them follow behind.
    func run(_ new: [ClientMachine.Action]) {
        if new.isEmpty { return }
        if actions.isEmpty { actions = new } else { actions.append(contentsOf: new) }
        drainActions()
    }

    private func drainActions() {
        if isRunning { return }
        isRunning = true
        var index = 0
        while index < actions.count {
            let action = actions[index]
            index += 1
            if index == actions.count {
                // Before the action is executed, so that the bytes it carries have one owner again afterwards.
                actions = []
                index = 0
            }
            execute(action)
        }
        isRunning = false
    }

    private func execute(_ action: ClientMachine.Action) {
        switch action {
        case .send(let bytes):
            hasProgressed = true
            out.writeImmutableBuffer(bytes)
        case .startTLS: startTLS()
        case .warn(let warning): source.warns(warning, from: self)
        case .sendBody: sendBody()
        case .ready:
            stand()
            take()
        case .finished(let outcomes): finish(outcomes)
        case .close(let failure): if phase == .parting, failure == nil { part() } else { end(failure) }
        }
    }

    private func stand() {
        guard phase == .opening else { return }
        phase = .working
        stepDue = .distantFuture
        stoodAt = .now()
        stages.session = .milliseconds(from: bornAt, to: .now())
        source.stands(self)
        stands.succeed(())
    }

    /// Offers the next message to the machine, if there is one.
    private func take() {
        guard machine.takesOffer, !isPreparing else { return }
        let attempt: Attempt
        if let carried = waiting.popLast() {
            attempt = carried
        } else if messages >= plan.limits.messagesBeforeQuit {
            if machine.isReady { run(machine.handle(.quit)) }
            return
        } else {
            switch source.next(for: self) {
            case .carry(let assignment):
                let most = assignment.mostRecipients
                attempt = Attempt(
                    assignment,
                    returnPaths: plan.returnPaths,
                    terms: TransactionTerms(plan.memory, of: lane.description, at: .now()).atMost(most)
                )
            case .yield:
                if machine.isReady { run(machine.handle(.quit)) }
                return
            case .loading, .none:
                if machine.isReady { idle() }
                return
            }
        }
        phase = .working
        guard !wantsConversion(attempt) else { return prepare(attempt) }
        offer(attempt)
    }

    private func offer(_ attempt: Attempt, as conversion: Conversion? = nil, obstacle: String? = nil) {
        messages += 1
        if current == nil {
            current = attempt
            self.conversion = conversion
            beginTransaction(at: .now())
        } else {
            following = attempt
        }
        run(machine.handle(.offered(attempt.transaction(as: conversion, obstacle: obstacle))))
    }

    private func wantsConversion(_ attempt: Attempt) -> Bool {
        let takesEightBit = machine.capabilities.eightBitMIME
        return Conversion.isWanted(attempt.assignment.content, takesEightBit: takesEightBit, plan.limits.longLines)
            // RFC 6531 §3.2: such a header is not for a hop without SMTPUTF8 in any form.
            && (takesEightBit || !attempt.transaction().hasUTF8Header)
    }

    /// Finds out on a disk thread what a message can be sent as; meanwhile the session waits, and the message with it.
    private func prepare(_ attempt: Attempt) {
        waiting.append(attempt)
        // Behind a dot: it is offered when the session is ready for it.
        guard machine.isReady, let context else { return }
        isPreparing = true
        let (content, dkim) = (attempt.assignment.content, plan.dkim)
        let wish = SevenBitPlan.Wish(
            breaksLines: plan.limits.longLines == .encode,
            keepsEightBit: machine.capabilities.eightBitMIME
        )
        let verdict: EventLoopFuture<Result<Conversion.Verdict, QueueError>> = plan.disk.runIfActive(
            eventLoop: context.eventLoop
        ) {
            do throws(QueueError) {
                return .success(try Conversion.prepare(content, wish, dkim))
            } catch {
                return .failure(error)
            }
        }
        verdict.assumeIsolated().whenComplete { [self] result in
            isPreparing = false
            // Whoever ended the session meanwhile has given the attempt back.
            guard phase != .over, machine.takesOffer, let attempt = waiting.popLast() else { return }
            prepared(attempt, (try? result.get()) ?? .failure(.closing))
            flush()
            rearm()
        }
    }

    private func prepared(_ attempt: Attempt, _ verdict: Result<Conversion.Verdict, QueueError>) {
        switch verdict {
        case .success(.needless): offer(attempt)
        case .success(.possible(let conversion)): offer(attempt, as: conversion)
        case .success(.impossible(let reason)):
            let takesEightBit = machine.capabilities.eightBitMIME
            // What was not said to be more than seven bits is sent as it is, as everywhere.
            let goes = !takesEightBit && !attempt.assignment.envelope.isEightBit && plan.limits.longLines == .keep
            let lack = takesEightBit ? "the message has lines over 998 octets" : "the next hop does not offer 8BITMIME"
            offer(attempt, obstacle: goes ? nil : "\(lack), and it cannot be converted: \(reason)")
        case .failure(let error):
            let reply = Reply(451, EnhancedStatus(4, 3, 0), "the message cannot be read at the moment: \(error)")
            let failure = Failure(.message, at: .body, reply)
            let outcomes = attempt.transaction().recipients.map { _ in Outcome.deferred(failure) }
            source.finished(attempt, outcomes, by: self)
            if machine.isReady { take() }
        }
    }

    private func beginTransaction(at now: NIODeadline) {
        stepDue = now + .seconds(Int64(plan.limits.transactionDeadline))
        phaseBegan = now
        hasBody = false
    }

    private func idle() {
        guard phase == .working else { return }
        phase = .idle
        hasProgressed = true
        source.idles(self)
    }

    private func finish(_ outcomes: [Outcome?]) {
        guard var attempt = current.take() else { return }
        current = following.take()
        conversion = nil
        let now = NIODeadline.now()
        if hasBody {
            DeliveryMetrics.record(.data, since: phaseBegan, at: now)
            stages.data = .milliseconds(from: phaseBegan, to: now)
        } else {
            stages.envelope = .milliseconds(from: phaseBegan, to: now)
        }
        attempt.trail.stages = stages
        stages = Stages()
        if current == nil { stepDue = .distantFuture } else { beginTransaction(at: now) }
        stream = nil
        source.finished(attempt, outcomes, by: self)
    }

    /// Keeps an attempt for the next host; the session ends when what is running is done.
    func leave(_ attempt: Attempt) {
        leftovers.append(attempt)
        run(machine.handle(.quit))
    }

    /// Waits a moment for the peer to close: it counts its sessions, and the next one must not be one too many.
    private func part() {
        hasProgressed = true
        flush()
        context?.close(mode: .output, promise: nil)
        rearm()
    }

    private func end(_ failure: Failure?) {
        guard phase != .over else { return }
        let hasStood = phase != .opening
        phase = .over
        reportTLS()
        deadline?.cancel()
        flush()
        stream = nil
        // The machine has finished what it was offered; what it never was offered goes back untouched.
        if hasStood {
            leftovers += waiting
            source.ended(self)
        } else {
            let failure = failure ?? Failure(.host, at: .connect, Reply(451, EnhancedStatus(4, 4, 2), "session ended"))
            stands.fail(machine.hungUpAtEHLO ? HungUpAtEHLO(failure: failure) : failure)
        }
        waiting = []
        context?.close(promise: nil)
    }

    // MARK: writing and waiting

    /// Hands what has gathered to the socket.
    func flush() {
        guard out.readableBytes > 0, let context else { return }
        context.writeAndFlush(Self.wrapOutboundOut(out), promise: nil)
        out.clear()
    }

    /// Sets the time limit of what is awaited now.
    func rearm() {
        guard phase != .over, let deadline, hasProgressed else { return }
        hasProgressed = false
        let now = NIODeadline.now()
        guard let seconds = phase == .parting ? 1 : secondsToWait() else { return deadline.clear() }
        deadline.set(at: min(now + .seconds(Int64(seconds)), stepDue), now: now)
    }

    /// The body has moved on.
    func bodyProgressed() {
        hasProgressed = true
        rearm()
    }

    private func secondsToWait() -> Int? {
        let limits = plan.limits
        return switch machine.awaited {
        case .greeting: limits.greetingTimeout
        case .hello, .auth: limits.heloTimeout
        case .tls: limits.tlsTimeout
        case .mail: limits.mailTimeout
        case .recipient: limits.rcptTimeout
        case .dataInit: limits.dataInitTimeout
        case .dataDone: limits.dataDoneTimeout
        case .reset: limits.rcptTimeout
        case .quit: limits.quitTimeout
        case nil: stream != nil ? limits.dataBlockTimeout : isIdle ? limits.idleTimeout : nil
        }
    }
}
