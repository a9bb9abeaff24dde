// MailQueue+Delivery.swift — what sessions and the dispatcher ask: work, and what became of it.

import Glibc
package import Mail
import NIOCore
import NIOPosix
package import Storage
import Synchronization

extension MailQueue {
    /// Messages read from disk in one go when a lane's next one is not in memory.
    private static let readAhead = 32
    /// Bytes after which reading ahead stops.
    private static let readAheadBytes = 1 << 20
    /// Parcels that a session finds it may not carry, in one go.
    private static let mostAside = 64

    /// What is to be done now; each grant is answered, see ``Scheduler/turn(at:)``.
    package func turn(at now: Uptime) -> Turn { state.withLock { $0.scheduler.turn(at: now) } }

    /// Lanes that answered to an earlier process, by their descriptions.
    package func recall(_ lanes: Set<String>) { state.withLock { $0.scheduler.recall(lanes) } }

    /// An opening of the lane knows where to go: it waits for a slot, which a later ``turn(at:)`` grants.
    package func lookedUp(_ lane: Lane, _ lookUp: UInt64? = nil) {
        state.withLock { $0.scheduler.poise(lane, lookUp) }
        wakeDispatcher()
    }

    /// An opening of the lane without a slot is over.
    ///
    /// - Parameter isPoised: it waited for its slot.
    package func lookUpEnded(_ lane: Lane, _ lookUp: UInt64?, isPoised: Bool) {
        state.withLock { state in
            if isPoised { state.scheduler.unpoise(lane) } else { state.scheduler.lookUpEnded(lane, lookUp) }
        }
        wakeDispatcher()
    }

    /// The session of an opening stands.
    package func reached(_ opening: Opening, at now: Uptime) {
        state.withLock { $0.scheduler.reached(opening, at: now) }
        wakeDispatcher()
    }

    /// No session stands at the end of an opening.
    ///
    /// - Parameter looksOn: it goes on to another host, without a slot as yet.
    package func openingEnded(_ opening: Opening, looksOn: Bool) {
        state.withLock { $0.scheduler.openingEnded(opening, looksOn: looksOn) }
        wakeDispatcher()
    }

    /// A session that stood is gone.
    ///
    /// - Parameters:
    ///   - carried: messages that it was given.
    ///   - wasLeaving: it was asked to end: by ``NextParcel/yield``, or by ``endsIdle(_:)``.
    ///   - looksOn: what it could not deliver goes on to another host, without a slot as yet.
    /// - Returns: whether the lane opens many sessions and delivers little.
    package func sessionEnded(_ lane: Lane, carried: Int, wasLeaving: Bool, looksOn: Bool) -> Bool {
        let isFruitless = state.withLock {
            $0.scheduler.sessionEnded(lane, carried: carried, wasLeaving: wasLeaving, looksOn: looksOn)
        }
        // Its slot is free: for this lane's next parcel, or for a lane that waited for a slot.
        wakeDispatcher()
        return isFruitless
    }

    /// A session without work may end, to make room for others; then it is counted as leaving.
    ///
    /// - Parameter onlySurplus: only where the lane has more sessions than it may.
    /// - Returns: false where work is on its way to it.
    package func endsIdle(_ lane: Lane, onlySurplus: Bool) -> Bool {
        state.withLock { state in
            guard !state.loadingLanes.contains(lane), !onlySurplus || state.scheduler.hasTooMany(lane) else {
                return false
            }
            state.scheduler.endsIdle(lane)
            return true
        }
    }

    /// What a ready session of this lane should carry now.
    ///
    /// - Parameters:
    ///   - carried: messages that it was given so far.
    ///   - held: milliseconds since it stands.
    package func next(for lane: Lane, carried: Int, held: Int64, at now: Uptime) -> NextParcel {
        for _ in 0..<Self.mostAside {
            if let answer = step(for: lane, carried: carried, held: held, at: now) { return answer }
        }
        wakeDispatcher()
        return .none
    }

    /// - Returns: nil when a parcel was put aside for a limit or a pause: the next one may leave.
    private func step(for lane: Lane, carried: Int, held: Int64, at now: Uptime) -> NextParcel? {
        var missing: [Ticket] = []
        var freed = 0
        let answer: NextParcel? = state.withLock { state in
            guard now <= state.leaseEnd else { return NextParcel.none }
            let ticket: Ticket
            switch state.scheduler.next(for: lane, carried: carried, held: held, at: now) {
            case .yield: return .yield
            case .idle: return state.loadingLanes.contains(lane) ? .loading : NextParcel.none
            case .carry(let next): ticket = next
            }
            if let (parcel, message) = state.resident(ticket) {
                guard state.scheduler.isMetered else { return .carry(Assignment(parcel, of: message)) }
                if state.scheduler.asksMail, let bytes = state.putAside(ticket, message.envelope, at: now) {
                    freed = bytes
                    return nil
                }
                state.scheduler.sent(ticket, at: now)
                let most = state.scheduler.mostRecipients(of: ticket)
                return .carry(Assignment(parcel, of: message, mostRecipients: most))
            }
            guard state.loadingLanes.insert(lane).inserted else {
                state.scheduler.putBack(ticket)
                return .loading
            }
            missing = state.ticketsToLoad(ticket, atMost: Self.readAhead, now: now)
            return .loading
        }
        if !missing.isEmpty { read(missing, of: lane) }
        if freed > 0 { memory.release(freed) }
        return answer
    }

    /// Reads one message for a parcel in flight.
    ///
    /// Blocks: use ``disk``.
    ///
    /// - Throws: ``QueueError``; after `.damaged` the message is gone from the queue, set aside by the store.
    package func load(_ parcel: Parcel) throws(QueueError) -> Assignment {
        let place = state.withLock { state in
            state.slot(of: parcel.id.message).flatMap { state[$0] }.map { ($0.resident, $0.location) }
        }
        guard let (resident, location) = place else {
            throw .damaged("message \(parcel.id.message) is not in the queue")
        }
        if let resident { return Assignment(parcel, of: resident) }
        do throws(QueueError) {
            return Assignment(parcel, of: try readBack(parcel.id.message, at: location))
        } catch {
            if case .damaged = error { forget(parcel.id.message) }
            throw error
        }
    }

    /// Takes the due parcels of a lane that cannot be reached; the caller settles each.
    package func takeDue(in lane: Lane, atMost limit: Int, at now: Uptime) -> [Parcel] {
        let (parcels, freed): ([Parcel], Int) = state.withLock { state in
            var freed = 0
            let parcels = state.scheduler.takeDue(in: lane, atMost: limit, at: now).compactMap { state.describe($0) }
            for parcel in parcels {
                if let slot = state.slot(of: parcel.id.message) { freed += state.dropResident(slot) }
            }
            return (parcels, freed)
        }
        memory.release(freed)
        return parcels
    }

    /// A session could not be opened while the lane has others: they carry on, and no further one is tried for a while.
    ///
    /// A peer that takes three sessions and refuses the fourth is no unreachable peer.
    /// - Returns: false when there is no other; then nothing has changed, and the lane cannot be reached.
    package func surplusRefused(_ lane: Lane, at now: Uptime) -> Bool {
        state.withLock { $0.scheduler.surplusRefused(lane, at: now) }
    }

    /// A session was turned away for load.
    ///
    /// - Returns: whether the lane delivers all the same, so that the message is due again and nobody is deferred.
    package func turnedAway(_ lane: Lane, at now: Uptime) -> Bool {
        state.withLock { $0.scheduler.turnedAway(lane, at: now) }
    }

    /// The next hop answered to a parcel in flight without taking it.
    ///
    /// - Parameter isFinal: it refused it for good.
    package func answered(_ parcel: Parcel, isFinal: Bool, at now: Uptime) {
        state.withLock { state in
            guard state.scheduler.isInFlight(parcel.id.ticket) else { return }
            state.scheduler.answered(parcel.id.ticket, isFinal: isFinal, at: now)
        }
    }

    /// The lane could not be reached: it rests, one second at least and longer each time.
    ///
    /// - Parameter said: what it said, or what was found.
    package func rest(_ lane: Lane, because said: String? = nil, at now: Uptime) {
        state.withLock { $0.scheduler.rest(lane, because: said, at: now) }
        wakeDispatcher()
    }

    /// When the dispatcher has to look again without being woken.
    package var nextWakeup: Uptime? { state.withLock { $0.scheduler.nextWakeup } }

    /// What became of a parcel in flight.
    ///
    /// - Parameters:
    ///   - done: recipients that are finished: delivered, bounced with their report on disk, or dropped.
    ///   - bounced: those of them that were not delivered.
    ///   - isDiscarded: they neither came anywhere nor failed, and the traffic counts nobody.
    ///   - deferred: recipients to try again later.
    ///   - facts: for history, durable when this is.
    ///   - tray: reports about it, durable when this is.
    ///
    /// Recipients in neither are due again at once: the session ended before their turn.
    /// - Returns: whether the message is finished, all its parcels together.
    @discardableResult
    package func settle(
        _ parcel: Parcel,
        done: [UInt32],
        bounced: [UInt32] = [],
        isDiscarded: Bool = false,
        deferred: Deferral?,
        facts: Facts = .none,
        with tray: ReportTray? = nil,
        at now: Uptime,
        wall: Timestamp
    ) -> Bool {
        defer { discard(tray) }
        var freed = 0
        // Some recipients are due at once, or earlier than the dispatcher means to look.
        var wakes = false
        var (isFinished, isLeftToDie) = (false, false)
        let compact: Bool = state.withLock { state in
            guard let slot = state.slot(of: parcel.id.message), state.scheduler.isInFlight(parcel.id.ticket) else {
                return false
            }
            state.traffic.count(
                delivered: done.count - bounced.count,
                bounced: isDiscarded ? 0 : bounced.count,
                deferred: deferred.map { $0.kind == .asked ? 0 : $0.recipients.count } ?? 0,
                at: now
            )
            let failed = isDiscarded ? 0 : bounced.count
            state.tally.finished(state[slot]?.login ?? 0, delivered: done.count - bounced.count, bounced: failed)
            if done.count > bounced.count {
                state.scheduler.answered(parcel.id.ticket, isFinal: true, at: now)
            }
            let whole = done.count == parcel.recipients.count
            if whole {
                state.removeParcel(parcel.id.ticket)
            } else {
                let wakeup = state.scheduler.nextWakeup
                wakes = state.reschedule(parcel, done: done, deferred: deferred, at: now, wall: wall)
                if let next = state.scheduler.nextWakeup, wakeup.map({ next < $0 }) ?? true { wakes = true }
            }
            isFinished = state[slot]?.openParcels == 0
            if !isFinished { state.note(done: done, bounced: bounced, of: slot) }
            isLeftToDie = !state.condemned.isEmpty && !isFinished && state.isLeftToDie(slot)
            freed = record(slot, done: done, in: &state, deferred: deferred, facts, tray, now: now, wall: wall)
            return startsCompaction(&state)
        }
        if isLeftToDie { letDie(parcel.id.message) }
        memory.release(freed)
        if compact { compactInBackground() }
        if wakes { wakeDispatcher() }
        return isFinished
    }

    /// Notes progress of a message on disk.
    ///
    /// - Returns: bytes of memory it no longer holds.
    private func record(
        _ slot: Slot,
        done: [UInt32],
        in state: inout QueueState,
        deferred: Deferral?,
        _ facts: Facts,
        _ tray: ReportTray?,
        now: Uptime,
        wall: Timestamp
    ) -> Int {
        guard var entry = state[slot] else { return 0 }
        if entry.isMoving, !facts.isEmpty { store.append(facts, of: entry.id) }
        if entry.openParcels == 0 {
            guard !entry.isMoving else {
                state[slot]?.changedWhileMoving = true
                return state.dropResident(slot)
            }
            append(.end(entry.location), of: entry.id, facts, with: tray, in: &state)
            return state.removeMessage(slot)
        }
        guard !done.isEmpty || deferred != nil else { return 0 }
        if deferred?.delayReported == true { entry.delayReported = true }
        entry.changedWhileMoving = entry.isMoving
        state[slot] = entry
        if !entry.isMoving {
            let note = JointNote.Note.state(state.deliveryState(of: slot, now: now, wall: wall))
            append(note, of: entry.id, facts, with: tray, in: &state)
        }
        return deferred == nil ? 0 : state.dropResident(slot)
    }

    /// Removes a message whose bytes are beyond reading; the store has set aside what there was.
    func forget(_ id: QueueID) {
        let freed = state.withLock { state in
            guard let slot = state.slot(of: id) else { return 0 }
            while let ticket = state[slot]?.firstParcel, ticket != .null { state.removeParcel(ticket) }
            return state.removeMessage(slot)
        }
        memory.release(freed)
    }

    /// Reads messages on the disk pool and puts them at the head of their lane's line.
    private func read(_ tickets: [Ticket], of lane: Lane) {
        let places = state.withLock { state in
            tickets.compactMap { ticket in
                state.describe(ticket).flatMap { parcel in
                    state.slot(of: parcel.id.message).flatMap { state[$0] }.map { (parcel: parcel, at: $0.location) }
                }
            }
        }
        disk.submit { _ in
            var budget = Self.readAheadBytes
            var loaded: [(Parcel, NewMessage)] = []
            var unread: [Parcel] = []
            for (parcel, location) in places {
                guard budget > 0 else {
                    unread.append(parcel)
                    continue
                }
                do throws(QueueError) {
                    let message = try self.readBack(parcel.id.message, at: location)
                    budget -= message.residentBytes
                    loaded.append((parcel, message))
                } catch {
                    self.unreadable(parcel, error)
                }
            }
            self.arrived(loaded, unread, in: lane)
        }
    }

    /// Reads a message; if compaction moves it meanwhile, from where it has gone.
    ///
    /// Blocks.
    func readBack(_ id: QueueID, at location: Location) throws(QueueError) -> NewMessage {
        try reading(id, at: location) { location throws(QueueError) in
            let message = try store.read(id, at: location)
            guard fits(message.envelope, id) else {
                store.setAside(id, at: location, because: "has other recipients than were known of it")
                throw .damaged("message \(id) has other recipients than were known of it")
            }
            return message
        }
    }

    /// Reads a message's envelope; if compaction moves it meanwhile, from where it has gone.
    ///
    /// Blocks.
    func readEnvelope(_ id: QueueID, at location: Location) throws(QueueError) -> Envelope {
        try reading(id, at: location) { location throws(QueueError) in
            let envelope = try store.readEnvelope(id, at: location)
            guard fits(envelope, id) else { throw .damaged("message \(id) has other recipients than were known of it") }
            return envelope
        }
    }

    /// Parcels name recipients by their places in the envelope: it must have as many as when it was filed.
    private func fits(_ envelope: Envelope, _ id: QueueID) -> Bool {
        let count = state.withLock { state in state.slot(of: id).flatMap { state[$0]?.recipientCount } }
        return count.map { Int($0) == envelope.recipients.count } ?? true
    }

    /// Reads something of a message; if compaction moves it meanwhile, from where it has gone.
    ///
    /// The old segment may be given back a moment before the index knows the new place. Blocks.
    func reading<Value>(
        _ id: QueueID,
        at location: Location,
        _ read: (Location) throws(QueueError) -> Value
    ) throws(QueueError) -> Value {
        var location = location
        var patience = 1000  // milliseconds
        while true {
            do throws(QueueError) {
                return try read(location)
            } catch {
                let entry = state.withLock { state in state.slot(of: id).flatMap { state[$0] } }
                guard case .broken = error, let entry, patience > 0, entry.isMoving || entry.location != location
                else { throw error }
                if entry.location == location { usleep(1000) }
                patience -= 1
                location = entry.location
            }
        }
    }

    private func arrived(_ loaded: [(Parcel, NewMessage)], _ unread: [Parcel], in lane: Lane) {
        state.withLock { state in
            state.loadingLanes.remove(lane)
            for parcel in unread.reversed() where state.scheduler.isInFlight(parcel.id.ticket) {
                state.putBack(parcel.id.ticket)
            }
            for (parcel, resident) in loaded.reversed() {
                guard let slot = state.slot(of: parcel.id.message) else { continue }
                if state[slot]?.resident == nil {
                    state[slot]?.resident = resident
                    memory.force(resident.residentBytes)
                }
                state.putBack(parcel.id.ticket)
            }
        }
        wakeDispatcher()
    }

    /// A damaged message leaves the queue; one that could not be read now is tried again in a minute.
    private func unreadable(_ parcel: Parcel, _ error: QueueError) {
        if case .damaged = error { return forget(parcel.id.message) }
        let now = Uptime.now()
        state.withLock { state in
            guard state.slot(of: parcel.id.message) != nil, state.scheduler.isInFlight(parcel.id.ticket) else { return }
            state.scheduler.postpone(parcel.id.ticket, until: now.adding(milliseconds: 60_000), at: now)
            state.holdAgain(parcel.id.ticket)
        }
        wakeDispatcher()
    }
}

extension QueueState {
    /// Puts a parcel in flight back to the head of its lane's line, or to where held ones are.
    mutating func putBack(_ ticket: Ticket) {
        scheduler.putBack(ticket)
        holdAgain(ticket)
    }

    /// A message may have been held while its parcel was in flight.
    mutating func holdAgain(_ ticket: Ticket) {
        if self[parcel(ticket).message]?.isHeld == true { scheduler.hold(ticket) }
    }

    /// The parcel and its message, when that is in memory.
    fileprivate func resident(_ ticket: Ticket) -> (Parcel, NewMessage)? {
        guard let resident = self[parcel(ticket).message]?.resident, let parcel = describe(ticket) else { return nil }
        return (parcel, resident)
    }

    /// The first parcel and those behind it in line that are not in memory either.
    fileprivate mutating func ticketsToLoad(_ first: Ticket, atMost limit: Int, now: Uptime) -> [Ticket] {
        var tickets = [first]
        while tickets.count < limit, let ticket = scheduler.next(behind: first, at: now) {
            guard self[parcel(ticket).message]?.resident == nil else {
                scheduler.putBack(ticket)
                break
            }
            tickets.append(ticket)
        }
        return tickets
    }

    /// Gives the recipients that are not done their next time.
    ///
    /// - Returns: whether some are due at once.
    fileprivate mutating func reschedule(
        _ parcel: Parcel,
        done: [UInt32],
        deferred: Deferral?,
        at now: Uptime,
        wall: Timestamp
    ) -> Bool {
        let ticket = parcel.id.ticket
        let finished = Set(done)
        let later = Set(deferred?.recipients ?? [])
        let again = parcel.recipients.filter { !finished.contains($0) && !later.contains($0) }
        let slot = self.parcel(ticket).message
        let lane = scheduler.lane(of: ticket)
        let nextTime = prepares ? lane.preparation : lane
        defer { removeParcel(ticket) }
        if !again.isEmpty {
            let next = addParcel(of: slot, again, to: lane, due: now, at: now)
            inherit(next, again, from: ticket)
        }
        if let deferred, !later.isEmpty {
            let due = now.adding(milliseconds: max(0, deferred.delay))
            let waiting = parcel.recipients.filter(later.contains)
            let next = addParcel(of: slot, waiting, to: nextTime, due: due, at: now)
            setParcel(next) {
                let kind: Deferral.Kind? = deferred.isExtra ? nil : deferred.kind
                $0.failures = UInt16(clamping: parcel.failures + (kind == .failure ? 1 : 0))
                $0.unreached = UInt16(clamping: parcel.unreached + (kind == .outOfReach ? 1 : 0))
            }
            if deferred.kind == .outOfReach { scheduler.strand(next) }
            note(deferred.rule, of: next)
            let told: [(recipient: UInt32, reply: LastReply?)] = waiting.map {
                ($0, deferred.otherReplies[$0] ?? deferred.reply)
            }
            setReplies(of: next, told, at: wall)
        }
        return !again.isEmpty
    }
}
