// ServerHandler+Auth.swift — AUTH on the event loop: questions go to the authenticator, answers come back.
//
// Why somebody was refused is told to the operator, in the log and as an event; the client hears the same whatever it was.

import Config
import History
import Intake
import Log
import Loop
import Mail
import NIOCore
import Queue
import SMTP

extension ServerHandler {
    /// Finds out whether the client is who it says; until then nothing it sends is used.
    func authenticate(_ question: SASLQuestion) {
        guard let context else { return }
        let place = LoginPlace(
            client: client,
            listener: here.map { "\($0)" } ?? "",
            isSecure: machine.isSecure,
            mechanism: machine.mechanism?.rawValue ?? ""
        )
        let answer = door.authenticator.answer(question, at: place, on: context.eventLoop)
        answer.assumeIsolated().whenComplete { result in
            self.authenticated((try? result.get()) ?? LoginOutcome(.unavailable), question)
        }
    }

    private func authenticated(_ outcome: LoginOutcome, _ question: SASLQuestion) {
        // The session may have ended meanwhile.
        guard machine.isVerifying else { return }
        machine.authenticated(outcome.answer)
        switch outcome.answer {
        case .accepted, .scramSignature: letIn(question.user, outcome)
        case .acceptedAs(let user, _): letIn(user, outcome)
        case .refused: refused(.loginRefused, question.user, outcome.reason)
        case .tooMany: refused(.loginThrottled, question.user, "too many failures")
        case .unavailable: refused(.loginUnknown, question.user, outcome.reason)
        case .scramSalt: break
        }
        resume()
    }

    private func letIn(_ user: String, _ outcome: LoginOutcome) {
        loginProof = outcome.proof
        machine.judge = door.intake.judge(door.settings.current, for: way)
        machine.isForAnybody = door.intake.openAddresses(door.settings.current)
        let now = Timestamp.now()
        door.intake.gate.seen(user, from: client, at: now)
        if case .app(let name) = outcome.proof { door.intake.gate.seen(app: name, of: user, from: client, at: now) }
        tell(.authenticated, user) { line in
            switch outcome.proof {
            case .own: break
            case .app(let name): line.add(.scope, "app password \(name)")
            case .source(let name): line.add(.scope, name)
            }
        }
    }

    private func isKnown(_ user: String) -> Bool {
        door.settings.ask { $0.auth.users[user] != nil || $0.auth.apps[user] != nil }
    }

    private func refused(_ event: SessionEvent, _ user: String, _ reason: String) {
        guard let context, door.book.admits(client, on: context.eventLoop) else { return }
        // A name that nobody has may be a password in the wrong place: it is not written down.
        let name = isKnown(user) ? user : nil
        tell(event, name) { line in if !reason.isEmpty { line.add(.reason, reason) } }
        guard event == .loginRefused else { return }
        var fact = CommandFact(.credentialRefused, at: .now())
        fact.subject = name.map { "login \($0)" } ?? "login"
        fact.text = "\(reason), \(machine.mechanism?.rawValue ?? ""), client \(clientLiteral)"
        door.intake.queue.tell(fact)
    }
}
