// Scheduler+Commands.swift — what an administrator does to single parcels: hold, release, hurry, claim.

package import Mail

extension Scheduler {
    /// Keeps a parcel that is not in flight from being handed out until it is released.
    package mutating func hold(_ ticket: Ticket) {
        let due: Uptime
        switch tickets[ticket].place {
        case .free, .inFlight, .held: return
        case .ready, .parked:
            due = Uptime(milliseconds: 0)
            tickets[ticket].isAsked = false
        case .waiting: due = tickets[ticket].due
        }
        leave(ticket)
        tickets[ticket].due = due
        tickets[ticket].place = .held
        heldCount += 1
        lanes[tickets[ticket].lane].held += 1
    }

    /// Lets a held parcel go on where it was: into its lane's line, or to wait for its time.
    package mutating func release(_ ticket: Ticket, at now: Uptime) {
        guard tickets[ticket].place == .held else { return }
        let due = tickets[ticket].due
        leave(ticket)
        place(ticket, due: due, at: now)
    }

    /// Makes a parcel that waits due now, and lets its lane be tried.
    ///
    /// - Returns: whether it waited.
    package mutating func hurry(_ ticket: Ticket, at now: Uptime) -> Bool {
        guard tickets[ticket].place == .waiting else { return false }
        leave(ticket)
        tickets[ticket].isAsked = true
        enter(ticket, first: true)
        let number = tickets[ticket].lane
        lanes[number].restsUntil = nil
        lanes[number].mayProbe = nil
        refresh(number)
        return true
    }

    /// Takes a parcel that nobody has in flight, so that nobody else does.
    ///
    /// - Returns: false when it was in flight.
    package mutating func claim(_ ticket: Ticket) -> Bool {
        switch tickets[ticket].place {
        case .free, .inFlight: return false
        case .waiting, .ready, .parked, .held: break
        }
        leave(ticket)
        fly(ticket)
        return true
    }
}
