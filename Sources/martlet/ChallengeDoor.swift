// ChallengeDoor.swift — answers an authority that asks at port 80, and nobody else (RFC 8555 §8.3).
//
// Guarantees: it listens only while a challenge is open; it says nothing but the answers to those; connections, their number and
// what is read of one are bounded.

import ACME
import Config
import Mail
import NIOCore
import NIOPosix
import Synchronization

/// The door of http-01.
final class ChallengeDoor: Sendable {
    private struct State {
        /// By token.
        var answers: [String: String] = [:]
        var doors: [any Channel] = []
        var guests = 0
    }

    private static let mostGuests = 64

    private let places: [ListenAddress]
    private let state = Mutex(State())

    init(_ places: [ListenAddress]) { self.places = places }

    /// Answers for a token from now on; blocks.
    ///
    /// - Throws: when none of the places can be listened at.
    func open(_ token: String, _ value: String) throws(ACMEError) {
        let isFirst = state.withLock { state in
            state.answers[token] = value
            return state.doors.isEmpty
        }
        guard isFirst else { return }
        var doors: [any Channel] = []
        var troubles: [String] = []
        for place in places {
            do { doors.append(try listen(at: place)) } catch { troubles.append("\(place): \(error)") }
        }
        guard !doors.isEmpty else {
            state.withLock { $0.answers[token] = nil }
            throw ACMEError("nobody can be answered at acme_listen: \(troubles.joined(separator: ", "))")
        }
        state.withLock { [doors] in $0.doors = doors }
    }

    /// Answers no more for a token; with the last one the door is closed.
    func close(_ token: String) {
        let doors: [any Channel] = state.withLock { state in
            state.answers[token] = nil
            guard state.answers.isEmpty else { return [] }
            defer { state.doors = [] }
            return state.doors
        }
        for door in doors { door.close(promise: nil) }
    }

    private func listen(at place: ListenAddress) throws -> any Channel {
        try ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { [weak self] channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Visitor(self))
                }
            }
            .bind(to: try SocketAddress(ipAddress: place.ip.description, port: Int(place.port))).wait()
    }

    fileprivate func enter() -> Bool {
        state.withLock { state in
            state.guests += 1
            return state.guests <= Self.mostGuests
        }
    }

    fileprivate func leave() { state.withLock { $0.guests -= 1 } }

    /// The answer to a request line.
    fileprivate func answer(_ line: Substring) -> String? {
        let words = line.split(octet: " ")
        guard words.count == 3, words[0].isSame(octets: "GET"),
            let token = words[1].rest(behind: "/.well-known/acme-challenge/")
        else { return nil }
        return state.withLock { $0.answers[String(token)] }
    }
}

/// One question.
private final class Visitor: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let most = 8192
    private static let patience = TimeAmount.seconds(10)

    private weak var door: ChallengeDoor?
    private var head: [UInt8] = []
    private var isAnswered = false

    init(_ door: ChallengeDoor?) { self.door = door }

    func channelActive(context: ChannelHandlerContext) {
        guard let door, door.enter() else { return context.close(promise: nil) }
        let channel = context.channel
        context.eventLoop.scheduleTask(in: Self.patience) { channel.close(promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) { door?.leave() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isAnswered else { return }
        head += Array(Self.unwrapInboundIn(data).readableBytesView)
        let text = String(decoding: head, as: UTF8.self)
        guard text.contains(octets: "\r\n\r\n") || head.count > Self.most else { return }
        isAnswered = true
        let line = text.split(octet: "\r").first ?? ""
        let answer = head.count > Self.most ? nil : door?.answer(line)
        let body = answer ?? "there is nothing here\n"
        let response = """
            HTTP/1.1 \(answer == nil ? "404 Not Found" : "200 OK")\r
            Content-Type: application/octet-stream\r
            Content-Length: \(body.utf8.count)\r
            Connection: close\r
            \r
            \(body)
            """
        let channel = context.channel
        context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: response))).whenComplete { _ in
            channel.close(promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
