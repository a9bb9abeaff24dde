// ScriptedPeer.swift — a next hop that does what it is told from one session to the next, TLS and AUTH included, and
// remembers how it was met.

import Mail
import NIOCore
import NIOPosix
import OpenSSL
import Synchronization

/// What peers do until further notice, and what they saw since.
final class Stage: Sendable {
    /// How a peer behaves.
    struct Script: Sendable {
        var isImplicit = false
        var offersTLS = false
        /// 454 to STARTTLS.
        var refusesTLS = false
        /// The certificate is for the names of the hosts; else for another one.
        var hasRightName = true
        var mechanisms: [String] = []
        /// 421 in place of a greeting.
        var turnsAway = false
    }

    private struct State {
        var scripts: [String: Script] = [:]
        var sessions: [(id: Int, text: String)] = []
        /// Never given twice, whatever begins anew.
        var nextID = 0
    }

    private let state = Mutex(State())

    /// Begins anew.
    ///
    /// - Parameter scripts: by `address:port`.
    func begin(_ scripts: [String: Script]) {
        state.withLock { state in
            state.scripts = scripts
            state.sessions = []
        }
    }

    /// Every session since, in order: `127.0.0.2:25 from 127.0.0.9: EHLO a STARTTLS TLS EHLO a AUTH PLAIN u`.
    var sessions: [String] { state.withLock { $0.sessions.map(\.text) } }

    func script(of place: String) -> Script { state.withLock { $0.scripts[place] ?? Script() } }

    /// - Returns: what the session is called from now on.
    func open(_ text: String) -> Int {
        state.withLock { state in
            state.nextID += 1
            state.sessions.append((state.nextID, text))
            return state.nextID
        }
    }

    /// A session that was open before ``begin(_:)`` is not heard any more.
    func add(_ id: Int, _ word: String) {
        state.withLock { state in
            if let index = state.sessions.firstIndex(where: { $0.id == id }) {
                state.sessions[index].text += " \(word)"
            }
        }
    }
}

/// A server on one address.
final class ScriptedPeer: Sendable {
    let port: UInt16
    let place: String
    private let channel: any Channel

    init(_ address: String, on stage: Stage, right: TLSContext, wrong: TLSContext) async throws {
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(stage, right, wrong))
                }
            }
            .bind(host: address, port: 0).get()
        port = UInt16(channel.localAddress?.port ?? 0)
        place = "\(address):\(port)"
    }

    func close() async { try? await channel.close().get() }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let stage: Stage
        private let right: TLSContext
        private let wrong: TLSContext
        private var script = Stage.Script()
        private var input = ByteBuffer()
        private var awaited: [String] = []
        private var id = 0

        init(_ stage: Stage, _ right: TLSContext, _ wrong: TLSContext) {
            (self.stage, self.right, self.wrong) = (stage, right, wrong)
        }

        func channelActive(context: ChannelHandlerContext) {
            let (local, remote) = (context.localAddress, context.remoteAddress)
            let place = "\(local?.ipAddress ?? "?"):\(local?.port ?? 0)"
            script = stage.script(of: place)
            id = stage.open("\(place) from \(remote?.ipAddress ?? "?"):")
            if script.isImplicit { secure(context) } else { greet(context) }
        }

        private func greet(_ context: ChannelHandlerContext) {
            say(script.turnsAway ? "421 not now" : "220 peer", context)
            if script.turnsAway { context.close(promise: nil) }
        }

        private func secure(_ context: ChannelHandlerContext) {
            do {
                try TLSEngine(server: script.hasRightName ? right : wrong).secure(
                    context.pipeline,
                    timeout: .seconds(20)
                )
            } catch {
                context.close(promise: nil)
            }
        }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            guard event is TLSEstablished else { return context.fireUserInboundEventTriggered(event) }
            stage.add(id, "TLS")
            if script.isImplicit { greet(context) }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = Self.unwrapInboundIn(data)
            input.writeBuffer(&bytes)
            while let end = input.readableBytesView.firstIndex(of: 10) {
                guard let line = input.readString(length: end - input.readerIndex + 1) else { return }
                take(line.split(separator: " ").map { $0.filter { $0 != "\r\n" } }, context)
            }
        }

        private func take(_ words: [String], _ context: ChannelHandlerContext) {
            let first = words.first ?? ""
            if !awaited.isEmpty { return answer(first, context) }
            switch first {
            case "EHLO", "LHLO":
                stage.add(id, words.joined(separator: " "))
                var lines = ["peer", "SIZE 1000000"]
                if script.offersTLS { lines.append("STARTTLS") }
                if !script.mechanisms.isEmpty { lines.append("AUTH " + script.mechanisms.joined(separator: " ")) }
                for line in lines.dropLast() { say("250-\(line)", context) }
                say("250 \(lines.last ?? "")", context)
            case "STARTTLS":
                stage.add(id, "STARTTLS")
                if script.refusesTLS { return say("454 4.7.0 not now", context) }
                say("220 go", context)
                script.offersTLS = false
                secure(context)
            case "AUTH": authenticate(words, context)
            case "QUIT":
                say("221 bye", context)
                context.close(promise: nil)
            default: say("250 ok", context)
            }
        }

        private func authenticate(_ words: [String], _ context: ChannelHandlerContext) {
            let mechanism = words.count > 1 ? words[1] : ""
            stage.add(id, "AUTH \(mechanism)")
            switch mechanism {
            case "PLAIN":
                stage.add(id, plain(words.count > 2 ? words[2] : "", at: 1))
                say("235 welcome", context)
            case "XOAUTH2":
                let text = String(decoding: Base64.decode((words.count > 2 ? words[2] : "").utf8) ?? [], as: UTF8.self)
                stage.add(id, String(text.dropFirst(5).prefix { $0 != "\u{1}" }))
                say("235 welcome", context)
            case "LOGIN":
                awaited = ["user", "secret"]
                say("334 VXNlcm5hbWU6", context)
            case "CRAM-MD5":
                awaited = ["digest"]
                say("334 PDFAcGVlcj4=", context)
            default: say("504 no", context)
            }
        }

        private func answer(_ line: String, _ context: ChannelHandlerContext) {
            let kind = awaited.removeFirst()
            let text = String(decoding: Base64.decode(line.utf8) ?? [], as: UTF8.self)
            if kind != "secret" { stage.add(id, text.split(separator: " ").first.map(String.init) ?? "") }
            say(awaited.isEmpty ? "235 welcome" : "334 UGFzc3dvcmQ6", context)
        }

        private func plain(_ text: String, at index: Int) -> String {
            let parts = (Base64.decode(text.utf8) ?? []).split(separator: 0, omittingEmptySubsequences: false)
            return index < parts.count ? String(decoding: parts[index], as: UTF8.self) : ""
        }

        private func say(_ reply: String, _ context: ChannelHandlerContext) {
            context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: reply + "\r\n")), promise: nil)
        }
    }
}
