// MilterLeg.swift — one milter's part of one SMTP session: a connection of its own, on which it is told the session step by step, and
// message after message.
//
// Guarantees: what it does not answer is no answer to the client, the message's end decides; one connection a session, which ends with
// it; while a message is looked at the connection is the examination's. Bound to one event loop.

import Config
import Mail
package import Milter
package import NIOCore

/// One milter in one session.
package final class MilterLeg {
    /// What it has said of the message that is being received.
    package enum Standing: Hashable, Sendable {
        /// It wants to see more.
        case open
        /// It has nothing more to say.
        case accepted
        /// The message is taken and dropped.
        case discarded
    }

    package let desk: MilterDesk
    private let loop: any EventLoop
    private var session: MilterSession?
    /// It has nothing more to say about anything of this session.
    private var isDone = false
    /// It gave no answer; it is told nothing more before the next message.
    private var isLost = false
    private var of = Standing.open
    /// It was told the sender of the message that is being received.
    private var isTold = false
    /// It does not see mail of this sender.
    private var isOut = false
    /// Each message may be of another client.
    private let isOfProxy: Bool
    /// It is told of client and HELO with a message, and not before.
    private let isLate: Bool
    /// Who waits for an answer; nil: nobody.
    private var then: ((MilterAnswer) -> Void)?
    private var (isClosed, isStarting) = (false, false)

    /// - Parameter isOfProxy: each message of the session may be of another client.
    package init(_ desk: MilterDesk, isOfProxy: Bool, on loop: any EventLoop) {
        (self.desk, self.isOfProxy, self.loop) = (desk, isOfProxy, loop)
        isLate = isOfProxy || !desk.settings.seesAllEnvelopes
    }

    /// What it has said of the message that is being received.
    package var standing: Standing { isDone ? .accepted : of }

    /// Tells it a step of the session: the client, HELO, a sender, or a recipient.
    ///
    /// - Parameter then: called once, later, unless the leg is closed before; where there is no answer it goes on.
    package func ask(_ step: MilterStep, _ mail: MilterMail, then: @escaping (MilterAnswer) -> Void) {
        if step == .mail { (of, isLost, isTold, isOut) = (.open, false, false, !desk.settings.takes(mail.sender)) }
        self.then = then
        isStarting = true
        defer { isStarting = false }
        guard standing == .open, !isLost, wants(step, mail) else { return end(.goOn) }
        if isLate, session?.client != mail.client, !isTold { leave() }
        if let session, session.isOpen { return tell(session, step, mail, mayConnect: step != .rcpt || !isTold) }
        session = nil
        // It does not know the sender any more.
        guard step != .rcpt || !isTold else { return lose() }
        connect(step, mail)
    }

    /// Whether it is told a step now: it is one of its mail, and there is something to say to it.
    private func wants(_ step: MilterStep, _ mail: MilterMail) -> Bool {
        let settings = desk.settings
        switch step {
        case .connect, .helo:
            guard isLate else { break }
            leave()
            return false
        case .mail: if isOut || settings.choosesRecipients { return false }
        default:
            if isOut { return false }
            if !isTold, !mail.recipients.contains(where: { settings.takes($0.address) }) { return false }
        }
        guard !isTold, session?.isOpen != true, let first = desk.firstStep else { return true }
        return !step.isBefore(first)
    }

    /// The connection ends; the next step makes another one.
    private func leave() {
        session?.leave()
        session = nil
    }

    private func lose() {
        isLost = true
        end(.goOn)
    }

    private func connect(_ step: MilterStep, _ mail: MilterMail) {
        guard desk.mayAsk() else { return lose() }
        MilterSession.connect(desk, on: loop) { result in
            switch result {
            case .success(let session):
                guard !self.isClosed else {
                    self.desk.abandoned()
                    return session.close()
                }
                self.tell(session, step, mail, mayConnect: false)
            case .failure(let fault): self.fail(fault)
            }
        }
    }

    /// - Parameter mayConnect: the connection has waited, and may be dead without anybody's having heard of it.
    private func tell(_ session: MilterSession, _ step: MilterStep, _ mail: MilterMail, mayConnect: Bool) {
        self.session = session
        session.leg = self
        let begins = !isTold
        if step == .mail || step == .rcpt { isTold = true }
        session.ask(step, mail, begins: begins) { [self] result in
            switch result {
            case .success(let answer):
                desk.answered()
                took(answer, at: step, session.answeredAt)
            case .failure(let fault):
                self.session = nil
                if begins { isTold = false }
                if mayConnect, fault.kind == .lost { return connect(step, mail) }
                fail(fault)
            }
        }
    }

    private func fail(_ fault: MilterFault) {
        guard !isClosed else { return desk.abandoned() }
        desk.failed(fault)
        isLost = true
        end(.goOn)
    }

    /// - Parameter place: the step that it answered: the one it was asked about, or one before it that it was told late.
    private func took(_ answer: MilterAnswer, at step: MilterStep, _ place: MilterStep) {
        let isOfClient = place == .connect || place == .helo
        switch answer {
        case .goOn: break
        case .accept:
            // At the client, whatever it was asked about.
            isDone = isOfClient && !isOfProxy
            of = .accepted
        case .discard: of = .discarded
        case .refuse(let reply):
            desk.decided(.refuse(reply))
            // The next recipient is one of a message that it knows nothing of.
            if step == .rcpt, place != .rcpt { isTold = false }
        }
        let isLateAnswer = isOfClient && answer != .goOn && (step == .mail || step == .rcpt)
        if isDone || isLateAnswer || session?.knowsClient != true { leave() }
        end(answer)
    }

    private func end(_ answer: MilterAnswer) {
        // Whoever asks is not ready for the answer yet.
        guard !isStarting else { return loop.assumeIsolated().execute { self.end(answer) } }
        guard let then else { return }
        self.then = nil
        then(answer)
    }

    /// The session is over.
    package func close() {
        isClosed = true
        if then != nil, session != nil {
            desk.abandoned()
            session?.close()
        } else {
            session?.leave()
        }
        (then, session) = (nil, nil)
    }

    // MARK: The message's end

    /// The connection for a message of this client; nil: there is none that knows it.
    func lend(for client: MilterMail.Client) -> MilterSession? {
        guard let session, session.isOpen, session.client == client, !isLost else { return nil }
        self.session = nil
        return session
    }

    /// Takes a connection whose message is over.
    ///
    /// - Returns: false when it is not wanted any more.
    func takeBack(_ session: MilterSession) -> Bool {
        guard !isClosed, self.session == nil else { return false }
        self.session = session
        return true
    }
}
