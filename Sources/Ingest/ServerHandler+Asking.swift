// ServerHandler+Asking.swift — plugins and milters that have a say in clients, senders and recipients: asked while the command waits,
// plugins off the event loop, then milters on it. Without one for a hook nothing is asked.

import Config
import Hooks
import Intake
import Log
import Loop
import Mail
import Milter
import NIOCore
import SMTP

extension ServerHandler {
    /// Who is asked from now on.
    func learnHooks() {
        let plugins = door.intake.plugins
        let hasEscort = reception.escort != nil
        machine.asksHello = hasEscort
        machine.asksSender = hasEscort || plugins.asks(.mail)
        machine.asksRecipient = hasEscort || plugins.asks(.rcpt)
    }

    /// Milters go along with the client's session from now on; with that of a proxy, whose client may be another one for each
    /// message, from its senders on.
    func beginEscort(_ settings: Settings, on loop: any EventLoop) {
        reception.escort?.close()
        reception.escort = door.intake.escort(
            entrance,
            from: client,
            at: here,
            settings,
            isOfProxy: machine.offersXFORWARD,
            on: loop
        )
        learnHooks()
    }

    /// HELO, MAIL or RCPT waits for the answer.
    func ask(_ question: ReceptionQuestion) {
        var mail = MilterMail()
        if reception.escort != nil {
            mail = MilterMail(clientNow(), by: entrance, user: machine.user, me: machine.me)
        }
        switch question {
        case .hello: ask(nil, guest(), .helo, mail) { $0.machine.answered($1, because: $2) }
        case .mail(let sender, let parameters):
            (mail.sender, mail.senderArguments) = (sender, parameters.words)
            ask(.mail, guest(sender: sender), .mail, mail) { $0.machine.answered($1, because: $2) }
        case .rcpt(let recipient, let sender):
            (mail.sender, mail.recipients) = (sender, [recipient])
            ask(.rcpt, guest(sender: sender, recipient: recipient.address), .rcpt, mail) {
                $0.machine.answered($1, because: $2)
            }
        }
    }

    /// The greeting waits for the answer, if anybody has a say in clients.
    ///
    /// - Returns: false when nobody has.
    func askAboutClient(_ context: ChannelHandlerContext) -> Bool {
        beginEscort(door.settings.current, on: context.eventLoop)
        guard reception.escort != nil || door.intake.plugins.asks(.connect) else { return false }
        isAskedAbout = true
        var mail = MilterMail()
        if reception.escort != nil { mail = MilterMail(clientNow(), by: entrance, user: nil, me: machine.me) }
        ask(.connect, guest(), .connect, mail) { handler, reply, rejection in
            handler.isAskedAbout = false
            if let reply {
                handler.machine.sendAway(reply, because: rejection)
            } else {
                handler.greetNow(context)
            }
        }
        return true
    }

    private typealias Answered = (ServerHandler, Reply?, Rejection) -> Void

    /// Asks plugins, then milters.
    private func ask(
        _ hook: Hook?,
        _ guest: Guest,
        _ step: MilterStep,
        _ mail: MilterMail,
        then: @escaping Answered
    ) {
        guard let context else { return }
        let plugins = door.intake.plugins
        guard let hook, plugins.asks(HookSet(hook)) else { return askMilters(step, mail, then) }
        let answer = context.eventLoop.makeFutureWithTask { await plugins.receive(hook, guest) }
        answer.assumeIsolated().whenSuccess { reply in
            // The session may have ended meanwhile.
            guard self.context != nil, self.phase == .talking else { return }
            if reply == nil, self.reception.escort != nil { return self.askMilters(step, mail, then) }
            then(self, reply, .plugin)
            self.resume()
        }
    }

    private func askMilters(_ step: MilterStep, _ mail: MilterMail, _ then: @escaping Answered) {
        guard let escort = reception.escort else { return }
        escort.ask(step, mail) { refusal in
            guard self.context != nil, self.phase == .talking else { return }
            if let refusal { self.tell(refusal.milter, refusal.reply, step) }
            then(self, refusal?.reply, .milter)
            self.resume()
        }
    }

    /// Which milter it was, and where.
    private func tell(_ milter: String, _ reply: Reply, _ step: MilterStep) {
        door.log.write(.notice, "command rejected by a milter") { line in
            line.add(.milter, milter)
            line.add(.stage, step.word)
            line.add(.client, clientLiteral)
            line.add(.reply, reply.description)
        }
    }

    private func guest(sender: ReversePath? = nil, recipient: EmailAddress? = nil) -> Guest {
        Guest(
            address: client,
            listener: here?.description,
            helo: machine.heloName,
            user: machine.user,
            isSecure: machine.isSecure,
            sender: sender,
            recipient: recipient
        )
    }
}

extension MailParameters {
    /// As they would stand on the wire.
    fileprivate var words: [String] {
        var words = size.map { ["SIZE=\($0)"] } ?? []
        if isEightBit { words.append("BODY=8BITMIME") }
        if needsUTF8 { words.append("SMTPUTF8") }
        if let returns { words.append(returns == .full ? "RET=FULL" : "RET=HDRS") }
        if let envelopeID { words.append("ENVID=\(envelopeID)") }
        return words
    }
}
