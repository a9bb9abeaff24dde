// MailQueue+Travel.swift — a message that goes to another relay, and one that comes from there.
//
// Guarantees: from before its bytes leave until it is known that the other relay has it, or has it not, a message is held by a
// mark that survives a restart; it ends here only after that. One that comes is held until everything of it is durable, what
// became of it so far included, and until whoever called has written down that it came.

import History
package import Mail
package import NIOCore
package import Storage
import Synchronization

/// What became of the wish to hand a message to another relay.
package enum LeaveAnswer: Sendable {
    /// It is marked, and its bytes may be sent.
    case packed(PackedMessage)
    case notFound
    /// A session has it; it is marked, and nobody takes it when that ends.
    case inFlight
    /// It is to bounce here, unless somebody revives it.
    case dying
    /// It is on its way to another one, and may be there.
    case elsewhere(String)
}

/// What a message that comes may be called here.
package enum ArrivalName: Hashable, Sendable {
    case free(QueueID)
    /// It came before, and that was not written down.
    case halfway(QueueID)
}

extension MailQueue {
    /// No mail is taken, other than reports of ours, until this is said otherwise or the process ends.
    package var isClosed: Bool {
        get { takesNoMail.load(ordering: .relaxed) }
        set { takesNoMail.store(newValue, ordering: .relaxed) }
    }

    // MARK: leaving

    /// Marks a message as on its way to another relay, and gives all of it.
    ///
    /// Blocks until the mark is durable.
    /// - Parameter peer: what to call that relay, without blanks and commas.
    package func depart(_ id: QueueID, to peer: String, wall: Timestamp = .now()) throws(QueueError) -> LeaveAnswer {
        awaitRecovery(of: [id])
        let (before, isNew): (Hold?, Bool)
        switch mark(id, peer, wall) {
        case .refused(let answer): return answer
        case .marked(let new, let known): (before, isNew) = (known, new)
        }
        // One that somebody else has just made may not be written yet.
        do throws(QueueError) { try saveHolds([id]) } catch {
            if isNew { state.withLock { $0.rehold(id, before, at: .now()) } }
            wakeDispatcher()
            throw error
        }
        let found: (MessageEntry, DeliveryState, Hold?)? = state.withLock { state in
            guard let slot = state.slot(of: id), let entry = state[slot],
                !state.tickets(of: entry).contains(where: { state.scheduler.isInFlight($0) })
            else { return nil }
            let known = state.deliveryState(of: slot, now: .now(), wall: wall)
            return (entry, known, state.holds[id]?.beforeLeaving)
        }
        guard let (entry, known, hold) = found else { return has(id) ? .inFlight : .notFound }
        let message = if let resident = entry.resident { resident } else { try readBack(id, at: entry.location) }
        return .packed(PackedMessage(message, known.hasNothing ? DeliveryState() : known, hold))
    }

    private enum Marking {
        case refused(LeaveAnswer)
        case marked(isNew: Bool, before: Hold?)
    }

    private func mark(_ id: QueueID, _ peer: String, _ wall: Timestamp) -> Marking {
        state.withLock { state in
            guard state.slot(of: id) != nil else { return .refused(.notFound) }
            let before = state.holds[id]
            if before?.isDying == true { return .refused(.dying) }
            if let other = before?.destination {
                return other.isSame(octets: peer)
                    ? .marked(isNew: false, before: nil) : .refused(.elsewhere(other))
            }
            _ = state.hold(id, Hold.leaving(to: peer, before: before, at: wall))
            return .marked(isNew: true, before: before)
        }
    }

    /// Ends a message here that another relay has.
    ///
    /// Blocks until that is durable.
    /// - Returns: `held` when it does not bear that relay's mark: somebody released it.
    package func departed(_ id: QueueID, to peer: String) throws(QueueError) -> CommandResult {
        awaitRecovery(of: [id])
        var facts = Facts.none
        if keepsHistory {
            var left = CommandFact(.left, at: .now())
            left.subject = peer
            facts = Facts(.command(left))
        }
        let (result, freed): (CommandResult, Int) = state.withLock { state in
            guard state.slot(of: id) != nil else { return (.notFound, 0) }
            guard let mark = state.holds[id]?.destination, mark.isSame(octets: peer) else { return (.held, 0) }
            let claim = state.claim(id)
            guard case .claimed = claim else { return (claim.result, 0) }
            return (.done, drop(id, facts, with: nil, in: &state))
        }
        memory.release(freed)
        guard result == .done || result == .notFound else { return result }
        wakeDispatcher()
        guard store.confirm() else { throw .broken("that message \(id) has left could not be written") }
        return result
    }

    /// Lets a message go on here that another relay has not taken, as it was before.
    ///
    /// Blocks.
    package func stay(_ id: QueueID, insteadOf peer: String) throws(QueueError) -> CommandResult {
        awaitRecovery(of: [id])
        let result: CommandResult = state.withLock { state in
            guard state.slot(of: id) != nil else { return .notFound }
            guard let mark = state.holds[id], mark.destination?.isSame(octets: peer) == true else { return .unchanged }
            state.rehold(id, mark.beforeLeaving, at: .now())
            return .done
        }
        wakeDispatcher()
        if result == .done { try saveHolds([id]) }
        return result
    }

    // MARK: arriving

    /// A name for a message that comes: its own, unless that is another's here.
    ///
    /// Blocks.
    /// - Parameter fingerprint: of the message.
    package func name(for id: QueueID, _ fingerprint: String) throws(QueueError) -> ArrivalName {
        var name = store.own(id)
        if let known = try look(name, fingerprint) { return known }
        // Names made here count from zero in each millisecond: in its upper half nobody is met but others that came.
        name = QueueID(rawValue: id.rawValue | 0x80000)
        while true {
            name = store.own(name)
            if let known = try look(name, fingerprint) { return known }
            name = QueueID(rawValue: name.rawValue + 1)
        }
    }

    /// - Returns: nil when it is another message's.
    private func look(_ name: QueueID, _ fingerprint: String) throws(QueueError) -> ArrivalName? {
        let (isKnown, hold) = state.withLock { state in
            (state.slot(of: name) != nil || state.arriving[name] != nil, state.holds[name])
        }
        if isKnown { return hold?.isArriving(fingerprint) == true ? .halfway(name) : nil }
        guard hold == nil else { return nil }
        return try store.isUsed(name) ? nil : .free(name)
    }

    /// A message is here that came from another relay, and waits for the end of that.
    package func isArriving(_ id: QueueID, _ fingerprint: String) -> Bool {
        state.withLock { $0.slot(of: id) != nil && $0.holds[id]?.isArriving(fingerprint) == true }
    }

    /// Takes a message in that another relay had, and keeps it held as one that arrives.
    ///
    /// - Parameters:
    ///   - message: under its name here; its resident bytes were reserved in ``memory``.
    ///   - known: what became of it so far.
    /// - Returns: once it is durable (nil), or could not be.
    package func bring(_ message: NewMessage, _ known: DeliveryState, on loop: any EventLoop) async -> QueueError? {
        lastID.withLock { $0 = max($0, message.id) }
        return await withCheckedContinuation { continuation in
            var arrival = Arrival(message: message, entrance: .api, loop: loop) { continuation.resume(returning: $0) }
            arrival.known = known
            state.withLock { state in
                state.arriving[message.id] = arrival
                store.append(message)
            }
        }
    }

    /// Waits until what became of a message so far is durable as well.
    ///
    /// Blocks.
    /// - Parameter peer: where it comes from, for history.
    package func settleArrival(_ id: QueueID, _ known: DeliveryState, from peer: String?) throws(QueueError) {
        var facts = Facts.none
        if keepsHistory {
            var arrived = CommandFact(.arrived, at: .now())
            arrived.subject = peer
            facts = Facts(.command(arrived))
        }
        if known != DeliveryState() {
            store.append(known, of: id, facts)
        } else if !facts.isEmpty {
            store.append(facts, of: id)
        }
        guard store.confirm() else { throw .broken("what is known of message \(id) could not be written") }
    }

    /// Lets a message go on that has arrived, or holds it by what held it before.
    ///
    /// Blocks.
    package func release(arrived id: QueueID, _ hold: Hold?) throws(QueueError) {
        let isHere = state.withLock { state in
            guard state.slot(of: id) != nil else { return false }
            state.rehold(id, hold, at: .now())
            return true
        }
        wakeDispatcher()
        guard isHere else { return }
        try saveHolds([id])
        if let hold { tell(hold, of: id) }
    }

    /// Gives back the name of a message that does not come.
    ///
    /// Blocks.
    package func giveBack(arriving id: QueueID) {
        let isGone = state.withLock { state in
            guard state.slot(of: id) == nil, state.arriving[id] == nil else { return false }
            state.holds[id] = nil
            return true
        }
        if isGone { try? saveHolds([id]) }
    }

    /// Takes back a message that did not arrive as a whole; another copy of it comes.
    ///
    /// Blocks.
    package func giveUp(arriving id: QueueID) {
        let freed = state.withLock { state -> Int in
            guard case .claimed = state.claim(id) else { return 0 }
            return drop(id, keepsHistory ? Facts(.time(.now())) : .none, with: nil, in: &state)
        }
        memory.release(freed)
        _ = store.confirm()
    }
}

extension DeliveryState {
    /// It says nothing but when it was noted.
    fileprivate var hasNothing: Bool { waiting.isEmpty && done.isEmpty && !delayReported }
}
