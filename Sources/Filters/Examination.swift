// Examination.swift — one message at one milter: a connection is found or made, the message goes through it, the verdict comes
// back. A kept connection that turns out to be dead is replaced by a new one, once.

import Config
import Mail
import Milter
package import NIOCore

/// One message at one milter, bound to its event loop.
package final class Examination {
    let desk: MilterDesk
    private let loop: any EventLoop
    private let mail: MilterMail
    private let bounds: MilterMachine.Bounds
    /// That of the session that the message came in by; nil: there is none.
    private let leg: MilterLeg?
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
        by leg: MilterLeg?,
        on loop: any EventLoop,
        for client: any Examined
    ) {
        (self.desk, self.mail, self.bounds, self.loop, self.client) = (desk, mail, bounds, loop, client)
        self.leg = leg
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
        if let kept = leg?.lend(for: mail.client) ?? desk.kept(for: mail.client, on: loop) {
            use(kept, isKept: true)
        } else {
            connect()
        }
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
        session.leg = leg
        session.examine(mail, bounds, for: self, isKept: isKept)
    }

    private func connect() {
        MilterSession.connect(desk, on: loop) { result in
            switch result {
            case .success(let session):
                guard self.client != nil else { return session.close() }
                self.use(session, isKept: false)
            case .failure(let fault): self.end(.failure(fault))
            }
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
