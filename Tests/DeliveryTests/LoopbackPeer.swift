// LoopbackPeer.swift — a next hop on the loopback that answers as a test wants and remembers what it got.

import Mail
import NIOCore
import NIOPosix
import OpenSSL
import Synchronization

/// An SMTP or LMTP server of a few lines.
final class LoopbackPeer: Sendable {
    /// A message as it came, dots undone.
    struct Message: Sendable, Equatable {
        var from: String
        var to: [String]
        var body: String
        var connection: Int
        var isEncrypted = false
    }

    private struct State {
        var messages: [Message] = []
        var connections = 0
        var open: [ObjectIdentifier: any Channel] = [:]
        var lines: [String] = []
    }

    /// What to say to a line on a connection; nil: the usual.
    ///
    /// The line is `.` at the end of a message and empty for the connection itself. An answer that ends in `!` closes
    /// the connection behind it, an empty one says nothing.
    typealias Answer = @Sendable (_ line: String, _ connection: Int) -> String?

    static let extensions =
        "250-peer\r\n250-PIPELINING\r\n250-SIZE 50000000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SMTPUTF8"

    let port: UInt16
    private let channel: any Channel
    private let state: StateBox

    private final class StateBox: Sendable {
        let value = Mutex(State())
    }

    /// - Parameter tls: STARTTLS is offered, and what the peer shows.
    init(
        _ address: String = "127.0.0.1",
        port: UInt16 = 0,
        tls: TLSContext? = nil,
        answer: @escaping Answer = { _, _ in nil }
    ) async throws {
        let state = StateBox()
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(state, tls, answer))
                }
            }
            .bind(host: address, port: Int(port)).get()
        self.port = UInt16(channel.localAddress?.port ?? 0)
        self.state = state
    }

    var messages: [Message] { state.value.withLock { $0.messages } }
    var connections: Int { state.value.withLock { $0.connections } }
    var lines: [String] { state.value.withLock { $0.lines } }

    var mx: MX { MX("127.0.0.1", port: port) }

    func close() async { try? await channel.close().get() }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let state: StateBox
        private let answer: Answer
        private let tls: TLSContext?
        private var isEncrypted = false
        private var input = ByteBuffer()
        private var number = 0
        private var message: Message?
        private var isData = false
        private var recipients = 0

        init(_ state: StateBox, _ tls: TLSContext?, _ answer: @escaping Answer) {
            self.state = state
            self.tls = tls
            self.answer = answer
        }

        func channelActive(context: ChannelHandlerContext) {
            number = state.value.withLock { state in
                state.connections += 1
                return state.connections
            }
            say(answer("", number) ?? "220 peer", context)
            context.flush()
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if event is TLSEstablished { isEncrypted = true }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = Self.unwrapInboundIn(data)
            input.writeBuffer(&bytes)
            while let end = input.readableBytesView.firstIndex(of: 10) {
                guard let line = input.readString(length: end - input.readerIndex + 1) else { return }
                take(String(line.dropLast()), context)
            }
            context.flush()
        }

        private func take(_ line: String, _ context: ChannelHandlerContext) {
            if isData, line != "." {
                message?.body += (line.hasPrefix(".") ? String(line.dropFirst()) : line) + "\r\n"
                return
            }
            state.value.withLock { $0.lines.append(isEncrypted ? "\(line) (TLS)" : line) }
            let reply = answer(line, number) ?? usual(line)
            let isGood = reply.hasPrefix("2")
            switch line.prefix(4).uppercased() {
            case "MAIL":
                message = Message(from: path(line), to: [], body: "", connection: number, isEncrypted: isEncrypted)
            case "RCPT": if isGood { message?.to.append(path(line)) }
            case "DATA": isData = reply.hasPrefix("3")
            case ".":
                isData = false
                if isGood, let message { state.value.withLock { $0.messages.append(message) } }
            default: break
            }
            say(reply, context)
            guard line.uppercased() == "STARTTLS", reply.hasPrefix("220"), let tls else { return }
            try? TLSEngine(server: tls).secure(context.pipeline, timeout: .seconds(20))
        }

        private func usual(_ line: String) -> String {
            switch line.prefix(4).uppercased() {
            case "EHLO" where tls != nil && !isEncrypted: "250-peer\r\n250-STARTTLS\r\n" + LoopbackPeer.extensions
            case "EHLO": LoopbackPeer.extensions
            case "STAR": "220 go"
            case "LHLO": "250-peer\r\n250 PIPELINING"
            case "MAIL": "250 2.1.0 ok"
            case "RCPT": "250 2.1.5 ok"
            case "DATA": "354 go"
            case ".": "250 2.0.0 taken"
            case "QUIT": "221 bye!"
            default: "250 ok"
            }
        }

        private func path(_ line: String) -> String {
            String(line.drop { $0 != "<" }.dropFirst().prefix { $0 != ">" })
        }

        private func say(_ reply: String, _ context: ChannelHandlerContext) {
            let text = reply.hasSuffix("!") ? String(reply.dropLast()) : reply
            if !text.isEmpty { context.write(Self.wrapOutboundOut(ByteBuffer(string: text + "\r\n")), promise: nil) }
            if reply.hasSuffix("!") {
                context.flush()
                context.close(promise: nil)
            }
        }
    }
}
