// MailQueue+Ownership.swift — mail that comes from other nodes and goes to them, and until when this one may begin to deliver.
//
// Guarantees: a message is filed once, whatever is adopted; what a session has stays until it is settled; nothing is begun past
// the lease.

import History
import Mail
import Storage
import Synchronization

extension MailQueue {
    /// Why no mail can be accepted now; nil: it can, as far as the store knows.
    package var trouble: String? { store.trouble }

    /// What the store tells of other nodes.
    var ownership: OwnershipNews {
        var news = OwnershipNews()
        news.adopted = { [weak self] in self?.adopt($0) }
        news.lost = { [weak self] in self?.lose($0) }
        news.leased = { [weak self] in self?.mayBegin(until: $0) }
        news.heard = { [weak self] in self?.hear($0) ?? true }
        news.grants = grantNews
        news.happened = { [weak self] in self?.tell($0) }
        news.yielded = { [weak self] in self?.yield() ?? [] }
        return news
    }

    /// Has history know what happened among the nodes.
    func tell(_ notice: SharedNotice) {
        var fact: CommandFact
        switch notice {
        case .joined(_, let name):
            fact = CommandFact(.nodeJoined, at: .now())
            fact.subject = name
        case .left(let name):
            fact = CommandFact(.nodeLeft, at: .now())
            (fact.subject, fact.text) = (name, "it was stopped")
        case .gone(let name):
            fact = CommandFact(.nodeLeft, at: .now())
            (fact.subject, fact.text) = (name, "its lease ran out")
        case .adopted(let count):
            fact = CommandFact(.nodeTakenOver, at: .now())
            fact.count = count
        default: return
        }
        tell(fact)
    }

    /// Files messages that were another node's.
    func adopt(_ adopted: [(message: RecoveredMessage, hold: Hold?)]) {
        let (now, wall) = (Uptime.now(), Timestamp.now())
        state.withLock { state in
            for (message, hold) in adopted where state.slot(of: message.id) == nil {
                if let hold { state.holds[message.id] = hold }
                state.restore(message, now: now, wall: wall, lane: laneOf)
            }
        }
        wakeDispatcher()
    }

    /// Forgets messages that are others' now.
    ///
    /// - Parameter ids: nil: all that no session has.
    func lose(_ ids: [QueueID]?) {
        guard let ids else {
            _ = yield()
            return
        }
        for id in ids { forget(id) }
    }

    /// Takes every message out that no session has, and that is not being removed.
    func yield() -> [QueueID] {
        let (ids, freed) = state.withLock { state in
            var ids: [QueueID] = []
            var freed = 0
            for slot in state.messages.keys(from: 0, atMost: .max) {
                guard let entry = state[slot] else { continue }
                let tickets = state.tickets(of: entry)
                guard !tickets.contains(where: { state.scheduler.isInFlight($0) }) else { continue }
                for ticket in tickets { state.removeParcel(ticket) }
                freed += state.removeMessage(slot)
                ids.append(entry.id)
            }
            return (ids, freed)
        }
        memory.release(freed)
        return ids
    }

    /// Deliveries may begin until then; they go on at once where they had stopped.
    func mayBegin(until end: Uptime) {
        let now = Uptime.now()
        let hadStopped = state.withLock { state in
            defer { state.leaseEnd = end }
            return state.leaseEnd < now
        }
        if hadStopped { wakeDispatcher() }
    }
}
