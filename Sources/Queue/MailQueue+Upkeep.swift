// MailQueue+Upkeep.swift — work in the background: moving mail where the store wants room, and parcelling again when routes changed.

import History
package import Mail
import NIOPosix
import Storage
import Synchronization

extension MailQueue {
    /// Whether messages should be moved now; at most one compaction runs.
    func startsCompaction(_ state: inout QueueState) -> Bool {
        guard !state.isCompacting, store.wantsRoom else { return false }
        state.isCompacting = true
        return true
    }

    func compactInBackground() {
        disk.submit { _ in
            while self.store.wantsRoom, self.compact() {}
            self.state.withLock { $0.isCompacting = false }
        }
    }

    /// Moves every message that lies where the store wants room, found in slices so that mail does not wait.
    ///
    /// - Returns: false when nothing was moved, so that a store that cannot write does not make us spin.
    private func compact() -> Bool {
        var moved = 0
        var start = 0
        while let ids = inTheWay(from: start) {
            start += Self.chunk
            for id in ids where move(id) { moved += 1 }
        }
        return moved > 0
    }

    private func inTheWay(from start: Int) -> [QueueID]? {
        state.withLock { state in
            guard start < state.messages.count else { return nil }
            return state.messages.keys(from: start, atMost: Self.chunk).compactMap { slot in
                state[slot].flatMap { store.isBeingEmptied($0.location) ? $0.id : nil }
            }
        }
    }

    private func move(_ id: QueueID) -> Bool {
        let (now, wall) = (Uptime.now(), Timestamp.now())
        let start: (Location, DeliveryState)? = state.withLock { state in
            guard let slot = state.slot(of: id), let entry = state[slot], store.isBeingEmptied(entry.location) else {
                return nil
            }
            state[slot]?.isMoving = true
            state[slot]?.changedWhileMoving = false
            return (entry.location, state.deliveryState(of: slot, now: now, wall: wall))
        }
        guard let (location, known) = start else { return false }
        let target: Location?
        do throws(QueueError) { target = try store.move(id, from: location, known) } catch { target = nil }
        state.withLock { state in
            guard let slot = state.slot(of: id), let entry = state[slot] else { return }
            state[slot]?.isMoving = false
            if let target { state[slot]?.location = target }
            guard entry.changedWhileMoving else { return }
            // What happened meanwhile must stand behind the copy in the log, or recovery would undo it.
            if entry.openParcels == 0 {
                store.appendSettled(id, at: target ?? location, keepsHistory ? Facts(.time(wall)) : .none)
                memory.release(state.removeMessage(slot))
            } else {
                store.append(state.deliveryState(of: slot, now: now, wall: wall), of: id)
            }
        }
        return target != nil
    }

    /// Messages looked at under one lock.
    private static let chunk = 512

    /// Asks for the lane of recipients again, after the route table changed.
    ///
    /// Blocks: use ``disk``.
    ///
    /// - Parameters:
    ///   - mayMove: whether mail of a lane may belong to another one now.
    ///   - leadsElsewhere: whether a lane stays and its next hop is another one; its messages are counted too.
    /// - Returns: how many messages have another next hop.
    @discardableResult
    package func reroute(
        _ mayMove: (Lane) -> Bool = { _ in true },
        counting leadsElsewhere: (Lane) -> Bool = { _ in false }
    ) -> Int {
        // What is filed from now on asks for its lane now; what is being filed may have asked before.
        awaitRecovery()
        var count = 0
        var start = 0
        while let found = affected(from: start, mayMove, leadsElsewhere) {
            start += Self.chunk
            count += found.elsewhere
            for (id, location, isCounted) in found.moving {
                guard let envelope = try? readEnvelope(id, at: location) else { continue }
                let hasMoved = state.withLock { $0.reroute(id, envelope, now: Uptime.now(), lane: laneOf) }
                if hasMoved, !isCounted { count += 1 }
            }
        }
        wakeDispatcher()
        return count
    }

    /// Makes due what was put off for one reason in some lanes, which rest no longer: the reason is gone.
    ///
    /// Blocks: use ``disk``.
    ///
    /// - Parameter lane: whether a lane is one of them.
    /// - Returns: how many messages are due now that were not.
    package func retry(after reason: FailureReason, in lane: (Lane) -> Bool, at now: Uptime = .now()) -> Int {
        awaitRecovery()
        var filter = QueueFilter()
        filter.reason = reason
        filter.states = [.tempFailed, .waiting]
        var lanes: Set<Lane> = []
        var ids: [QueueID] = []
        walk(filter, now: now, wall: .now()) { state, slot -> QueueID? in
            guard let entry = state[slot] else { return nil }
            let own = state.tickets(of: entry).map { state.scheduler.lane(of: $0) }.filter(lane)
            lanes.formUnion(own)
            return own.isEmpty ? nil : entry.id
        } visit: { part in
            ids += part
            return true
        }
        for lane in lanes { flush(lane, at: now) }
        return ids.count
    }

    private struct Affected {
        var moving: [(id: QueueID, location: Location, isCounted: Bool)] = []
        /// Messages with a parcel whose lane leads elsewhere.
        var elsewhere = 0
    }

    private func affected(
        from start: Int,
        _ mayMove: (Lane) -> Bool,
        _ leadsElsewhere: (Lane) -> Bool
    ) -> Affected? {
        state.withLock { state in
            guard start < state.messages.count else { return nil }
            var found = Affected()
            for slot in state.messages.keys(from: start, atMost: Self.chunk) {
                guard let entry = state[slot] else { continue }
                var (moves, isElsewhere) = (false, false)
                var ticket = entry.firstParcel
                while ticket != .null {
                    let lane = state.scheduler.lane(of: ticket)
                    moves = moves || mayMove(lane)
                    isElsewhere = isElsewhere || leadsElsewhere(lane)
                    ticket = state.parcel(ticket).sibling
                }
                if isElsewhere { found.elsewhere += 1 }
                if moves { found.moving.append((entry.id, entry.location, isElsewhere)) }
            }
            return found
        }
    }
}

extension QueueState {
    /// Parcels in flight keep their lane; the others are regrouped where a recipient's next hop changed.
    ///
    /// - Returns: whether one was.
    fileprivate mutating func reroute(
        _ id: QueueID,
        _ envelope: Envelope,
        now: Uptime,
        lane: MailQueue.LaneOf
    ) -> Bool {
        guard let slot = slot(of: id), let entry = self[slot] else { return false }
        var hasMoved = false
        var ticket = entry.firstParcel
        while ticket != .null {
            let (parcel, next) = (parcel(ticket), parcel(ticket).sibling)
            if !scheduler.isInFlight(ticket),
                regroup(ticket, parcel, of: slot, envelope, now: now, lane: lane)
            {
                hasMoved = true
            }
            ticket = next
        }
        return hasMoved
    }

    private mutating func regroup(
        _ ticket: Ticket,
        _ parcel: ParcelEntry,
        of slot: Slot,
        _ envelope: Envelope,
        now: Uptime,
        lane: MailQueue.LaneOf
    ) -> Bool {
        let prepares = prepares
        let groups = parcelling(recipients(of: ticket), limit: options.recipientsPerParcel) {
            Self.firstLane($0, envelope, prepares: prepares, lane)
        }
        guard groups.count > 1 || !(groups.first.map { scheduler.isPlaced(ticket, in: $0.lane) } ?? false) else {
            return false
        }
        let due = scheduler.due(ticket) ?? now
        defer { removeParcel(ticket) }
        for group in groups {
            let new = addParcel(of: slot, group.recipients, to: group.lane, due: due, at: now)
            inherit(new, group.recipients, from: ticket)
        }
        return true
    }
}
