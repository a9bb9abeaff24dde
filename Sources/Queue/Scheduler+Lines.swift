// Scheduler+Lines.swift — the two places where a parcel that nobody carries can be: a lane's line, and among the timers.
//
// Both are kept inside the tickets themselves: four bytes more for each that waits, and a parcel that leaves its place early
// (flushed, held, removed) leaves nothing behind, however often that happens.

import Mail

// MARK: - Lines

extension Scheduler {
    mutating func link(_ ticket: Ticket, in lane: LaneNumber, first: Bool) {
        let neighbour = first ? lanes[lane].first : lanes[lane].last
        tickets[ticket].next = first ? neighbour : .null
        tickets[ticket].previous = first ? .null : neighbour
        guard neighbour != .null else {
            lanes[lane].first = ticket
            lanes[lane].last = ticket
            return
        }
        if first {
            tickets[neighbour].previous = ticket
            lanes[lane].first = ticket
        } else {
            tickets[neighbour].next = ticket
            lanes[lane].last = ticket
        }
    }

    mutating func unlink(_ ticket: Ticket, from lane: LaneNumber) {
        let (previous, next) = (tickets[ticket].previous, tickets[ticket].next)
        if previous == .null { lanes[lane].first = next } else { tickets[previous].next = next }
        if next == .null { lanes[lane].last = previous } else { tickets[next].previous = previous }
    }
}

// MARK: - Timers

extension Scheduler {
    mutating func startTimer(_ ticket: Ticket) {
        timers.append(ticket)
        rise(ticket, from: timers.count - 1)
    }

    mutating func stopTimer(_ ticket: Ticket) {
        let place = tickets[ticket].next.place
        let last = timers[timers.count - 1]
        timers.removeLast()
        guard last != ticket else { return }
        // The last one takes the place, and goes where it belongs from there.
        if place > 0, tickets[last].due < tickets[timers[(place - 1) / 2]].due {
            rise(last, from: place)
        } else {
            sink(last, from: place)
        }
    }

    private mutating func set(_ ticket: Ticket, at place: Int) {
        timers[place] = ticket
        tickets[ticket].next = Ticket(place: place)
    }

    private mutating func rise(_ ticket: Ticket, from start: Int) {
        let due = tickets[ticket].due
        var place = start
        while place > 0 {
            let parent = timers[(place - 1) / 2]
            guard due < tickets[parent].due else { break }
            set(parent, at: place)
            place = (place - 1) / 2
        }
        set(ticket, at: place)
    }

    private mutating func sink(_ ticket: Ticket, from start: Int) {
        let due = tickets[ticket].due
        var place = start
        while true {
            var child = 2 * place + 1
            guard child < timers.count else { break }
            if child + 1 < timers.count, tickets[timers[child + 1]].due < tickets[timers[child]].due {
                child += 1
            }
            guard tickets[timers[child]].due < due else { break }
            set(timers[child], at: place)
            place = child
        }
        set(ticket, at: place)
    }
}
