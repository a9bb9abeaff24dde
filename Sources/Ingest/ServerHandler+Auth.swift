// ServerHandler+Auth.swift — AUTH on the event loop: questions go to the authenticator, answers come back.

import Config
import Intake
import Log
import Loop
import NIOCore
import SMTP

extension ServerHandler {
    /// Finds out whether the client is who it says; until then nothing it sends is used.
    func authenticate(_ question: SASLQuestion) {
        guard let context else { return }
        let answer = door.authenticator.answer(question, from: client, on: context.eventLoop)
        answer.assumeIsolated().whenComplete { result in
            self.authenticated((try? result.get()) ?? .unavailable, question)
        }
    }

    private func authenticated(_ answer: SASLAnswer, _ question: SASLQuestion) {
        // The session may have ended meanwhile.
        guard machine.isVerifying else { return }
        machine.authenticated(answer)
        switch answer {
        case .accepted, .scramSignature:
            machine.judge = door.intake.judge(door.settings.current, for: way)
            tell(.authenticated, question.user)
        case .refused: refused(.loginRefused, question.user)
        case .tooMany: refused(.loginThrottled, question.user)
        case .scramSalt, .unavailable: break
        }
        resume()
    }

    private func isKnown(_ user: String) -> Bool { door.settings.ask { $0.auth.users[user] != nil } }

    private func refused(_ event: SessionEvent, _ user: String) {
        guard let context, door.book.admits(client, on: context.eventLoop) else { return }
        // A name that nobody has may be a password in the wrong place: it is not written down.
        tell(event, isKnown(user) ? user : nil)
    }
}
