// Scheduler+Parking.swift — limits and pauses of senders, users and recipients' domains: a parcel that may not leave waits at
// the meter that says so, out of its lane's line, so that nobody stands behind it.

package import Mail

extension Scheduler {
    /// Parcels that are put aside in one go, so that nobody waits for the lock.
    private static let mostAside = 512

    /// Something is limited or paused.
    package var isMetered: Bool { book.isOn }

    /// Some limit or pause is about the mail, and not about its lane.
    package var asksMail: Bool { book.asksMail }

    /// Whether a parcel was not looked at as closely as is asked now.
    package func wantsLook(_ ticket: Ticket) -> Bool { book.asksMail && book.scope(of: ticket) == nil }

    /// The domain that is asked about, of a recipient of a lane; nil: nobody asks, or the lane's own meters count it.
    package func askedDomain(_ recipient: EmailAddress, in lane: Lane) -> String? {
        guard book.asksDomain, !lane.hasOneDomain, book.isAsked(.domain(recipient.domain.name)) else { return nil }
        return recipient.domain.name
    }

    /// What limits and pauses see of a parcel.
    package mutating func look(_ ticket: Ticket, _ envelope: Envelope, domain: String?) {
        book.join(ticket, book.key(envelope, domain: domain, lane: lane(of: ticket)))
    }

    /// What a session of the lane carries next, as far as limits and pauses allow; nil: nothing.
    mutating func takeMetered(_ number: LaneNumber, at now: Uptime) -> Ticket? {
        guard maySend(number, at: now) else { return nil }
        guard book.asksMail else { return take(from: number, at: now) }
        var aside = 0
        while lanes[number].first != .null {
            let ticket = lanes[number].first
            guard let meter = closedMeter(of: ticket, at: now) else { return take(from: number, at: now) }
            guard aside < Self.mostAside else {
                book.againAt = now.adding(milliseconds: 1)
                return nil
            }
            aside += 1
            leave(ticket)
            park(ticket, at: meter, first: false, now)
        }
        return nil
    }

    /// Puts a parcel in flight aside, if it may not leave.
    ///
    /// - Returns: whether it was.
    package mutating func putAside(_ ticket: Ticket, at now: Uptime) -> Bool {
        guard let meter = closedMeter(of: ticket, at: now) else { return false }
        leave(ticket)
        park(ticket, at: meter, first: true, now)
        return true
    }

    /// Recipients of one transaction that limits allow; nil: as many as there are.
    package func mostRecipients(of ticket: Ticket) -> Int? {
        var meters = lanes[tickets[ticket].lane].meters
        if book.asksMail, let scope = book.scope(of: ticket) { meters += book.scopes[scope].meters }
        return meters.compactMap { book.meters[$0].terms.recipients }.min()
    }

    /// It waits for a limit or a pause of senders, users or domains.
    package func isParked(_ ticket: Ticket) -> Bool { tickets[ticket].place == .parked }

    /// A parcel in line was looked at: it waits where limits and pauses say.
    mutating func placeAgain(_ ticket: Ticket) {
        guard tickets[ticket].place == .ready else { return }
        _ = parksAtOnce(ticket, first: false) { $0.leave(ticket) }
    }

    private func closedMeter(of ticket: Ticket, at now: Uptime) -> MeterNumber? {
        guard let scope = book.scope(of: ticket) else { return nil }
        return closedMeter(book.scopes[scope].meters, at: now)
    }

    /// Whether a parcel that is due waits elsewhere than in its lane's line: behind others of its kind, or for a pause's end.
    ///
    /// - Parameter leave: takes it from where it is.
    mutating func parksAtOnce(
        _ ticket: Ticket,
        first: Bool,
        _ leave: (inout Scheduler) -> Void = { _ in }
    ) -> Bool {
        guard book.asksMail, !lanes[tickets[ticket].lane].lane.isPreparation, let scope = book.scope(of: ticket) else {
            return false
        }
        for meter in book.scopes[scope].meters
        where book.meters[meter].pause != nil || !first && book.meters[meter].parked > 0 {
            leave(&self)
            park(ticket, at: meter, first: first, nil)
            return true
        }
        return false
    }

    private mutating func park(_ ticket: Ticket, at meter: MeterNumber, first: Bool, _ now: Uptime?) {
        tickets[ticket].place = .parked
        parkedCount += 1
        lanes[tickets[ticket].lane].parked += 1
        book.tickets[ticket].parkedAt = meter
        let end = first ? book.meters[meter].first : book.meters[meter].last
        tickets[ticket].next = first ? end : .null
        tickets[ticket].previous = first ? .null : end
        if end == .null {
            book.meters[meter].first = ticket
            book.meters[meter].last = ticket
        } else if first {
            tickets[end].previous = ticket
            book.meters[meter].first = ticket
        } else {
            tickets[end].next = ticket
            book.meters[meter].last = ticket
        }
        book.meters[meter].parked += 1
        if book.isShared { shareBook.lacking.insert(meter) }
        if let now {
            book.meters[meter].note(at: now)
            if case .until(let end)? = book.meters[meter].closed(at: now, book.wall(now)) { book.wake(meter, at: end) }
        } else if book.meters[meter].parked == 1 {
            // Whoever is the first finds out when it opens.
            book.wake(meter, at: Uptime(milliseconds: 0))
        }
    }

    /// Takes a parcel out of the line of the meter where it waits.
    mutating func unlinkParked(_ ticket: Ticket) {
        let meter = book.tickets[ticket].parkedAt
        let (next, previous) = (tickets[ticket].next, tickets[ticket].previous)
        if previous == .null { book.meters[meter].first = next } else { tickets[previous].next = next }
        if next == .null { book.meters[meter].last = previous } else { tickets[next].previous = previous }
        book.meters[meter].parked -= 1
        book.tickets[ticket].parkedAt = .null
        parkedCount -= 1
        lanes[tickets[ticket].lane].parked -= 1
    }

    /// Lets the first parcels of a meter go to their lanes' lines.
    mutating func unpark(_ meter: MeterNumber, atMost most: Int) {
        var ticket = book.meters[meter].first
        guard most > 0, ticket != .null else { return }
        var last = ticket
        for _ in 1..<max(1, most) {
            guard tickets[last].next != .null else { break }
            last = tickets[last].next
        }
        // From behind, each to the head of its line: there they stand in their order.
        let end = tickets[ticket].previous
        ticket = last
        while ticket != end {
            let before = tickets[ticket].previous
            leave(ticket)
            line(ticket, first: true)
            ticket = before
        }
    }
}
