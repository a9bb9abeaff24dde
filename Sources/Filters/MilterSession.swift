// MilterSession.swift — one connection to a milter on its event loop: feeds the machine, keeps time, sends and reads no more than
// the message can take.

import Config
import Glibc
import Loop
import Milter
import NIOCore
import NIOPosix

/// The last handler of a connection to a milter.
final class MilterSession: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Octets that may wait to be understood; twice the longest packet.
    private static let mostInput = 2 << 20
    /// Milliseconds for which a connection is kept without a message.
    private static let idle: Int64 = 60_000

    private let desk: MilterDesk
    private let loop: any EventLoop
    private var machine = MilterMachine()
    /// Whose messages it is good for.
    private(set) var client: MilterMail.Client?
    private var input = ByteBuffer()
    private var context: ChannelHandlerContext?
    private var examination: Examination?
    /// Who waits for the answer to a step, and until when.
    private var (question, questionEnds): (Question?, NIODeadline) = (nil, .distantFuture)
    /// Whose it is between two messages; nil: anybody's of the same client.
    weak var leg: MilterLeg?
    private var deadline: Deadline?
    /// It has said what it wants to be told.
    private var hasTerms = false
    /// A kept connection, and nothing was heard on it since.
    private var mayBeStale = false
    /// A piece of the text is wanted as soon as what was written before is on its way.
    private var piece: (offset: Int, count: Int)?
    /// Whoever keeps the other text has enough for now.
    private var isHalted = false

    init(_ desk: MilterDesk, on loop: any EventLoop) {
        (self.desk, self.loop) = (desk, loop)
    }

    /// The connection stands.
    var isOpen: Bool { context?.channel.isActive == true }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        deadline = Deadline(loop: context.eventLoop) { [weak self] in self?.timeIsUp() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        deadline?.cancel()
        self.context = nil
    }

    /// Makes a connection.
    static func connect(
        _ desk: MilterDesk,
        on loop: any EventLoop,
        _ done: @escaping (Result<MilterSession, MilterFault>) -> Void
    ) {
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(.seconds(Int64(desk.settings.connectTimeout)))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(MilterSession(desk, on: channel.eventLoop))
                }
            }
        let connected: EventLoopFuture<any Channel> =
            switch desk.settings.place {
            case .inet(let host, let port):
                bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1).connect(host: host, port: Int(port))
            case .unix(let path): bootstrap.connect(unixDomainSocketPath: path)
            }
        connected.assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel):
                guard let session = try? channel.pipeline.syncOperations.handler(type: MilterSession.self) else {
                    channel.close(promise: nil)
                    return done(.failure(MilterFault(.lost, "the connection broke")))
                }
                done(.success(session))
            case .failure(let error):
                let text = "nobody answers at \(desk.settings.place): \(words(error))"
                done(.failure(MilterFault(.unreachable, text)))
            }
        }
    }

    private static func words(_ error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            error.connectionErrors.first.map { words($0.error) } ?? "its name is not known"
        case let error as IOError: strerror(error.errnoCode).map { String(cString: $0) } ?? "error \(error.errnoCode)"
        case ChannelError.connectTimeout: "no answer in time"
        default: "\(error)"
        }
    }

    // MARK: A step

    /// It has been told who the client is, and goes on with it.
    var knowsClient: Bool { machine.knowsClient }

    /// Hears the answer to a step.
    typealias Question = (Result<MilterAnswer, MilterFault>) -> Void

    /// The step that it has answered, which may be one before the one that it was asked about.
    var answeredAt: MilterStep { machine.answeredAt }

    /// Tells it a step of a session.
    ///
    /// - Parameter begins: it was told nothing of this message before.
    func ask(_ step: MilterStep, _ mail: MilterMail, begins: Bool, _ question: @escaping Question) {
        self.question = question
        questionEnds = loop.now + .seconds(Int64(desk.settings.deadline))
        if step != .rcpt || begins { client = mail.client }
        machine.tell(step, mail, begins: begins)
        answer()
    }

    /// What it wants to be told is as it says now.
    private func learn() {
        guard !hasTerms, let step = machine.firstStep else { return }
        hasTerms = true
        desk.learned(step)
    }

    /// Goes on with a step.
    private func answer() {
        guard let question else { return }
        do throws(MilterFault) {
            guard case .told(let answer) = try machine.advance(&input) else {
                send()
                input.discardReadBytes()
                return touch(until: questionEnds)
            }
            send()
            self.question = nil
            deadline?.clear()
            question(.success(answer))
        } catch {
            fail(error)
        }
    }

    // MARK: A message

    /// Shows it a message.
    func examine(_ mail: MilterMail, _ bounds: MilterMachine.Bounds, for examination: Examination, isKept: Bool) {
        self.examination = examination
        mayBeStale = isKept
        client = mail.client
        machine.begin(mail, bounds)
        step()
    }

    /// Octets of the text that had to be waited for.
    func read(_ octets: ByteBuffer) {
        machine.bodyRead(octets)
        step()
    }

    /// More of the other text may come.
    func goOn() {
        guard isHalted else { return }
        isHalted = false
        try? context?.channel.syncOptions?.setOption(.autoRead, value: true)
        step()
    }

    /// Ends a connection that waits for a message.
    func leave() {
        machine.leave()
        send()
        close()
    }

    /// Ends the connection.
    func close() {
        (examination, question) = (nil, nil)
        deadline?.cancel()
        context?.close(promise: nil)
    }

    // MARK: The connection

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var octets = unwrapInboundIn(data)
        guard isAsked else {
            // Nothing was asked: whatever this is, it would be taken for the answer to the next question.
            desk.forget(self, on: loop)
            return close()
        }
        mayBeStale = false
        input.writeBuffer(&octets)
        guard input.readableBytes <= Self.mostInput else {
            return fail(MilterFault(.garbled, "it says more than it was asked for"))
        }
        if question != nil { answer() } else if !isHalted { step() }
    }

    /// Somebody waits for what it says.
    private var isAsked: Bool { examination != nil || question != nil }

    func channelInactive(context: ChannelHandlerContext) {
        if !isAsked {
            desk.forget(self, on: loop)
        } else {
            fail(MilterFault(.lost, "it closed the connection at \(machine.step?.word ?? "the end")"))
        }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if !isAsked { desk.forget(self, on: loop) }
        fail(MilterFault(.lost, "the connection broke at \(machine.step?.word ?? "the end")"))
        context.close(promise: nil)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable, piece != nil { step() }
    }

    private func timeIsUp() {
        guard isAsked else {
            desk.forget(self, on: loop)
            return leave()
        }
        let isOver = loop.now >= examination?.ends ?? questionEnds
        let word = machine.step?.word ?? "the end"
        fail(
            MilterFault(
                .late,
                isOver ? "no verdict within its deadline; it stands at \(word)" : "no answer in time to \(word)"
            )
        )
    }

    // MARK: Stepping

    private func step() {
        while let examination, let context {
            do throws(MilterFault) {
                guard try go(examination, context) else { return }
            } catch {
                return fail(error)
            }
        }
    }

    /// One step of the machine.
    ///
    /// - Returns: false when something is waited for.
    private func go(_ examination: Examination, _ context: ChannelHandlerContext) throws(MilterFault) -> Bool {
        if let (offset, count) = piece {
            guard context.channel.isWritable else { return false }
            piece = nil
            // Ours to wait for, and not the milter's.
            deadline?.clear()
            guard let octets = examination.client?.text(at: offset, count: count) else { return false }
            machine.bodyRead(octets)
            return true
        }
        switch try machine.advance(&input) {
        case .input:
            send()
            input.discardReadBytes()
            touch(until: examination.ends)
            return false
        case .body(let offset, let count):
            send()
            piece = (offset, count)
            touch(until: examination.ends)
        case .replacement(let octets):
            guard examination.replace(by: octets) else {
                isHalted = true
                deadline?.clear()
                try? context.channel.syncOptions?.setOption(.autoRead, value: false)
                return false
            }
        case .ended(let verdict):
            finish(examination, verdict)
            return false
        // Nobody asks about a step while a message is looked at.
        case .told: return false
        }
        return true
    }

    private func send() {
        learn()
        guard machine.output.readableBytes > 0, let context else { return }
        context.writeAndFlush(wrapOutboundOut(machine.output), promise: nil)
        machine.output = ByteBuffer()
    }

    /// Moves the time limit.
    private func touch(until end: NIODeadline) {
        let isLong = machine.step?.isAboutContent ?? false
        let seconds = isLong ? desk.settings.contentTimeout : desk.settings.commandTimeout
        let now = loop.now
        deadline?.set(at: min(end, now + .seconds(Int64(seconds))), now: now)
    }

    private func finish(_ examination: Examination, _ verdict: MilterVerdict) {
        self.examination = nil
        let isGood = machine.release() && input.readableBytes == 0
        if !isGood { machine.leave() }
        send()
        input = isGood ? ByteBuffer() : input
        if isGood, isOpen, let leg, leg.takeBack(self) {
            deadline?.clear()
        } else if isGood, isOpen, desk.settings.idleSessions > 0 {
            leg = nil
            deadline?.set(after: Self.idle)
            desk.keep(self, on: loop)?.leave()
        } else {
            close()
        }
        examination.end(.success(verdict))
    }

    private func fail(_ fault: MilterFault) {
        if let question {
            close()
            return question(.failure(fault))
        }
        guard let examination else { return }
        let mayBeStale = mayBeStale && fault.kind == .lost
        close()
        examination.end(.failure(fault), mayBeStale: mayBeStale)
    }
}
