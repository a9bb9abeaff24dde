// MailQueue+Limits.swift — limits put in force, scopes paused and resumed, and both kept over restarts.
//
// Guarantees: a pause stops mail before anything else is tried, the disk included, and what it catches later waits too; a flush
// or a retry does not pass it.

import History
package import Mail
import Storage
import Synchronization

/// What is to be written down of limits and pauses.
struct LimitUpkeep: Sendable {
    /// The list on disk is not that in force.
    var pausesWait = false
    /// What was written last.
    var records: [MeterRecord] = []
    var slowings: [Slowing] = []
}

extension MailQueue {
    /// Puts limits in force.
    package func apply(_ rules: LimitRules, at now: Uptime = .now()) {
        reactor.withLock { $0.set(rules.reactions) }
        reacts.store(!rules.reactions.isEmpty, ordering: .relaxed)
        state.withLock { $0.scheduler.set(rules, at: now) }
        wakeDispatcher()
    }

    /// Puts limits and pools of addresses in force.
    package func apply(_ rules: LimitRules, _ pools: [String: SourcePool], at now: Uptime = .now()) {
        apply(pools, at: now)
        apply(rules, at: now)
    }

    /// Puts pools of addresses in force.
    package func apply(_ pools: [String: SourcePool], at now: Uptime = .now()) {
        state.withLock { $0.scheduler.set(pools, at: now) }
        wakeDispatcher()
    }

    /// Pauses in force, the oldest first.
    package var pauses: [Pause] {
        state.withLock { Array($0.scheduler.pauses.values) }
            .sorted { ($0.since, $0.id) < ($1.since, $1.id) }
    }

    /// Stops a scope; what is in flight is finished.
    ///
    /// One that is paused is paused by these words, and until this time, from now on. Blocks.
    /// - Returns: whether it is on disk; if not, it is in force all the same and written as soon as that can be done.
    package func pause(_ pause: Pause, at now: Uptime = .now()) -> Bool {
        state.withLock { $0.scheduler.set(pause, for: pause.scope, at: now) }
        defer {
            var fact = CommandFact(.destinationPaused, at: pause.since)
            (fact.actor, fact.subject) = (pause.actor.isEmpty ? nil : pause.actor, pause.scope.description)
            (fact.text, fact.until) = (pause.reason.isEmpty ? nil : pause.reason, pause.until)
            tell(fact)
        }
        return savePauses()
    }

    /// Lets a scope go on.
    ///
    /// Blocks.
    /// - Parameter actor: who; nil: its time has come.
    /// - Returns: nil when it is not paused; else whether it is on disk.
    package func resume(_ scope: LimitScope, by actor: String?, at now: Uptime = .now()) -> Bool? {
        let known = state.withLock { state -> Pause? in
            guard let pause = state.scheduler.pauses[scope] else { return nil }
            state.scheduler.set(nil, for: scope, at: now)
            return pause
        }
        guard let known else { return nil }
        wakeDispatcher()
        var fact = CommandFact(.destinationRecovered, at: .now())
        (fact.actor, fact.subject) = (actor, scope.description)
        fact.text = actor == nil ? "its time has come" : known.reason.isEmpty ? nil : known.reason
        tell(fact)
        return savePauses()
    }

    /// One at a time, so that an older list never replaces a newer one.
    private func savePauses() -> Bool {
        guard let limitFiles else { return true }
        return limitUpkeep.withLock { upkeep in
            let pauses = self.pauses
            do {
                try limitFiles.save(pauses)
                upkeep.pausesWait = false
            } catch {
                upkeep.pausesWait = true
            }
            return !upkeep.pausesWait
        }
    }

    /// Once a second: pauses whose time has come, and what is to be on disk.
    ///
    /// Blocks.
    package func keepLimits(at now: Uptime = .now(), wall: Timestamp = .now()) {
        let over = pauses.filter { $0.until.map { $0 <= wall } ?? false }
        for pause in over { _ = resume(pause.scope, by: nil, at: now) }
        if limitUpkeep.withLock({ $0.pausesWait }) { _ = savePauses() }
        keepSlowings(at: now)
        guard let limitFiles else { return }
        let records = state.withLock { state -> [MeterRecord]? in
            guard state.scheduler.isMetered else { return nil }
            state.scheduler.book.sweep(at: now)
            if state.scheduler.parkedCount == 0 { state.scheduler.book.turnOff() }
            return state.scheduler.book.records(at: now)
        }
        guard let records else { return }
        limitUpkeep.withLock { upkeep in
            guard upkeep.records != records else { return }
            // What cannot be written is written a second later.
            if (try? limitFiles.save(records)) != nil { upkeep.records = records }
        }
    }

    /// What an earlier process left: before mail is filed.
    ///
    /// Blocks.
    func recoverLimits(at now: Uptime, wall: Timestamp) {
        let (pauses, records) = (limitFiles?.pauses() ?? [], limitFiles?.meters() ?? [])
        let slowings = limitFiles?.slowings() ?? []
        limitUpkeep.withLock { $0.slowings = slowings }
        state.withLock { state in
            state.scheduler.setEpoch(wall.milliseconds - now.milliseconds)
            state.scheduler.book.restore(records, at: now)
            for pause in pauses { state.scheduler.set(pause, for: pause.scope, at: now) }
            if !slowings.isEmpty { state.scheduler.restore(slowings, at: now) }
        }
    }

    /// The hosts that a lane leads to, in the order of preference: whose provider it is.
    package func know(hosts: @autoclosure () -> [String], of lane: Lane) {
        state.withLock { if $0.scheduler.asksHosts { $0.scheduler.set(hosts: hosts(), of: lane) } }
    }
}

extension QueueState {
    /// Looks at a parcel as closely as limits and pauses ask; one whose recipients they see differently becomes several.
    ///
    /// - Returns: false when it became several.
    mutating func look(_ ticket: Ticket, _ envelope: Envelope, at now: Uptime) -> Bool {
        guard scheduler.wantsLook(ticket) else { return true }
        let lane = scheduler.lane(of: ticket)
        var groups: [(domain: String?, recipients: [UInt32])] = []
        for recipient in recipients(of: ticket) {
            let address = envelope.recipients[Int(recipient)].address
            let domain = scheduler.askedDomain(address, in: lane)
            if let place = groups.firstIndex(where: { $0.domain == domain }) {
                groups[place].recipients.append(recipient)
            } else {
                groups.append((domain, [recipient]))
            }
        }
        guard groups.count > 1 else {
            scheduler.look(ticket, envelope, domain: groups.first?.domain)
            return true
        }
        let slot = parcel(ticket).message
        let due = scheduler.due(ticket) ?? now
        for group in groups {
            let new = addParcel(of: slot, group.recipients, to: lane, due: due, at: now)
            inherit(new, group.recipients, from: ticket)
            scheduler.look(new, envelope, domain: group.domain)
            scheduler.placeAgain(new)
        }
        removeParcel(ticket)
        return false
    }

    /// Looks at a parcel in flight whose envelope is known for the first time, and puts it aside if it may not leave.
    ///
    /// - Returns: bytes of memory that its message no longer holds; nil when it may leave.
    mutating func putAside(_ ticket: Ticket, _ envelope: Envelope, at now: Uptime) -> Int? {
        let slot = parcel(ticket).message
        if look(ticket, envelope, at: now), !scheduler.putAside(ticket, at: now) { return nil }
        return dropResident(slot)
    }

    /// Looks at the parcels of a message that was just filed.
    mutating func lookAtAll(of slot: Slot, _ envelope: Envelope, at now: Uptime) {
        guard scheduler.asksMail, !prepares, let entry = self[slot] else { return }
        for ticket in tickets(of: entry) where look(ticket, envelope, at: now) { scheduler.placeAgain(ticket) }
    }
}
