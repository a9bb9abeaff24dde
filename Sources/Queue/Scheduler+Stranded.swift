// Scheduler+Stranded.swift — mail that waits only because its next hop could not be reached is due as soon as a session
// stands there again: not all at once, but as the lane takes it.
//
// No list is kept of it: tickets are walked through in slices while some lane is back, which is seldom.

import Mail

extension Scheduler {
    /// Tickets looked at under one lock.
    private static let slice = 8192
    /// Released mail of a lane that stands in its line at most; the rest follows as it is taken.
    private static let mostReleased = 1000
    /// Milliseconds between two slices, and between two walks through all of them.
    private static let slicePause: Int64 = 5
    private static let walkPause: Int64 = 500

    /// A parcel that waits does so only because its next hop could not be reached.
    mutating func strand(_ ticket: Ticket) {
        guard tickets[ticket].place == .waiting, !tickets[ticket].isStranded else { return }
        tickets[ticket].isStranded = true
        lanes[tickets[ticket].lane].stranded += 1
    }

    /// Whether a parcel waits only because its next hop could not be reached.
    func isStranded(_ ticket: Ticket) -> Bool { tickets[ticket].isStranded }

    /// A lane is back.
    mutating func startRelease(_ number: LaneNumber, at now: Uptime) {
        guard lanes[number].stranded > 0, !lanes[number].isReleasing else { return }
        lanes[number].isReleasing = true
        releasing.append(number)
        releaseLeft = tickets.count
        releasesAt = now
    }

    /// Makes the next of them due.
    mutating func release(at now: Uptime) {
        guard let due = releasesAt, due <= now else { return }
        if releaseLeft <= 0 { releaseLeft = tickets.count }
        for _ in 0..<min(Self.slice, releaseLeft) {
            if releasePosition >= tickets.count { releasePosition = 0 }
            let ticket = Ticket(place: releasePosition)
            releasePosition += 1
            releaseLeft -= 1
            guard tickets[ticket].isStranded, mayRelease(tickets[ticket].lane) else { continue }
            leave(ticket)
            enter(ticket, first: false)
        }
        guard releaseLeft <= 0 else {
            releasesAt = now.adding(milliseconds: Self.slicePause)
            return
        }
        releasing.removeAll { number in
            let goesOn = lanes[number].isReleasing && lanes[number].stranded > 0 && lanes[number].restsUntil == nil
            if !goesOn { lanes[number].isReleasing = false }
            return !goesOn
        }
        releasesAt = releasing.isEmpty ? nil : now.adding(milliseconds: Self.walkPause)
    }

    private func mayRelease(_ number: LaneNumber) -> Bool {
        lanes[number].isReleasing && lanes[number].restsUntil == nil && lanes[number].ready < Self.mostReleased
    }
}
