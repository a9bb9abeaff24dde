// TLSHandlerTests.swift — the handler in a pipeline: order, back-pressure, time, STARTTLS.

import NIOCore
import NIOEmbedded
import OpenSSL
import Testing

struct TLSHandlerTests {
    /// The neighbour behind the handler: remembers what it hears, in order.
    private final class Neighbour: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        var heard: [String] = []
        var summary: TLSSummary?
        var error: TLSError?
        /// Said as soon as the handshake is over.
        var greeting: String?

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            heard.append(String(buffer: unwrapInboundIn(data)))
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            guard let event = event as? TLSEstablished else { return }
            summary = event.summary
            heard.append("established")
            guard let greeting else { return }
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: greeting)), promise: nil)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            self.error = error as? TLSError
            heard.append("error")
        }

        func channelInactive(context: ChannelHandlerContext) { heard.append("inactive") }
    }

    /// Counts what goes towards the socket.
    private final class Head: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer

        var written = 0

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            written += unwrapOutboundIn(data).readableBytes
            context.write(data, promise: promise)
        }
    }

    private let channel: EmbeddedChannel
    private let neighbour = Neighbour()
    private let client: TLSEngine
    private let engine: TLSEngine
    private var received = ByteBuffer()

    init() throws {
        let pair = try Certificates.signed("mx.example.net")
        engine = try TLSEngine(server: .server(pair))
        client = try TLSEngine(client: .client(), serverName: "mx.example.net", check: .none)
        channel = EmbeddedChannel(handler: neighbour)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    private func secure() throws {
        try engine.secure(channel.pipeline, timeout: .seconds(30))
    }

    /// Carries octets between the client and the channel until there are none; what the client reads is returned.
    private func talk(piece: Int = .max) throws -> String {
        var read = ByteBuffer()
        while true {
            var bytes = ByteBuffer()
            client.takeCiphertext(into: &bytes)
            while let part = bytes.readSlice(length: min(piece, bytes.readableBytes)), part.readableBytes > 0 {
                try channel.writeInbound(part)
            }
            guard var answer = try channel.readOutbound(as: ByteBuffer.self) else { break }
            try client.receive(&answer, into: &read)
        }
        return String(buffer: read)
    }

    @Test(arguments: [Int.max, 1])
    func announcesTheHandshakeBeforeTheFirstOctet(_ piece: Int) throws {
        try secure()
        neighbour.greeting = "220 ready\r\n"
        try client.start()
        #expect(try talk(piece: piece) == "220 ready\r\n")
        try client.send(ByteBuffer(string: "EHLO a\r\n"))
        _ = try talk(piece: piece)
        #expect(neighbour.heard == ["established", "EHLO a\r\n"])
        #expect(neighbour.summary?.serverName == "mx.example.net")
    }

    @Test func keepsWhatIsWrittenTooEarly() throws {
        try secure()
        channel.writeAndFlush(ByteBuffer(string: "220 early\r\n"), promise: nil)
        #expect(try channel.readOutbound(as: ByteBuffer.self) == nil)
        try client.start()
        #expect(try talk() == "220 early\r\n")
    }

    @Test func refusesOctetsBeforeTheHandshake() throws {
        let injected = ByteBuffer(string: "RSET\r\n")
        #expect(throws: TLSError.self) {
            try engine.secure(channel.pipeline, buffered: injected, timeout: .seconds(30))
        }
    }

    @Test func octetsInTheClearEndTheHandshake() throws {
        try secure()
        try channel.writeInbound(ByteBuffer(string: "EHLO injected\r\n"))
        #expect(neighbour.heard == ["error"])
        #expect(neighbour.error?.kind == .handshake)
        // Whatever follows is not looked at, not even a real handshake.
        try client.start()
        _ = try? talk()
        #expect(neighbour.summary == nil)
    }

    @Test func aHandshakeHasATimeLimit() throws {
        try secure()
        channel.embeddedEventLoop.advanceTime(by: .seconds(29))
        #expect(neighbour.heard.isEmpty)
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(neighbour.error?.kind == .silence)
        #expect(neighbour.heard == ["error"])
    }

    @Test func theTimeLimitEndsWithTheHandshake() throws {
        try secure()
        try client.start()
        _ = try talk()
        channel.embeddedEventLoop.advanceTime(by: .hours(1))
        #expect(neighbour.heard == ["established"])
    }

    @Test func aClosedConnectionEndsTheHandshake() throws {
        try secure()
        try client.start()
        channel.pipeline.fireChannelInactive()
        #expect(neighbour.heard == ["error", "inactive"])
        #expect(neighbour.error?.kind == .silence)
    }

    @Test func closingSaysCloseNotify() throws {
        try secure()
        try client.start()
        _ = try talk()
        channel.write(ByteBuffer(string: "221 bye\r\n"), promise: nil)
        channel.close(promise: nil)
        #expect(try talk() == "221 bye\r\n")
        #expect(client.progress == .closed)
    }

    @Test func closeNotifyIsTheEnd() throws {
        try secure()
        try client.start()
        _ = try talk()
        try client.send(ByteBuffer(string: "QUIT\r\n"))
        client.close()
        _ = try talk()
        #expect(neighbour.heard == ["established", "QUIT\r\n", "inactive"])
        #expect(!channel.isActive)
    }

    @Test func promisesAreKeptWhenCiphertextIsWritten() throws {
        try secure()
        try client.start()
        _ = try talk()
        let promises = (0..<3).map { _ in channel.eventLoop.makePromise(of: Void.self) }
        for promise in promises { channel.write(ByteBuffer(string: "x"), promise: promise) }
        channel.flush()
        #expect(try talk() == "xxx")
        for promise in promises { try promise.futureResult.wait() }
    }

    @Test func largeWritesDoNotWaitForAFlush() throws {
        try secure()
        try client.start()
        _ = try talk()
        let head = Head()
        try channel.pipeline.syncOperations.addHandler(head, position: .first)
        let text = String(repeating: "y", count: 100_000)
        channel.write(ByteBuffer(string: text), promise: nil)
        // Handed on, so that the channel's writability knows of it.
        #expect(head.written >= 100_000)
        channel.flush()
        #expect(try talk() == text)
    }
}
