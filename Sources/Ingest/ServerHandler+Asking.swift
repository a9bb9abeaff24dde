// ServerHandler+Asking.swift — plugins that have a say in clients, senders and recipients: asked off the event loop, answered
// back on it. Without one for a hook nothing is asked.

import Config
import Hooks
import Intake
import Mail
import NIOCore
import SMTP

extension ServerHandler {
    /// What plugins are asked from now on.
    func learnHooks() {
        let plugins = door.intake.plugins
        machine.asksSender = plugins.asks(.mail)
        machine.asksRecipient = plugins.asks(.rcpt)
    }

    /// MAIL or RCPT waits for the answer.
    func ask(_ question: ReceptionQuestion) {
        switch question {
        case .mail(let sender): ask(.mail, guest(sender: sender)) { $0.machine.answered($1) }
        case .rcpt(let recipient, let sender):
            ask(.rcpt, guest(sender: sender, recipient: recipient)) { $0.machine.answered($1) }
        }
    }

    /// The greeting waits for the answer, if anybody has a say in clients.
    ///
    /// - Returns: false when nobody has.
    func askAboutClient(_ context: ChannelHandlerContext) -> Bool {
        guard door.intake.plugins.asks(.connect) else { return false }
        isAskedAbout = true
        ask(.connect, guest()) { handler, reply in
            handler.isAskedAbout = false
            if let reply { handler.machine.sendAway(reply) } else { handler.greetNow(context) }
        }
        return true
    }

    private func ask(_ hook: Hook, _ guest: Guest, then: @escaping (ServerHandler, Reply?) -> Void) {
        guard let context else { return }
        let plugins = door.intake.plugins
        let answer = context.eventLoop.makeFutureWithTask { await plugins.receive(hook, guest) }
        answer.assumeIsolated().whenSuccess { reply in
            // The session may have ended meanwhile.
            guard self.context != nil, self.phase == .talking else { return }
            then(self, reply)
            self.resume()
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
