// MailQueue+Listing.swift — looking into the queue: pages, streams, one message.
//
// Everything here blocks, on disk reads and between slices of the lock; call it on a thread that may. The lock is held for
// a few hundred messages at a time, so that mail does not wait for somebody who looks at it.

package import Mail
import NIOCore
package import Storage
import Synchronization

/// What the index knows of a message for its row.
struct RowFacts: Sendable {
    let entry: MessageEntry
    let state: QueuedState
    let attempts: Int
    let due: Uptime?
    let attemptedAt: UInt32
    let lanes: [Lane]
    let reply: LastReply?
    let hold: Hold?
}

extension MailQueue {
    /// Messages looked at in one go while the lock is held.
    private static let slice = 512
    /// Envelopes read before the first page of a listing that they decide, so that its total is true.
    private static let mostRead = 5000
    /// Rows of one page at most.
    package static let longestPage = 1000

    /// A page of a listing.
    ///
    /// The first page fixes which messages the listing holds; those that leave the queue meanwhile are left out.
    /// - Parameters:
    ///   - filter: of the first page; further pages go on with theirs.
    ///   - cursor: ``QueuePage/next`` of the page before; nil for the first.
    ///   - limit: rows, at most ``longestPage``.
    /// - Throws: ``ListingError`` for a cursor that is not, or no longer, known.
    package func list(
        _ filter: QueueFilter,
        sort: QueueSort = QueueSort(),
        after cursor: String? = nil,
        limit: Int,
        at now: Uptime = .now(),
        wall: Timestamp = .now()
    ) throws(ListingError) -> QueuePage {
        let place: ListCursor
        let snapshot: ListSnapshots.Snapshot
        if let cursor {
            guard let known = ListCursor(cursor) else { throw .unknownCursor }
            guard let found = snapshots.withLock({ $0.use(known.snapshot, at: now) }) else { throw .expired }
            guard known.position <= found.end else { throw .unknownCursor }
            (place, snapshot) = (known, found)
        } else if filter.isEmpty, sort.key == .queuedAt {
            guard awaitRecovery() else { throw .stillReading }
            let last = lastID.withLock { $0 }
            let total = state.withLock { $0.messageCount }
            let walk = ListSnapshots.Walk(last: last, isDescending: sort.isDescending, total: total)
            let number = snapshots.withLock { $0.add([], filter, isExact: true, walk: walk, at: now) }
            snapshot = ListSnapshots.Snapshot(ids: [], filter: filter, isExact: true, usedAt: now, walk: walk)
            place = ListCursor(snapshot: number, position: sort.isDescending ? snapshot.end : 0)
        } else {
            guard awaitRecovery() else { throw .stillReading }
            var ids = sorted(filter, by: sort, at: now, wall: wall)
            let isExact = !filter.needsEnvelope || ids.count <= Self.mostRead
            if filter.needsEnvelope, isExact {
                ids = ids.filter { id in
                    let facts = state.withLock { state in state.slot(of: id).flatMap { state.facts(of: $0) } }
                    return facts.flatMap { row($0, filter, now: now, wall: wall) } != nil
                }
            }
            let number = snapshots.withLock { [ids] in $0.add(ids, filter, isExact: isExact, at: now) }
            place = ListCursor(snapshot: number, position: 0)
            snapshot = ListSnapshots.Snapshot(ids: ids, filter: filter, isExact: isExact, usedAt: now)
        }
        let limit = min(max(1, limit), Self.longestPage)
        if let walk = snapshot.walk { return page(of: walk, from: place, limit: limit, now: now, wall: wall) }
        return page(of: snapshot, from: place, limit: limit, now: now, wall: wall)
    }

    /// A page of all messages: it costs what its rows cost, however many there are.
    private func page(
        of walk: ListSnapshots.Walk,
        from place: ListCursor,
        limit: Int,
        now: Uptime,
        wall: Timestamp
    ) -> QueuePage {
        var rows: [QueueRow] = []
        var last = QueueID(rawValue: UInt64(bitPattern: Int64(place.position)))
        var isOver = false
        while rows.count < limit, !isOver {
            let wanted = limit - rows.count
            // One more tells whether there is a next page.
            let facts = state.withLock { state in
                state.byID.slots(behind: last, descending: walk.isDescending, atMost: wanted + 1).compactMap {
                    state.facts(of: $0)
                }
            }
            .prefix { $0.entry.id <= walk.last }
            isOver = facts.count <= wanted
            for fact in facts.prefix(wanted) {
                last = fact.entry.id
                if let row = row(fact, QueueFilter(), now: now, wall: wall) { rows.append(row) }
            }
        }
        if isOver { snapshots.withLock { $0.remove(place.snapshot) } }
        let next = ListCursor(snapshot: place.snapshot, position: Int(truncatingIfNeeded: last.rawValue))
        return QueuePage(rows: rows, next: isOver ? nil : next.text, total: walk.total, isTotalExact: true)
    }

    private func page(
        of snapshot: ListSnapshots.Snapshot,
        from place: ListCursor,
        limit: Int,
        now: Uptime,
        wall: Timestamp
    ) -> QueuePage {
        var rows: [QueueRow] = []
        var position = place.position
        while rows.count < limit, position < snapshot.ids.count {
            let end = min(position + limit - rows.count, snapshot.ids.count)
            let facts = state.withLock { state in
                snapshot.ids[position..<end].compactMap { id in state.slot(of: id).flatMap { state.facts(of: $0) } }
            }
            for fact in facts {
                if let row = row(fact, snapshot.filter, now: now, wall: wall) { rows.append(row) }
            }
            position = end
        }
        let isOver = position >= snapshot.ids.count
        if isOver { snapshots.withLock { $0.remove(place.snapshot) } }
        return QueuePage(
            rows: rows,
            next: isOver ? nil : ListCursor(snapshot: place.snapshot, position: position).text,
            total: snapshot.ids.count,
            isTotalExact: snapshot.isExact
        )
    }

    /// Visits messages one by one, in no particular order, in memory that does not grow with their number.
    ///
    /// A message that is in the queue from the beginning to the end is visited exactly once; one that comes
    /// after the beginning is left out.
    /// - Parameter body: called without a lock held; false ends the walk.
    package func forEach(
        _ filter: QueueFilter,
        at now: Uptime = .now(),
        wall: Timestamp = .now(),
        _ body: (QueueRow) -> Bool
    ) {
        awaitRecovery()
        walk(filter, now: now, wall: wall) { state, slot in
            state.facts(of: slot)
        } visit: { facts in
            for fact in facts {
                if let row = row(fact, filter, now: now, wall: wall), !body(row) { return false }
            }
            return true
        }
    }

    /// Goes through the index in slices: `pick` under the lock, for messages that satisfy what the index knows; `visit`
    /// without it, once for each slice.
    func walk<Part>(
        _ filter: QueueFilter,
        now: Uptime,
        wall: Timestamp,
        pick: (borrowing QueueState, Slot) -> Part?,
        visit: ([Part]) -> Bool
    ) {
        let last = lastID.withLock { $0 }
        var start = 0
        // Replies come and go in the pool, so the numbers are looked up again with every slice.
        while true {
            let (parts, isEnd) = state.withLock { state in
                let prepared = PreparedFilter(filter, state.replies, now: now, wall: wall)
                var parts: [Part] = []
                for slot in state.messages.keys(from: start, atMost: Self.slice) {
                    guard let entry = state[slot], entry.id <= last, state.accepts(entry, prepared),
                        let part = pick(state, slot)
                    else { continue }
                    parts.append(part)
                }
                return (parts, start + Self.slice >= state.messages.count)
            }
            if !parts.isEmpty, !visit(parts) { return }
            if isEnd { return }
            start += Self.slice
        }
    }

    /// Ids of the messages that satisfy what the index knows, in order.
    private func sorted(_ filter: QueueFilter, by sort: QueueSort, at now: Uptime, wall: Timestamp) -> [QueueID] {
        struct Entry {
            let key: Int64
            let id: QueueID
        }
        var entries: [Entry] = []
        walk(filter, now: now, wall: wall) { state, slot -> Entry? in
            guard let entry = state[slot] else { return nil }
            let key: Int64
            switch sort.key {
            case .queuedAt: key = 0
            case .size: key = Int64(entry.size)
            case .nextAttempt: key = state.nextDue(of: entry)?.milliseconds ?? 0
            }
            return Entry(key: key, id: entry.id)
        } visit: {
            entries += $0
            return true
        }
        entries.sort { a, b in
            let (a, b) = sort.isDescending ? (b, a) : (a, b)
            return a.key == b.key ? a.id < b.id : a.key < b.key
        }
        return entries.map(\.id)
    }

    private func row(_ facts: RowFacts, _ filter: QueueFilter, now: Uptime, wall: Timestamp) -> QueueRow? {
        guard let envelope = envelope(of: facts.entry), filter.accepts(envelope) else { return nil }
        return QueueRow(facts, envelope, now: now, wall: wall)
    }

    /// The envelope, from memory or from disk; nil when the message is gone or cannot be read.
    private func envelope(of entry: MessageEntry) -> Envelope? {
        if let resident = entry.resident { return resident.envelope }
        do throws(QueueError) {
            return try readEnvelope(entry.id, at: entry.location)
        } catch {
            return nil
        }
    }
}

// MARK: - One message

extension MailQueue {
    /// Everything known of one message.
    ///
    /// - Throws: ``QueueError`` when its record cannot be read.
    /// - Returns: nil when it is not in the queue.
    package func show(
        _ id: QueueID,
        at now: Uptime = .now(),
        wall: Timestamp = .now()
    ) throws(QueueError) -> MessageReport? {
        awaitRecovery(of: [id])
        let found: (RowFacts, [MessageReport.RecipientFacts], [WaitingReason])? = state.withLock { state in
            guard let slot = state.slot(of: id), let facts = state.facts(of: slot, lanes: .max) else { return nil }
            return (
                facts, state.recipientFacts(of: facts.entry),
                state.waitingReasons(of: facts.entry, now: now, wall: wall)
            )
        }
        guard let (facts, recipients, reasons) = found else { return nil }
        let envelope: Envelope
        if let resident = facts.entry.resident {
            envelope = resident.envelope
        } else {
            envelope = try readEnvelope(id, at: facts.entry.location)
        }
        let limited = state.withLock { state -> (reasons: [WaitingReason], estimate: Timestamp?) in
            guard let entry = state.slot(of: id).flatMap({ state[$0] }) else { return ([], nil) }
            return state.limitReasons(of: entry, envelope, now: now, wall: wall)
        }
        return MessageReport(
            row: QueueRow(facts, envelope, now: now, wall: wall),
            envelope: envelope,
            recipients: zip(envelope.recipients, recipients).map { $1.report(on: $0, now: now, wall: wall) },
            waitingBecause: limited.reasons + reasons,
            estimatedSend: limited.estimate
        )
    }

    /// The bytes of a message as they are sent, to be read in pieces.
    ///
    /// - Throws: ``QueueError`` when its record cannot be read.
    /// - Returns: nil when it is not in the queue.
    package func content(of id: QueueID) throws(QueueError) -> Content? {
        awaitRecovery(of: [id])
        let found = state.withLock { state in state.slot(of: id).flatMap { state[$0] } }
        guard let found else { return nil }
        if let resident = found.resident { return resident.content }
        return try readBack(id, at: found.location).content
    }
}

extension QueueRow {
    init(_ facts: RowFacts, _ envelope: Envelope, now: Uptime, wall: Timestamp) {
        self.init(
            id: facts.entry.id,
            state: facts.state,
            sender: envelope.sender,
            recipients: envelope.recipients.prefix(Self.shown).map(\.address),
            recipientCount: envelope.recipients.count,
            size: facts.entry.size,
            acceptedAt: facts.entry.acceptedAt,
            attempts: facts.attempts,
            nextAttempt: facts.due.map { wall.adding(milliseconds: $0.milliseconds(since: now)) },
            lastAttempt: facts.attemptedAt == 0 ? nil : Timestamp(milliseconds: Int64(facts.attemptedAt) * 1000),
            lanes: facts.lanes,
            reply: facts.reply,
            hold: facts.hold,
            user: envelope.user,
            tag: envelope.notes.tag
        )
    }
}
