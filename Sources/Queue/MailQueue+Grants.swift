// MailQueue+Grants.swift — what a store that is shared asks and says about a lane's part of sessions and limits, and mail for those who have one.

import Mail
import Storage
import Synchronization

extension MailQueue {
    /// What the store asks of grants.
    var grantNews: GrantNews {
        var news = GrantNews()
        news.wishes = { [weak self] isAll in
            let now = Uptime.now()
            return self?.state.withLock {
                $0.scheduler.grantWishes(isAll: isAll, at: now) + $0.scheduler.shareWishes(isAll: isAll, at: now)
            } ?? []
        }
        news.lower = { [weak self] name, sessions in
            guard let self else { return GrantHeld(sessions: 0) }
            let (held, trims) = state.withLock { state in
                (state.scheduler.lower(name, to: sessions, at: .now()), state.scheduler.trims)
            }
            if trims { wakeDispatcher() }
            return held
        }
        news.grant = { [weak self] name, sessions, written, ahead in
            self?.state.withLock { state in
                if state.scheduler.shareBook.entries[name] == nil {
                    state.scheduler.raiseGrant(name, to: sessions, written: written)
                } else {
                    let now = Uptime.now()
                    state.scheduler.raiseShare(name, to: sessions, written: written, ahead: ahead, at: now)
                }
            }
            self?.wakeDispatcher()
        }
        news.days = { [weak self] isLast in
            self?.state.withLock { $0.scheduler.dayWishes(isLast: isLast, at: .now()) } ?? []
        }
        news.allow = { [weak self] name, allowance in
            guard let scope = LimitScope(name) else { return }
            self?.state.withLock { $0.scheduler.allow(scope, allowance, at: .now()) }
            self?.wakeDispatcher()
        }
        news.lose = { [weak self] in
            self?.state.withLock { state in
                state.scheduler.loseGrants()
                state.scheduler.loseShares()
            }
        }
        news.hand = { [weak self] lane, count in self?.hand(lane, count) ?? [] }
        news.fullest = { [weak self] in
            self?.state.withLock { state in
                state.scheduler.fullestLane.map {
                    GrantWish(lane: $0.description, limit: state.scheduler.limits.perLane, wanted: 0)
                }
            }
        }
        news.due = { [weak self] in self?.state.withLock { $0.scheduler.readyCount } ?? 0 }
        return news
    }

    /// Takes messages out that are due in a lane, that no session has and that wait for nothing else, for another node.
    ///
    /// - Parameter name: of the lane.
    func hand(_ name: String, _ count: Int) -> [QueueID] {
        let now = Uptime.now()
        let (ids, freed) = state.withLock { state -> ([QueueID], Int) in
            guard let lane = state.scheduler.grantBook.entries[name]?.lane else { return ([], 0) }
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

extension Scheduler {
    /// Uses no more than so much of a lane, or of a limit.
    fileprivate mutating func lower(_ name: String, to most: Int, at now: Uptime) -> GrantHeld {
        guard shareBook.entries[name] == nil else { return lowerShare(name, to: most, at: now) }
        return GrantHeld(sessions: lowerGrant(name, to: most))
    }
}
