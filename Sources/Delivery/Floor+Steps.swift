// Floor+Steps.swift — what sessions do, told to those who look on.

import Mail
import Queue
import SMTP

extension Floor {
    /// A session stands.
    func tellStands(_ session: ClientHandler) {
        guard queue.steps.isWatched else { return }
        let stages = session.stages
        queue.steps.note(
            .session,
            of: session.lane,
            peer: session.machine.peer,
            text: session.machine.security.map { "\($0)" } ?? "",
            milliseconds: [("connect", stages.connect), ("session", stages.session)].compactMap { name, time in
                time.map { StepBoard.Stage(name, Int64($0)) }
            }
        )
    }

    /// A session carries a message.
    func tellOffered(_ assignment: Assignment, by session: ClientHandler) {
        queue.steps.note(
            .offered,
            of: session.lane,
            message: assignment.parcel.id.message,
            peer: session.machine.peer
        )
    }

    /// The next hop has answered.
    func tellSteps(of attempt: Attempt, _ outcomes: [Outcome?], by session: ClientHandler) {
        guard queue.steps.isWatched else { return }
        let stages = attempt.trail.stages
        for case let outcome? in outcomes {
            let words: String
            switch outcome {
            case .delivered(let receipt): words = "\(receipt.reply)"
            case .deferred(let failure), .bounced(let failure): words = "\(failure.reply)"
            }
            queue.steps.note(
                .answered,
                of: session.lane,
                message: attempt.parcel.id.message,
                peer: session.machine.peer,
                text: words,
                milliseconds: [("envelope", stages.envelope), ("data", stages.data)].compactMap { name, time in
                    time.map { StepBoard.Stage(name, Int64($0)) }
                }
            )
        }
    }
}
