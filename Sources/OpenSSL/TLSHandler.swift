// TLSHandler.swift — TLS on a channel: ciphertext towards the socket, plaintext towards the session.
//
// It goes to the front of a pipeline, at once (implicit TLS) or later (STARTTLS). Guarantees: nothing is passed on before
// the handshake is over, and nothing that came before the handler was there is taken for TLS or for what it protects: see
// ``TLSEngine/secure(_:buffered:timeout:)``. It holds back less than a record of what is written, so that the channel's
// writability is true; it reads when its neighbour asks, and on its own account only to complete what was asked for.

package import NIOCore

/// The handshake is over: fired through the pipeline as an inbound user event.
package struct TLSEstablished: Hashable, Sendable {
    package let summary: TLSSummary
}

extension TLSEngine {
    /// Puts TLS in front of a pipeline: of a new channel, or of one that has spoken in the clear (STARTTLS).
    ///
    /// From then on ciphertext goes through the socket and plaintext through the pipeline. A neighbour hears
    /// ``TLSEstablished`` once; if anything goes wrong it hears ``TLSError`` by `errorCaught` and closes. What it writes
    /// before the handshake is over waits. Only on the event loop of the pipeline, and once for an engine.
    ///
    /// - Parameters:
    ///   - buffered: what arrived in the clear and was not used yet. It must be nothing: whoever can write into the
    ///     stream could have put it there before the first octet was protected.
    ///   - timeout: how long the handshake may take.
    /// - Throws: ``TLSError`` when something was buffered, or the pipeline is gone; the connection is to be closed then.
    /// - Source: RFC 3207 §4.2, CVE-2011-0411
    package func secure(
        _ pipeline: ChannelPipeline,
        buffered: ByteBuffer = ByteBuffer(),
        timeout: TimeAmount
    ) throws(TLSError) {
        guard buffered.readableBytes == 0 else { throw TLSError(.session, "octets in the clear follow STARTTLS") }
        do {
            try pipeline.syncOperations.addHandler(TLSHandler(self, timeout: timeout), position: .first)
        } catch {
            throw TLSError(.session, "the connection is closed")
        }
    }
}

/// Drives a ``TLSEngine`` in a channel's pipeline.
///
/// Its neighbour hears ``TLSEstablished`` once, or ``TLSError`` by `errorCaught` and closes then. Octets written before
/// are kept until the handshake is over.
final class TLSHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Plaintext that is gathered before it is encrypted: the largest record.
    private static let record = 16 << 10
    /// A plaintext buffer beyond this is given back.
    private static let keptPlaintext = 64 << 10

    private let engine: TLSEngine
    private let timeout: TimeAmount
    private var timer: Scheduled<Void>?
    private var plaintext = ByteBuffer()
    private var pending = ByteBuffer()
    private var promises: [EventLoopPromise<Void>] = []
    private var hasStarted = false
    private var isOver = false
    private var wantsRead = false
    private var isFlushWanted = false

    /// - Parameters:
    ///   - engine: fresh, of either side.
    ///   - timeout: how long the handshake may take.
    init(_ engine: TLSEngine, timeout: TimeAmount) {
        self.engine = engine
        self.timeout = timeout
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { start(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { finish() }

    func channelActive(context: ChannelHandlerContext) {
        start(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        let isUnfinished = engine.summary == nil && !isOver
        finish()
        if isUnfinished {
            context.fireErrorCaught(TLSError(.silence, "the peer closed the connection in the TLS handshake"))
        }
        context.fireChannelInactive()
    }

    private func finish() {
        isOver = true
        timer?.cancel()
        timer = nil
        let left = promises
        promises = []
        for promise in left { promise.fail(ChannelError.ioOnClosedChannel) }
    }

    private func start(_ context: ChannelHandlerContext) {
        guard !hasStarted else { return }
        hasStarted = true
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: timeout) { [weak self] in
            guard let self, !self.isOver, self.engine.summary == nil else { return }
            self.fail(context, TLSError(.silence, "the peer did not complete the TLS handshake in time"))
        }
        do throws(TLSError) {
            try engine.start()
        } catch {
            fail(context, error)
            return
        }
        sendCiphertext(context, promise: nil)
        context.flush()
    }

    private func fail(_ context: ChannelHandlerContext, _ error: TLSError) {
        guard !isOver else { return }
        // The alert goes out first.
        sendCiphertext(context, promise: nil)
        context.flush()
        finish()
        context.fireErrorCaught(error)
    }

    // MARK: Inbound

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver else { return }
        var bytes = unwrapInboundIn(data)
        let wasOpen = engine.summary != nil
        var trouble: TLSError?
        do throws(TLSError) {
            try engine.receive(&bytes, into: &plaintext)
        } catch {
            trouble = error
        }
        if !wasOpen, let summary = engine.summary { established(context, summary) }
        if engine.hasCiphertext {
            sendCiphertext(context, promise: nil)
            context.flush()
        }
        if plaintext.readableBytes > 0, !isOver {
            wantsRead = false
            context.fireChannelRead(wrapInboundOut(plaintext))
            if plaintext.capacity > Self.keptPlaintext { plaintext = ByteBuffer() } else { plaintext.clear() }
        }
        if let trouble { fail(context, trouble) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        if engine.progress == .closed, !isOver {
            // The peer sends no more: as if it had closed its side of the connection.
            context.close(promise: nil)
        } else if wantsRead, !isOver {
            // Part of a record came, or part of the handshake: what was asked for is still owed.
            context.read()
        }
    }

    private func established(_ context: ChannelHandlerContext, _ summary: TLSSummary) {
        timer?.cancel()
        timer = nil
        // The last flight of the handshake goes before the first octets of the session, and with them: one write.
        sendCiphertext(context, promise: nil)
        context.fireUserInboundEventTriggered(TLSEstablished(summary: summary))
        // A ticket can wait for the session's first reply; whatever else is left, the peer waits for.
        if !engine.owesOnlyTicket { context.flush() }
        guard isFlushWanted else { return }
        isFlushWanted = false
        flush(context: context)
    }

    func read(context: ChannelHandlerContext) {
        wantsRead = true
        context.read()
    }

    // MARK: Outbound

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard !isOver else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        var bytes = unwrapOutboundIn(data)
        if let promise { promises.append(promise) }
        pending.writeBuffer(&bytes)
        if pending.readableBytes >= Self.record, engine.summary != nil { encrypt(context) }
    }

    func flush(context: ChannelHandlerContext) {
        guard engine.summary != nil else {
            isFlushWanted = true
            return
        }
        if !isOver { encrypt(context) }
        context.flush()
    }

    /// Encrypts what was gathered and writes it.
    private func encrypt(_ context: ChannelHandlerContext) {
        guard pending.readableBytes > 0 || !promises.isEmpty else { return }
        do throws(TLSError) {
            try engine.send(pending)
        } catch {
            pending.clear()
            fail(context, error)
            return
        }
        if pending.capacity > Self.keptPlaintext { pending = ByteBuffer() } else { pending.clear() }
        sendCiphertext(context, promise: promise(context))
    }

    /// One promise for everything that was gathered.
    private func promise(_ context: ChannelHandlerContext) -> EventLoopPromise<Void>? {
        let waiting = promises
        promises = []
        guard waiting.count > 1 else { return waiting.first }
        let all = context.eventLoop.makePromise(of: Void.self)
        for promise in waiting { all.futureResult.cascade(to: promise) }
        return all
    }

    private func sendCiphertext(_ context: ChannelHandlerContext, promise: EventLoopPromise<Void>?) {
        guard engine.hasCiphertext else {
            promise?.succeed(())
            return
        }
        // A fresh one each time: the channel keeps it until the socket has taken it.
        var ciphertext = ByteBuffer()
        engine.takeCiphertext(into: &ciphertext)
        context.write(wrapOutboundOut(ciphertext), promise: promise)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if !isOver, mode != .input, context.channel.isActive {
            if engine.summary != nil { encrypt(context) }
            engine.close()
            sendCiphertext(context, promise: nil)
            context.flush()
        }
        if mode == .all { finish() }
        context.close(mode: mode, promise: promise)
    }
}
