// QueueState.swift — the index: what is kept in memory of every message and parcel, and the scheduler over it. A value.
//
// About 130 bytes per waiting message: no body, no address. Whoever needs those reads the record.

import Mail
import NIOCore
import Storage

extension [UInt32] {
    /// Makes one rising list of two.
    fileprivate mutating func merge(_ other: [UInt32]) {
        guard !other.isEmpty else { return }
        self += other
        sort()
    }
}

struct QueueState: ~Copyable, Sendable {
    var options: MailQueue.Options
    var scheduler: Scheduler
    var arriving: [QueueID: Arrival] = [:]
    /// By the first of each; few.
    var arrivingGroups: [QueueID: ArrivingGroup] = [:]
    /// Lanes whose next messages are being read from disk.
    var loadingLanes: Set<Lane> = []
    var isCompacting = false
    /// When delivery was last found switched off.
    private(set) var disabledSince = Timestamp.now()
    /// Until when deliveries may begin; for ever, where the queue is this process's alone.
    var leaseEnd = Uptime(milliseconds: .max)
    /// Plugins are asked about every parcel before it enters the lane of its next hop.
    var prepares = false
    var replies = ReplyPool()
    /// Replies of recipients who were told something else than their parcel's ``ParcelEntry/reply``.
    private(set) var otherReplies: [Ticket: [UInt32: ReplyPool.Number]] = [:]
    /// Messages that are held back; those that are gone meanwhile are left out at the next change.
    var holds = HeldMessages()
    /// Parcels whose time is somebody else's than `temp_fail_intervals`; few, and not kept over a start.
    private(set) var rules: [Ticket: WaitRule] = [:]
    /// Recipients that reactions gave up, while `bounce_grace` counts.
    var condemned = Condemned()
    /// Those of an earlier life, until it is known which of their messages are still there.
    var oldHolds: [QueueID] = []
    /// Messages of an earlier life, or of other nodes, that were filed.
    private(set) var restored = 0
    /// What was flushed since the start, until everything is known.
    var flushed = Flushed()
    var traffic = Traffic()
    /// What waits of whom.
    var tally = LoginTally()
    /// Prologues and bodies of all messages, in bytes.
    private(set) var bytes = 0

    private(set) var messages = HandleTable<Slot, MessageEntry?>()
    private(set) var parcels = HandleTable<Ticket, ParcelEntry>()
    /// Of messages that some recipients are done with, by slot; few.
    private var progress: [Slot: Progress] = [:]
    /// Recipients of parcels that are not one behind the other; few.
    private var scattered: [Ticket: [UInt32]] = [:]
    private(set) var byID = IDOrder()

    /// Parcels that are noted so; beyond, they are told by their interval.
    private static let mostRules = 100_000

    init(_ options: MailQueue.Options) {
        self.options = options
        scheduler = Scheduler(options.limits)
        scheduler.isPaused = options.isDisabled
    }

    var messageCount: Int { byID.count }

    mutating func apply(_ options: MailQueue.Options) {
        if options.isDisabled, !self.options.isDisabled { disabledSince = .now() }
        self.options = options
        scheduler.limits = options.limits
        scheduler.isPaused = options.isDisabled
    }

    func slot(of id: QueueID) -> Slot? { byID.find(id) }

    /// Where a recipient's parcel goes first: to its next hop, or to those that plugins are asked about.
    static func firstLane(_ index: UInt32, _ envelope: Envelope, prepares: Bool, _ lane: MailQueue.LaneOf) -> Lane {
        let recipient = envelope.recipients[Int(index)].address
        return prepares ? Lane(.preparation(recipient.domain.name)) : lane(recipient, envelope)
    }

    subscript(slot: Slot) -> MessageEntry? {
        get { messages[slot] }
        _modify { yield &messages[slot] }
    }

    func parcel(_ ticket: Ticket) -> ParcelEntry { parcels[ticket] }
}

// MARK: - Coming and going

extension QueueState {
    /// Files a message that was just accepted; its parcels are due now.
    ///
    /// - Returns: its slot.
    mutating func insert(_ message: NewMessage, at location: Location, now: Uptime, lane: MailQueue.LaneOf) -> Slot {
        let envelope = message.envelope
        let count = UInt32(envelope.recipients.count)
        var entry = MessageEntry(
            message.id,
            acceptedAt: message.acceptedAt,
            location: location,
            size: message.content.size,
            recipients: count,
            resident: message
        )
        if !holds.isEmpty { entry.isHeld = holds[message.id] != nil }
        entry.login = tally.enter(envelope.account, bytes: entry.size)
        let slot = add(entry)
        let prepares = prepares
        let groups = parcelling(0..<count, limit: options.recipientsPerParcel) {
            Self.firstLane($0, envelope, prepares: prepares, lane)
        }
        for group in groups {
            addParcel(of: slot, group.recipients, to: group.lane, due: now, at: now)
        }
        lookAtAll(of: slot, envelope, at: now)
        return slot
    }

    /// Files a message found on disk.
    ///
    /// - Parameter first: it stands before those that are due already: the older one of two comes later.
    mutating func restore(
        _ message: RecoveredMessage,
        now: Uptime,
        wall: Timestamp,
        first: Bool = false,
        lane: MailQueue.LaneOf
    ) {
        let envelope = message.envelope
        let count = UInt32(envelope.recipients.count)
        let state = message.state
        var entry = MessageEntry(
            message.id,
            acceptedAt: message.acceptedAt,
            location: message.location,
            size: message.size,
            recipients: count,
            resident: nil
        )
        entry.delayReported = state.delayReported
        entry.isHeld = holds[message.id] != nil
        entry.login = tally.enter(envelope.account, bytes: entry.size)
        let slot = add(entry)
        restored += 1
        if !state.done.isEmpty { progress[slot] = Progress(done: state.done, bounced: state.bounced) }
        let prepares = prepares
        let laneOf: (UInt32) -> Lane = { Self.firstLane($0, envelope, prepares: prepares, lane) }
        for alike in Self.merged(state.waiting) {
            let group = alike.first
            // A wall clock that was set back must not stretch a wait: never longer than it was when it was noted.
            let longest = max(0, group.due.milliseconds(since: state.notedAt))
            let wait = min(max(0, group.due.milliseconds(since: wall)), longest)
            for parcel in parcelling(alike.recipients, limit: options.recipientsPerParcel, lane: laneOf) {
                let ticket = addParcel(
                    of: slot,
                    parcel.recipients,
                    to: parcel.lane,
                    due: now.adding(milliseconds: wait),
                    first: first,
                    at: now
                )
                if !flushed.isEmpty, flushed.covers(parcel.lane) { _ = scheduler.hurry(ticket, at: now) }
                parcels[ticket].failures = group.failures
                parcels[ticket].unreached = group.unreached
                if group.isOutOfReach { scheduler.strand(ticket) }
                let told = parcel.recipients.map { (recipient: $0, reply: alike.replies[$0] ?? group.reply) }
                setReplies(of: ticket, told, at: group.attemptedAt)
            }
        }
        let seen =
            state.waiting.isEmpty && state.done.isEmpty ? [] : Set(state.done + state.waiting.flatMap(\.recipients))
        let fresh = seen.isEmpty ? Array(0..<count) : (0..<count).filter { !seen.contains($0) }
        for parcel in parcelling(fresh, limit: options.recipientsPerParcel, lane: laneOf) {
            addParcel(of: slot, parcel.recipients, to: parcel.lane, due: now, first: first, at: now)
        }
        lookAtAll(of: slot, envelope, at: now)
    }

    @discardableResult
    mutating func addParcel(
        of slot: Slot,
        _ recipients: [UInt32],
        to lane: Lane,
        due: Uptime,
        first: Bool = false,
        at now: Uptime
    ) -> Ticket {
        guard let entry = messages[slot] else { return .null }
        var parcel = ParcelEntry(message: slot, first: recipients.first ?? 0, sibling: entry.firstParcel)
        let isRun = recipients.last.map { Int($0) - Int(parcel.first) == recipients.count - 1 } ?? true
        if isRun { parcel.count = UInt32(recipients.count) }
        let ticket = parcels.add(parcel)
        if !isRun { scattered[ticket] = recipients }
        messages[slot]?.firstParcel = ticket
        messages[slot]?.openParcels += 1
        scheduler.add(ticket, to: lane, key: entry.id.rawValue, due: due, first: first, at: now)
        if entry.isHeld { scheduler.hold(ticket) }
        return ticket
    }

    /// Forgets a parcel.
    ///
    /// Its message stays.
    mutating func removeParcel(_ ticket: Ticket) {
        let parcel = parcels[ticket]
        unlink(ticket, from: parcel.message)
        scheduler.remove(ticket)
        forgetReplies(of: ticket)
        if parcel.count == 0 { scattered[ticket] = nil }
        if !rules.isEmpty { rules[ticket] = nil }
        parcels.giveBack(ticket, leaving: ParcelEntry())
        messages[parcel.message]?.openParcels -= 1
    }

    /// Forgets a message that has no parcel left.
    ///
    /// - Returns: bytes of memory that it held.
    mutating func removeMessage(_ slot: Slot) -> Int {
        guard let entry = messages[slot] else { return 0 }
        byID.remove(entry.id)
        if entry.isHeld { holds[entry.id] = nil }
        if !condemned.isEmpty { condemned[entry.id] = nil }
        if !progress.isEmpty { progress[slot] = nil }
        tally.leave(entry.login, bytes: entry.size)
        bytes -= entry.size
        messages.giveBack(slot, leaving: nil)
        return entry.resident?.residentBytes ?? 0
    }

    /// Whether some parcel of a message may go now, as far as pauses and the rests of lanes tell.
    func mayGoNow(_ slot: Slot) -> Bool {
        guard !scheduler.isStopped else { return false }
        var ticket = messages[slot]?.firstParcel ?? .null
        while ticket != .null {
            if !scheduler.isResting(ticket), !scheduler.isParked(ticket) { return true }
            ticket = parcels[ticket].sibling
        }
        return false
    }

    /// Lets go of a message's bytes.
    ///
    /// - Returns: how many there were.
    mutating func dropResident(_ slot: Slot) -> Int {
        guard let resident = messages[slot]?.resident else { return 0 }
        messages[slot]?.resident = nil
        return resident.residentBytes
    }

    mutating func setParcel(_ ticket: Ticket, _ change: (inout ParcelEntry) -> Void) { change(&parcels[ticket]) }

    private mutating func add(_ entry: MessageEntry) -> Slot {
        let slot = messages.add(entry)
        byID.insert(entry.id, at: slot)
        bytes += entry.size
        return slot
    }

    private mutating func unlink(_ ticket: Ticket, from slot: Slot) {
        guard let first = messages[slot]?.firstParcel else { return }
        if first == ticket {
            messages[slot]?.firstParcel = parcels[ticket].sibling
            return
        }
        var previous = first
        while previous != .null, parcels[previous].sibling != ticket { previous = parcels[previous].sibling }
        if previous != .null { parcels[previous].sibling = parcels[ticket].sibling }
    }
}

// MARK: - Looking

extension QueueState {
    /// The recipients of a parcel, written out.
    func recipients(of ticket: Ticket) -> [UInt32] {
        let parcel = parcels[ticket]
        return parcel.count == 0 ? scattered[ticket] ?? [] : Array(parcel.first..<parcel.first + parcel.count)
    }

    /// Which recipients of a message are done.
    func progress(of slot: Slot) -> Progress { progress[slot] ?? Progress() }

    /// Notes recipients that are done.
    mutating func note(done: [UInt32], bounced: [UInt32], of slot: Slot) {
        guard !done.isEmpty else { return }
        progress[slot, default: Progress()].done.merge(done)
        progress[slot, default: Progress()].bounced.merge(bounced)
    }

    /// A ticket as the doors see it.
    func describe(_ ticket: Ticket) -> Parcel? {
        let parcel = parcels[ticket]
        guard parcel.message != .null, let entry = messages[parcel.message] else { return nil }
        return Parcel(
            id: Parcel.ID(message: entry.id, ticket: ticket),
            lane: scheduler.lane(of: ticket),
            recipients: recipients(of: ticket),
            failures: Int(parcel.failures),
            unreached: Int(parcel.unreached),
            acceptedAt: entry.acceptedAt,
            ownTime: scheduler.ownTime(ticket)
        )
    }

    /// What must be on disk about a message beyond its own record.
    func deliveryState(of slot: Slot, now: Uptime, wall: Timestamp) -> DeliveryState {
        guard let entry = messages[slot] else { return DeliveryState() }
        var groups: [DeliveryState.Group] = []
        forEachParcel(of: entry) { ticket, parcel in
            guard parcel.failures > 0 || parcel.unreached > 0 || scheduler.due(ticket) != nil else { return }
            let wait = (scheduler.due(ticket) ?? scheduler.ownTime(ticket) ?? now).milliseconds(since: now)
            var group = DeliveryState.Group(
                recipients: recipients(of: ticket),
                failures: parcel.failures,
                due: wall.adding(milliseconds: wait),
                reply: replies[parcel.reply],
                attemptedAt: Timestamp(milliseconds: Int64(parcel.attemptedAt) * 1000),
                unreached: parcel.unreached,
                isOutOfReach: scheduler.isStranded(ticket)
            )
            guard let others = otherReplies[ticket] else { return groups.append(group) }
            let byReply = Dictionary(grouping: group.recipients) { others[$0] ?? parcel.reply }
            for (reply, recipients) in byReply.sorted(by: { $0.key < $1.key }) {
                group.recipients = recipients
                group.reply = replies[reply]
                groups.append(group)
            }
        }
        let progress = progress(of: slot)
        return DeliveryState(
            waiting: groups,
            done: progress.done,
            bounced: progress.bounced,
            delayReported: entry.delayReported,
            notedAt: wall
        )
    }

    func forEachParcel(of entry: MessageEntry, _ body: (Ticket, ParcelEntry) -> Void) {
        var ticket = entry.firstParcel
        while ticket != .null {
            let parcel = parcels[ticket]
            body(ticket, parcel)
            ticket = parcel.sibling
        }
    }

    func tickets(of entry: MessageEntry) -> [Ticket] {
        var tickets: [Ticket] = []
        forEachParcel(of: entry) { ticket, _ in tickets.append(ticket) }
        return tickets
    }
}

// MARK: - Replies

extension QueueState {
    /// Notes what was said to the recipients of a parcel.
    mutating func setReplies(of ticket: Ticket, _ told: [(recipient: UInt32, reply: LastReply?)], at time: Timestamp) {
        forgetReplies(of: ticket)
        parcels[ticket].attemptedAt = UInt32(clamping: time.milliseconds / 1000)
        let common = told.first?.reply
        if let common { parcels[ticket].reply = replies.take(common) }
        for (recipient, reply) in told {
            if let reply, reply != common { otherReplies[ticket, default: [:]][recipient] = replies.take(reply) }
        }
    }

    /// Notes who says when a parcel is tried again.
    mutating func note(_ rule: WaitRule?, of ticket: Ticket) {
        if let rule, rules.count < Self.mostRules { rules[ticket] = rule }
    }

    /// A parcel that takes over recipients of another one knows what was known of them.
    mutating func inherit(_ ticket: Ticket, _ recipients: [UInt32], from old: Ticket) {
        note(rules[old], of: ticket)
        let parcel = parcels[old]
        parcels[ticket].failures = parcel.failures
        parcels[ticket].unreached = parcel.unreached
        if scheduler.isStranded(old) { scheduler.strand(ticket) }
        if let own = scheduler.ownTime(old) { scheduler.ask(ticket, ownTime: own) }
        let told = recipients.map { (recipient: $0, reply: reply(to: $0, of: old)) }
        setReplies(of: ticket, told, at: Timestamp(milliseconds: Int64(parcel.attemptedAt) * 1000))
    }

    /// What was last said to one recipient of a parcel.
    func reply(to recipient: UInt32, of ticket: Ticket) -> LastReply? {
        replies[otherReplies[ticket]?[recipient] ?? parcels[ticket].reply]
    }

    private mutating func forgetReplies(of ticket: Ticket) {
        replies.release(parcels[ticket].reply)
        parcels[ticket].reply = 0
        guard !otherReplies.isEmpty, let others = otherReplies.removeValue(forKey: ticket) else { return }
        for number in others.values { replies.release(number) }
    }

    /// Groups that differ in what was said only were one parcel, and become one again.
    private static func merged(
        _ groups: [DeliveryState.Group]
    ) -> [(first: DeliveryState.Group, recipients: [UInt32], replies: [UInt32: LastReply])] {
        guard groups.count > 1 else { return groups.map { ($0, $0.recipients, [:]) } }
        struct Key: Hashable {
            let failures: UInt16
            let due: Timestamp
            let attemptedAt: Timestamp
            let unreached: UInt16
            let isOutOfReach: Bool
        }
        var places: [Key: Int] = [:]
        var result: [(first: DeliveryState.Group, recipients: [UInt32], replies: [UInt32: LastReply])] = []
        for group in groups {
            let key = Key(
                failures: group.failures,
                due: group.due,
                attemptedAt: group.attemptedAt,
                unreached: group.unreached,
                isOutOfReach: group.isOutOfReach
            )
            let place = places[key] ?? result.count
            if place == result.count {
                places[key] = place
                result.append((group, [], [:]))
            }
            result[place].recipients += group.recipients
            for recipient in group.recipients { result[place].replies[recipient] = group.reply }
        }
        for place in result.indices { result[place].recipients.sort() }
        return result
    }
}
