// ServerMachine+Asking.swift — somebody else has a say in a client, a sender or a recipient, and may take a moment for it.
//
// Guarantees: while an answer is outstanding no input is used; what would have been refused without it is not asked about;
// a session that has ended meanwhile hears nothing more.

package import Mail

/// What somebody else is asked.
package enum ReceptionQuestion: Hashable, Sendable {
    case hello(String)
    case mail(ReversePath, MailParameters)
    case rcpt(Recipient, from: ReversePath)
}

/// A command that waits for the answer.
enum Asked: Hashable {
    case hello
    /// With the size that the client has announced.
    case mail(Int?)
    case rcpt(Recipient)
}

extension ServerMachine {
    /// An answer is outstanding.
    package var isAsking: Bool { if case .asking = phase { true } else { false } }
    /// An answer has come, and the command that waited for it goes on without more input.
    package var isResuming: Bool { if case .resuming = phase { true } else { false } }

    /// Answers ``Need/ask(_:)``.
    ///
    /// - Parameters:
    ///   - reply: 4xx or 5xx with printable text; nil: nobody objects.
    ///   - rejection: who objects.
    package mutating func answered(_ reply: Reply?, because rejection: Rejection = .plugin) {
        guard case .asking(let asked) = phase else { return }
        guard let reply else {
            phase = .resuming(asked)
            return
        }
        phase = .command
        rejections.append(rejection)
        switch asked {
        case .hello:
            subject = heloName
            note("\(reply)")
            (hello, heloName) = (.none, "")
        case .mail:
            subject = transaction?.sender.description
            note("\(reply)")
            transaction = nil
        case .rcpt(let recipient):
            subject = recipient.address.description
            note("\(reply)")
        }
        // No slip of the client's, but no licence to repeat it without end.
        if countIdle() { reply.write(to: &output) }
        drainIfIdle()
    }

    /// Goes on with a command that nobody objects to.
    mutating func resumed(_ asked: Asked) -> Need? {
        phase = .command
        switch asked {
        case .hello: welcome()
        case .mail(let size): return opened(size)
        case .rcpt(let recipient): return added(recipient)
        }
        return nil
    }

    /// The client is sent away before it is greeted.
    ///
    /// - Parameter reply: 4xx or 5xx with printable text.
    package mutating func sendAway(_ reply: Reply, because rejection: Rejection = .plugin) {
        guard case .connected = phase else { return }
        rejections.append(rejection)
        note("\(reply)", ends: true)
        reply.write(to: &output)
        phase = .closed
    }
}
