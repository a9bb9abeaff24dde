// MailQueue+Grants.swift — what a store that is shared asks and says about a lane's part of sessions, and mail for those who have one.

import Mail
import Storage
import Synchronization

extension MailQueue {
    /// What the store asks of grants.
    var grantNews: GrantNews {
        var news = GrantNews()
        news.wishes = { [weak self] isAll in
            self?.state.withLock { $0.scheduler.grantWishes(isAll: isAll, at: .now()) } ?? []
        }
        news.lower = { [weak self] lane, sessions in
            guard let self else { return 0 }
            let (held, trims) = state.withLock { ($0.scheduler.lowerGrant(lane, to: sessions), $0.scheduler.trims) }
            if trims { wakeDispatcher() }
            return held
        }
        news.grant = { [weak self] lane, sessions, written in
            self?.state.withLock { $0.scheduler.raiseGrant(lane, to: sessions, written: written) }
            self?.wakeDispatcher()
        }
        news.lose = { [weak self] in self?.state.withLock { $0.scheduler.loseGrants() } }
        news.hand = { [weak self] lane, count in self?.hand(lane, count) ?? [] }
        news.due = { [weak self] in self?.state.withLock { $0.scheduler.readyCount } ?? 0 }
        return news
    }

    /// Takes messages out that are due in a lane, that no session has and that wait for nothing else, for another node.
    ///
    /// - Parameter name: of the lane; nil: of the one with the longest line.
    func hand(_ name: String?, _ count: Int) -> [QueueID] {
        let now = Uptime.now()
        let (ids, freed) = state.withLock { state -> ([QueueID], Int) in
            let known = name.flatMap { state.scheduler.grantBook.entries[$0]?.lane }
            guard let lane = name == nil ? state.scheduler.fullestLane : known else { return ([], 0) }
            var ids: [QueueID] = []
            var freed = 0
            var kept: [Ticket] = []
            for ticket in state.scheduler.takeDue(in: lane, atMost: count, at: now) {
                let slot = state.parcel(ticket).message
                guard let entry = state[slot], entry.openParcels == 1, !entry.isHeld, !entry.isMoving else {
                    kept.append(ticket)
                    continue
                }
                state.removeParcel(ticket)
                freed += state.removeMessage(slot)
                ids.append(entry.id)
            }
            for ticket in kept.reversed() { state.putBack(ticket) }
            return (ids, freed)
        }
        memory.release(freed)
        return ids
    }
}
