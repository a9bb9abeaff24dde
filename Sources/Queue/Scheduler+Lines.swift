// Scheduler+Lines.swift — the two places where a parcel that nobody carries can be: a lane's line, and among the timers.
//
// Both are kept inside the tickets themselves: four bytes more for each that waits, and a parcel that leaves its place early
// (flushed, held, removed) leaves nothing behind, however often that happens.

import Mail

// MARK: - Lines

extension Scheduler {
    mutating func link(_ ticket: Ticket, in lane: Int, first: Bool) {
        let neighbour = first ? lanes[lane].first : lanes[lane].last
        tickets[Int(ticket)].next = first ? neighbour : .max
        tickets[Int(ticket)].previous = first ? .max : neighbour
        guard neighbour != .max else {
            lanes[lane].first = ticket
            lanes[lane].last = ticket
            return
        }
        if first {
            tickets[Int(neighbour)].previous = ticket
            lanes[lane].first = ticket
        } else {
            tickets[Int(neighbour)].next = ticket
            lanes[lane].last = ticket
        }
    }

    mutating func unlink(_ ticket: Ticket, from lane: Int) {
        let (previous, next) = (tickets[Int(ticket)].previous, tickets[Int(ticket)].next)
        if previous == .max { lanes[lane].first = next } else { tickets[Int(previous)].next = next }
        if next == .max { lanes[lane].last = previous } else { tickets[Int(next)].previous = previous }
    }
}

// MARK: - Timers

extension Scheduler {
    mutating func startTimer(_ ticket: Ticket) {
        timers.append(ticket)
        rise(ticket, from: timers.count - 1)
    }

    mutating func stopTimer(_ ticket: Ticket) {
        let place = Int(tickets[Int(ticket)].next)
        let last = timers[timers.count - 1]
        timers.removeLast()
        guard last != ticket else { return }
        // The last one takes the place, and goes where it belongs from there.
        if place > 0, tickets[Int(last)].due < tickets[Int(timers[(place - 1) / 2])].due {
            rise(last, from: place)
        } else {
            sink(last, from: place)
        }
    }

    private mutating func set(_ ticket: Ticket, at place: Int) {
        timers[place] = ticket
        tickets[Int(ticket)].next = Ticket(place)
    }

    private mutating func rise(_ ticket: Ticket, from start: Int) {
        let due = tickets[Int(ticket)].due
        var place = start
        while place > 0 {
            let parent = timers[(place - 1) / 2]
            guard due < tickets[Int(parent)].due else { break }
            set(parent, at: place)
            place = (place - 1) / 2
        }
        set(ticket, at: place)
    }

    private mutating func sink(_ ticket: Ticket, from start: Int) {
        let due = tickets[Int(ticket)].due
        var place = start
        while true {
            var child = 2 * place + 1
            guard child < timers.count else { break }
            if child + 1 < timers.count, tickets[Int(timers[child + 1])].due < tickets[Int(timers[child])].due {
                child += 1
            }
            guard tickets[Int(timers[child])].due < due else { break }
            set(timers[child], at: place)
            place = child
        }
        set(ticket, at: place)
    }
}
