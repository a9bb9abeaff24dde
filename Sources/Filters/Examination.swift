// Examination.swift — one message at one milter: a connection is found or made, the message goes through it, the verdict comes
// back. A kept connection that turns out to be dead is replaced by a new one, once.

import Config
import Glibc
import Mail
import Milter
package import NIOCore
import NIOPosix

/// One message at one milter, bound to its event loop.
package final class Examination {
    let desk: MilterDesk
    private let loop: any EventLoop
    private let mail: MilterMail
    private let bounds: MilterMachine.Bounds
    /// Who wants to know; nil when it is over.
    private(set) var client: (any Examined)?
    private var session: MilterSession?
    private let began = Uptime.now()
    private var (isStarting, isAsked) = (false, false)
    /// When it has to be over.
    let ends: NIODeadline

    init(
        _ desk: MilterDesk,
        _ mail: MilterMail,
        _ bounds: MilterMachine.Bounds,
        on loop: any EventLoop,
        for client: any Examined
    ) {
        (self.desk, self.mail, self.bounds, self.loop, self.client) = (desk, mail, bounds, loop, client)
        ends = loop.now + .seconds(Int64(desk.settings.deadline))
    }

    /// Begins; the verdict comes later.
    package func start() {
        isStarting = true
        defer { isStarting = false }
        guard desk.mayAsk() else {
            let text = "it failed \(desk.settings.breakerFailures) times in a row and is left alone"
            return end(.failure(MilterFault(.skipped, text)))
        }
        isAsked = true
        if let kept = desk.kept(for: mail.client, on: loop) { use(kept, isKept: true) } else { connect() }
    }

    /// Nobody wants to know any more.
    package func cancel() {
        guard client != nil else { return }
        client = nil
        if isAsked { desk.abandoned() }
        session?.close()
        session = nil
    }

    /// Answers ``Examined/text(at:count:)``; nil: it cannot be read.
    package func read(_ octets: ByteBuffer?) {
        guard let octets else {
            session?.close()
            return end(.failure(MilterFault(.lost, "the message could not be read")))
        }
        session?.read(octets)
    }

    /// Answers ``Examined/replace(by:)``.
    package func goOn() { session?.goOn() }

    private func use(_ session: MilterSession, isKept: Bool) {
        self.session = session
        session.examine(mail, bounds, for: self, isKept: isKept)
    }

    private func connect() {
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(.seconds(Int64(desk.settings.connectTimeout)))
            .channelInitializer { [desk] channel in
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
                guard self.client != nil,
                    let session = try? channel.pipeline.syncOperations.handler(type: MilterSession.self)
                else { return channel.close(promise: nil) }
                self.use(session, isKept: false)
            case .failure(let error):
                self.end(
                    .failure(
                        MilterFault(.unreachable, "nobody answers at \(self.desk.settings.place): \(Self.words(error))")
                    )
                )
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

    /// Hands octets of another text on.
    func replace(by octets: ByteBuffer) -> Bool {
        client?.replace(by: octets) ?? true
    }

    /// The session has no more to say.
    ///
    /// - Parameter mayBeStale: the connection was a kept one, and its end is all that was heard on it.
    func end(_ result: Result<MilterVerdict, MilterFault>, mayBeStale: Bool = false) {
        guard let client else { return }
        // Whoever begins is not ready for the end yet.
        guard !isStarting else {
            return loop.assumeIsolated().execute { self.end(result, mayBeStale: mayBeStale) }
        }
        session = nil
        if mayBeStale { return connect() }
        self.client = nil
        switch result {
        case .success(let verdict): desk.succeeded(verdict, since: began)
        case .failure(let fault): desk.failed(fault)
        }
        client.examined(result)
    }
}
