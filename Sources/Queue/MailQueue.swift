// MailQueue.swift — the one place that knows every accepted message: index and scheduler in one lock, the store behind it.
//
// No method waits for the disk, except where its comment says so. Nothing is called while the lock is held but the
// store's `append…`, which only queue a record; their order is the order of events, which recovery relies on.

package import Mail
package import NIOCore
package import NIOPosix
package import Storage
import Synchronization

/// What a ready session carries now.
package final class Assignment: Sendable {
    package let parcel: Parcel
    private let message: NewMessage
    /// Recipients of one transaction that limits allow; nil: as many as there are.
    package let mostRecipients: Int?

    package var envelope: Envelope { message.envelope }
    package var content: Content { message.content }

    init(_ parcel: Parcel, of message: NewMessage, mostRecipients: Int? = nil) {
        (self.parcel, self.message) = (parcel, message)
        self.mostRecipients = mostRecipients
    }

    /// Of what is not in the queue as such.
    package convenience init(parcel: Parcel, envelope: Envelope, content: Content) {
        let (id, time) = (parcel.id.message, parcel.acceptedAt)
        self.init(parcel, of: NewMessage(id: id, acceptedAt: time, envelope: envelope, content: content))
    }
}

/// The answer to a session that asks for work.
package enum NextParcel: Sendable {
    case carry(Assignment)
    /// The message is being read from disk; the session idles and the dispatcher is woken when it is there.
    case loading
    /// Nothing is due in this lane: idle.
    case none
    /// Other lanes wait for a session and this lane has more than its share: say QUIT.
    case yield
}

/// Recipients of a parcel that failed for now.
package struct Deferral: Sendable {
    /// What it means for the next attempts.
    package enum Kind: Hashable, Sendable {
        /// An answer of a server, one failure more.
        case failure
        /// The next hop could not be reached: no failure, and due as soon as a session stands there.
        case outOfReach
        /// The attempt delivered to others of the parcel: no failure of those that are left.
        case progress
        /// No attempt was made: a hook asked for the delay, or our own disk did.
        case asked
    }

    package let recipients: [UInt32]
    /// Milliseconds until the next attempt.
    package let delay: Int64
    /// What was said to the first of them, and to all that ``otherReplies`` does not name.
    package let reply: LastReply
    /// What was said to those who were told something else.
    package let otherReplies: [UInt32: LastReply]
    package let kind: Kind
    /// A delay report goes out with this deferral, so that there is no second one.
    package let delayReported: Bool
    /// The attempt was one more than there would have been, because somebody asked for it: it counts for nothing.
    package let isExtra: Bool
    /// Who says how long; nil: `temp_fail_intervals`.
    package var rule: WaitRule?

    package init(
        recipients: [UInt32],
        delay: Int64,
        reply: LastReply,
        otherReplies: [UInt32: LastReply] = [:],
        kind: Kind = .failure,
        delayReported: Bool = false,
        isExtra: Bool = false
    ) {
        self.recipients = recipients
        self.delay = delay
        self.reply = reply
        self.otherReplies = otherReplies
        self.kind = kind
        self.delayReported = delayReported
        self.isExtra = isExtra
    }
}

/// Haraka's triple, and the messages behind it.
package struct QueueCounts: Hashable, Sendable {
    /// Parcels with a session now.
    package var inProgress = 0
    /// Parcels that are due.
    package var waiting = 0
    /// Parcels whose next attempt is in the future.
    package var tempFailed = 0
    /// Parcels that somebody holds back, those that are to bounce among them.
    package var held = 0
    /// Messages that are to bounce unless somebody revives them.
    package var dying = 0
    package var messages = 0
}

/// A closure in a structure of its own: a closure that is itself the value of a generic `Mutex` is wrapped in one more
/// thunk with every access, so that calling it costs more each time.
private struct Wake: Sendable {
    var call: @Sendable () -> Void = {}
}

/// Every accepted message, from its acceptance to its last recipient.
package final class MailQueue: Sendable {
    /// What can change while running.
    package struct Options: Hashable, Sendable {
        package var concurrencyMax = 100
        package var concurrencyPerLane = 20
        package var recipientsPerTransaction = 100
        package var alwaysSplit = false
        package var isDisabled = false
        /// Seconds.
        package var laneRestMax = 60
        /// Seconds that a bounce by a person or a reaction can be taken back.
        package var bounceGrace = 0
        /// Where keys of `outbound.ini` stand, `outbound.ini:12`; those that stand nowhere are left out.
        package var origins: [String: String] = [:]

        package init() {}

        var recipientsPerParcel: Int { alwaysSplit ? 1 : max(1, recipientsPerTransaction) }

        var limits: Scheduler.Limits {
            Scheduler.Limits(
                total: concurrencyMax,
                perLane: concurrencyPerLane,
                longestRest: Int64(laneRestMax) * 1000
            )
        }
    }

    typealias LaneOf = @Sendable (EmailAddress, Envelope) -> Lane

    /// Counts envelopes, drafts and resident bodies; doors reserve, the queue releases what it was handed.
    package let memory: MemoryBudget
    /// Of messages that may have left already.
    package let recentFailures = RecentFailures()
    /// What sessions do, for those who look on.
    package let steps = StepBoard()
    /// For everything that blocks.
    package let disk: NIOThreadPool

    let store: any QueueStore
    let laneOf: LaneOf
    let state: Mutex<QueueState>
    let lastID = Mutex(QueueID(rawValue: 0))
    let snapshots = Mutex(ListSnapshots())
    let survey = Mutex(QueueSurvey())
    let reporter = Mutex(Reporter())
    /// Held while the list of held messages is written.
    let holdsFile = Mutex(())
    /// Where pauses and what is used of limits are kept; nil: nowhere.
    let limitFiles: LimitFiles?
    /// Turns the switch of delivery as other nodes say.
    let turnSwitch = Mutex<(@Sendable (Bool, String) -> Bool)?>(nil)
    /// Held while they are written.
    let limitUpkeep = Mutex(LimitUpkeep())
    /// What replies come to.
    let reactor = Mutex(Reactor())
    /// Replies are counted; without it the lock is left alone.
    let reacts = Atomic<Bool>(false)
    /// What happens is told to history; nothing is spent on it otherwise.
    package let keepsHistory: Bool
    /// What of an earlier life is not known as yet.
    let unknown = Mutex(Unknown())
    /// There is something of it; looked at without a lock.
    let isRecovering = Atomic<Bool>(false)
    /// Somebody is emptying it.
    let takesNoMail = Atomic<Bool>(false)
    private let wake = Mutex(Wake())

    /// - Parameters:
    ///   - keepsHistory: notes in the store tell history what happened.
    ///   - limits: where pauses and what is used of limits are kept; nil: they end with the process.
    ///   - lane: the next hop a recipient would take now; called on any thread, must not wait.
    package init(
        store: any QueueStore,
        disk: NIOThreadPool,
        memory: MemoryBudget,
        options: Options,
        keepsHistory: Bool = false,
        limits: LimitFiles? = nil,
        lane: @escaping @Sendable (EmailAddress, Envelope) -> Lane
    ) {
        self.keepsHistory = keepsHistory
        limitFiles = limits
        self.store = store
        self.disk = disk
        self.memory = memory
        laneOf = lane
        state = Mutex(QueueState(options))
    }

    /// Called without a lock held, on any thread, whenever a lane may have got work.
    package func setWake(_ wake: @escaping @Sendable () -> Void) { self.wake.withLock { $0.call = wake } }

    func wakeDispatcher() { wake.withLock { $0.call }() }
}

// MARK: - Reception

extension MailQueue {
    /// A name for a new message: later than every earlier one, also across restarts and clock jumps.
    package func makeID(at now: Timestamp) -> QueueID {
        lastID.withLock { last in
            last = store.own(last.next(at: now))
            return last
        }
    }

    /// Whether a message of so many bytes may be taken: space, inodes, a healthy store.
    package func hasRoom(for bytes: Int) -> Bool { !isClosed && store.hasRoom(for: bytes) }

    /// Opens a body file for a draft that has outgrown memory.
    ///
    /// Blocks: use ``disk``.
    ///
    /// - Throws: ``QueueError`` when the file cannot be made.
    package func makeLargeBody(_ id: QueueID) throws(QueueError) -> any LargeBody { try store.makeLargeBody(id) }

    /// Hands a message to the next group commit.
    ///
    /// The message's resident bytes were reserved in ``memory`` by the caller; from here on the queue accounts for them.
    ///
    /// - Parameters:
    ///   - entrance: the door it came in by, for the metrics.
    ///   - loop: where `done` is called.
    ///   - tray: where it waits for the note of what it tells, as good as accepted; nil: it is on its own.
    ///   - done: called once the message is synced (nil) or could not be.
    package func accept(
        _ message: NewMessage,
        by entrance: Entrance,
        on loop: any EventLoop,
        into tray: ReportTray? = nil,
        done: @escaping @Sendable (QueueError?) -> Void
    ) {
        if let tray {
            tray.put([message], entrance, loop)
            return loop.execute { done(nil) }
        }
        let arrival = Arrival(message: message, entrance: entrance, loop: loop, done: done)
        state.withLock { state in
            state.arriving[message.id] = arrival
            store.append(message)
        }
    }

    /// Hands messages to the next group commit that are accepted together or not at all.
    ///
    /// - Parameters:
    ///   - messages: at least one; as for one alone, their resident bytes were reserved.
    ///   - leads: the others are written when the first is synced, so that no power cut leaves one of them without it.
    ///   - entrance: the door they came in by, for the metrics.
    ///   - loop: where `done` is called.
    ///   - tray: as for one alone.
    ///   - done: called once, when all are synced (nil), or when it is known of all and some could not be.
    package func accept(
        _ messages: [NewMessage],
        firstLeads leads: Bool = false,
        by entrance: Entrance,
        on loop: any EventLoop,
        into tray: ReportTray? = nil,
        done: @escaping @Sendable (QueueError?) -> Void
    ) {
        guard let first = messages.first else { return }
        if let tray {
            tray.put(messages, entrance, loop)
            return loop.execute { done(nil) }
        }
        let nobody: @Sendable (QueueError?) -> Void = { _ in }
        state.withLock { state in
            let followers = leads ? Array(messages.dropFirst()) : []
            state.arrivingGroups[first.id] = ArrivingGroup(left: messages.count, followers: followers)
            for message in messages {
                state.arriving[message.id] = Arrival(
                    message: message,
                    entrance: entrance,
                    loop: loop,
                    done: message.id == first.id ? done : nobody,
                    group: first.id
                )
                if !leads || message.id == first.id { store.append(message) }
            }
        }
    }

    /// One batch is on disk, or failed: files it in the index, then tells those who wait, one hop per event loop.
    func committed(_ results: [CommitResult]) {
        let now = Uptime.now()
        var answers: [(arrival: Arrival, error: QueueError?)] = []
        answers.reserveCapacity(results.count)
        var freed = 0
        state.withLock { state in
            for entry in results {
                guard let arrival = state.arriving.removeValue(forKey: entry.id) else { continue }
                if let group = arrival.group {
                    for (arrival, result) in landed(arrival, entry.result, group, &state) {
                        freed += file(arrival, result, &state, at: now, &answers)
                    }
                } else {
                    freed += file(arrival, entry.result, &state, at: now, &answers)
                }
            }
        }
        memory.release(freed)
        for answer in answers where answer.error == nil { QueueMetrics.countAccepted(by: answer.arrival.entrance) }
        for answer in answers where answer.error != nil { memory.release(answer.arrival.message.residentBytes) }
        tell(answers)
        wakeDispatcher()
    }

    /// Files a message that is durable.
    ///
    /// - Returns: bytes of memory it no longer holds.
    private func file(
        _ arrival: Arrival,
        _ result: Result<Location, QueueError>,
        _ state: inout QueueState,
        at now: Uptime,
        _ answers: inout [(arrival: Arrival, error: QueueError?)]
    ) -> Int {
        switch result {
        case .success(let location):
            state.traffic.accepted.add(1, at: now)
            if let known = arrival.known {
                let message = RecoveredMessage(arrival.message, at: location, known)
                state.restore(message, now: now, wall: .now(), lane: laneOf)
                answers.append((arrival, nil))
                return arrival.message.residentBytes
            }
            let slot = state.insert(arrival.message, at: location, now: now, lane: laneOf)
            answers.append((arrival, nil))
            // What is in memory goes first; mail behind it is read back when its turn comes, drafts need the room.
            return memory.isRelaxed && state.mayGoNow(slot) ? 0 : state.dropResident(slot)
        case .failure(let error):
            state.holds[arrival.message.id] = nil
            answers.append((arrival, error))
            return 0
        }
    }

    /// One of a group has landed.
    ///
    /// - Returns: all of them, when it was the last; where one is not durable, those that are become settled.
    private func landed(
        _ arrival: Arrival,
        _ result: Result<Location, QueueError>,
        _ group: QueueID,
        _ state: inout QueueState
    ) -> [(Arrival, Result<Location, QueueError>)] {
        guard var whole = state.arrivingGroups.removeValue(forKey: group) else { return [] }
        switch result {
        case .success(let location): whole.landed.append((arrival, location))
        case .failure(let error):
            whole.landed.append((arrival, nil))
            whole.error = whole.error ?? error
        }
        whole.left -= 1
        for follower in whole.takeFollowers() {
            if whole.error == nil {
                store.append(follower)
            } else if let arrival = state.arriving.removeValue(forKey: follower.id) {
                // Nothing of it was written, but its file.
                if case .file(let file) = follower.content.body { disk.submit { _ in file.discard() } }
                whole.landed.append((arrival, nil))
                whole.left -= 1
            }
        }
        guard whole.left == 0 else {
            state.arrivingGroups[group] = whole
            return []
        }
        guard let error = whole.error else {
            return whole.landed.compactMap { arrival, location in location.map { (arrival, .success($0)) } }
        }
        for case (let arrival, let location?) in whole.landed {
            store.appendSettled(arrival.message.id, at: location)
        }
        return whole.landed.map { ($0.arrival, .failure(error)) }
    }

    private func tell(_ answers: [(arrival: Arrival, error: QueueError?)]) {
        guard let first = answers.first?.arrival.loop else { return }
        if answers.allSatisfy({ $0.arrival.loop === first }) {
            first.execute { for answer in answers { answer.arrival.done(answer.error) } }
        } else {
            tell(answers.filter { $0.arrival.loop === first })
            tell(answers.filter { $0.arrival.loop !== first })
        }
    }
}

// MARK: - Start and stop

extension MailQueue {
    /// Writes what waits and gives the data directory back.
    ///
    /// Blocks.
    package func close() {
        endRecovery()
        store.close()
    }

    package var counts: QueueCounts { state.withLock { counts(of: $0) } }

    /// A number that grows with everything that happens to mail; while it stays the same, the queue is calm.
    package var events: Int {
        state.withLock { state in
            let traffic = state.traffic
            return traffic.accepted.total + traffic.delivered.total + traffic.deferred.total + traffic.bounced.total
                + state.restored
        }
    }

    /// New limits, retries and pause state.
    ///
    /// Messages keep their parcels; see ``reroute()``.
    package func apply(_ options: Options) {
        state.withLock { $0.apply(options) }
        wakeDispatcher()
    }
}
