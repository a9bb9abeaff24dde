// MailQueue+History.swift — what the queue tells history of commands: facts that become durable with its own notes.

package import History
package import Mail
import Storage
import Synchronization

extension MailQueue {
    /// Milliseconds before the newest hold in which others may not have been told before a power cut.
    private static let untold: Int64 = 60_000

    /// Tells history of something that somebody did to the relay.
    ///
    /// Nothing happens while there is no history.
    package func tell(_ fact: CommandFact) { tell(fact, of: QueueID(rawValue: 0)) }

    func tell(_ fact: CommandFact, of id: QueueID) {
        if keepsHistory { store.append(Facts(.command(fact)), of: id) }
    }

    /// Tells history of what somebody else reports of a message, whether or not it is still known; what it knows already it
    /// passes over.
    ///
    /// Blocks until it is durable, or cannot be.
    /// - Returns: whether it is; whoever reports should try again if not.
    package func tell(_ report: ReportFact, of id: QueueID) -> Bool {
        guard keepsHistory else { return true }
        store.append(Facts(.report(report)).again, of: id)
        return store.confirm()
    }

    func tell(_ hold: Hold, of id: QueueID) { tell(hold.fact, of: id) }

    /// The list of holds is on the disk before history hears of one; what a power cut came between is told now, and what history
    /// has already it passes over.
    func tellHoldsAgain() {
        guard keepsHistory else { return }
        let holds = state.withLock { $0.holds.all }
        guard let newest = holds.values.map(\.since).max() else { return }
        for (id, hold) in holds.sorted(by: { $0.key < $1.key })
        where newest.milliseconds(since: hold.since) <= Self.untold {
            store.append(Facts(.command(hold.fact)).again, of: id)
        }
    }

    /// What becomes of a message that an administrator removes.
    func removalFacts(_ withReport: Bool, _ reason: String) -> Facts {
        guard keepsHistory else { return .none }
        let now = Timestamp.now()
        var removed = CommandFact(.removed, at: now)
        removed.text = reason
        var report = CommandFact(.reportSent, at: now)
        report.subject = "removal"
        let facts = Facts(.command(removed))
        return withReport ? facts.followed(by: Facts(.command(report))) : facts
    }
}

extension Hold {
    /// The same whenever it is told.
    fileprivate var fact: CommandFact {
        var fact = CommandFact(isDying ? .dying : .held, at: since)
        fact.text = reason.isEmpty ? nil : reason
        fact.until = until
        return fact
    }
}
