// AdminConnections.swift — the open connections of one listener: how many there are, from whom, and until when each may be slow.
//
// Who may have how much is decided when a connection is accepted, before it has said anything: a head that never ends must
// not keep others out. There are seats, for requests of every kind, and a few places to stand, for those beyond their
// share: standing, a probe of health is answered and everything else hears 503. When all seats are taken, a newcomer gets
// that of the subscriber with most connections whose request has not come for the longest time; who has next to none gets that of the
// connection that has rested longest between two requests, which costs its owner no more than another connection: more pages
// than seats may be open.
//
// Guarantees: one subscriber (an IPv4 address, or an IPv6 /64) never has more than its share, and cannot keep another from
// having one; some seats are for this machine alone; each connection has a deadline for what it does now, and once a
// second those that passed theirs are shut down (the library's own timeout ends only silence, and somebody who sends a
// byte now and then would keep a thread for ever).

import Glibc
import Mail
import Synchronization

/// Connections with their deadlines.
final class AdminConnections: Sendable {
    /// What a connection is busy with.
    enum Phase: Hashable, Sendable {
        /// The next request should come: until its head is there, the seat may go to somebody else.
        case waiting
        /// The body comes.
        case reading
        /// A handler works: it ends by itself.
        case working
        /// An answer is taken.
        case writing
        /// Events are followed.
        case following
    }

    /// What a request on a connection may ask for.
    enum Place: Hashable, Sendable {
        case seat
        /// Beyond its share: probes of health only.
        case standing
        /// The relay ends.
        case none
    }

    private struct Entry {
        let socket: Int32
        let client: IPAddress?
        let isLocal: Bool
        var isSeated: Bool
        var phase = Phase.waiting
        var deadline: Int64
        /// It had an answer, and nothing was asked since.
        var isResting = false
        /// Shut down by us; it goes soon, and counts no more.
        var isEnded = false

        /// Neither seated nor one of those who follow.
        var isStanding: Bool { !isEnded && !isSeated && phase != .following }
    }

    private struct State {
        var entries: [UInt64: Entry] = [:]
        var next: UInt64 = 0
        var isClosing = false
    }

    /// Connections beyond the seats: so many at once, and so many of one subscriber.
    static let standing = 16
    private static let standingPerClient = 2
    /// Who has fewer seats than these may have that of a connection that rests: one closes while the next one comes.
    private static let few = 2
    /// What was shut down and is not gone yet: beyond this nobody else is.
    static let leaving = 16
    /// An answer has this many times the time of a request: a listing of a long queue over a slow line.
    private static let writingFactor: Int64 = 30
    /// Those who follow events, beside the seats: so many at once, and so many of one subscriber that is not this machine.
    static let followers = 256
    private static let followersPerClient = 64
    /// Milliseconds for somebody who follows to take what there is; signs of life come oftener.
    private static let followingTime: Int64 = 45_000
    /// Milliseconds that somebody may stand without a request.
    private static let standingTime: Int64 = 2000

    private let limit: Int
    private let limitPerClient: Int
    /// Milliseconds.
    private let timeout: Int64
    private let state = Mutex(State())

    init(limit: Int, perClient: Int, timeout: Int) {
        self.limit = limit
        limitPerClient = perClient
        self.timeout = Int64(timeout) * 1000
    }

    /// Connections that the library must take: the seats, those who stand, and those who are about to go.
    var most: Int { limit + Self.standing + Self.leaving + Self.followers }

    var count: Int { state.withLock { $0.entries.count } }

    /// Those that were shut down and are not closed yet.
    var ended: [UInt64] { state.withLock { $0.entries.filter(\.value.isEnded).map(\.key) } }

    // MARK: - Accepting

    /// Whether a connection may be accepted; makes room for it if its share is not used up and another's is.
    ///
    /// - Parameter client: nil: it comes by the Unix socket.
    func admits(_ client: IPAddress?) -> Bool {
        state.withLock { state in
            let client = client?.subscriber
            guard !state.isClosing else { return true }
            guard state.entries.count < most else { return false }
            if hasSeat(client, state) { return true }
            let own =
                client.map { client in
                    state.entries.values.count { entry in
                        !entry.isEnded && entry.phase != .following && entry.client == client
                    }
                } ?? 0
            guard client == nil || own < limitPerClient + Self.standingPerClient else { return false }
            if client == nil || own < limitPerClient, let victim = victim(for: client, state) {
                end(victim, &state)
                return true
            }
            return state.entries.values.count(where: \.isStanding) < Self.standing
        }
    }

    /// A connection stands.
    ///
    /// - Returns: its number.
    func opened(_ socket: Int32, from client: IPAddress?, at now: Uptime) -> UInt64 {
        state.withLock { state in
            let client = client?.subscriber
            let isSeated = hasSeat(client, state)
            state.next += 1
            state.entries[state.next] = Entry(
                socket: socket,
                client: client,
                isLocal: client?.isLoopback ?? true,
                isSeated: isSeated,
                deadline: now.milliseconds + (isSeated ? timeout : min(timeout, Self.standingTime))
            )
            return state.next
        }
    }

    /// A connection is about to be closed; its descriptor is ours no more.
    func closed(_ number: UInt64) { state.withLock { $0.entries[number] = nil } }

    /// The head of a request has come.
    ///
    /// - Returns: what it may ask for. Who stood gets a seat that has become free.
    func place(of number: UInt64) -> Place {
        state.withLock { state in
            guard !state.isClosing, let entry = state.entries[number] else { return .none }
            guard !entry.isSeated else { return .seat }
            guard hasSeat(entry.client, state) else { return .standing }
            state.entries[number]?.isSeated = true
            return .seat
        }
    }

    // MARK: - Deadlines

    /// A connection begins something else.
    func enters(_ phase: Phase, _ number: UInt64, at now: Uptime) {
        let deadline =
            switch phase {
            case .waiting, .reading: now.milliseconds + timeout
            case .working: Int64.max
            case .writing: now.milliseconds + timeout * Self.writingFactor
            case .following: now.milliseconds + Self.followingTime
            }
        state.withLock { state in
            state.entries[number]?.phase = phase
            state.entries[number]?.deadline = deadline
            state.entries[number]?.isResting = phase == .waiting
        }
    }

    /// A connection follows events from now on, until it ends: its seat is free.
    ///
    /// - Returns: false when too many do.
    func follows(_ number: UInt64, at now: Uptime) -> Bool {
        state.withLock { state in
            guard let entry = state.entries[number], !state.isClosing else { return false }
            let all = state.entries.values.filter { $0.phase == .following && !$0.isEnded }
            let own = all.count { $0.client == entry.client }
            guard all.count < Self.followers, entry.isLocal || own < Self.followersPerClient else { return false }
            // An eighth is for this machine.
            guard entry.isLocal || all.count < Self.followers - Self.followers / 8 else { return false }
            state.entries[number]?.isSeated = false
            state.entries[number]?.phase = .following
            state.entries[number]?.deadline = now.milliseconds + Self.followingTime
            return true
        }
    }

    /// Somebody who follows took what there was.
    func goesOn(_ number: UInt64, at now: Uptime) {
        state.withLock { state in
            guard state.entries[number]?.phase == .following else { return }
            state.entries[number]?.deadline = now.milliseconds + Self.followingTime
        }
    }

    /// More time, for a body that is large and comes steadily: a second for each 16 KiB.
    func extend(_ number: UInt64, bytes: Int) {
        state.withLock { state in
            guard let deadline = state.entries[number]?.deadline, deadline < .max else { return }
            state.entries[number]?.deadline = deadline + Int64(bytes / 16)
        }
    }

    /// Whether a connection was shut down, or is closed.
    func isGone(_ number: UInt64) -> Bool { state.withLock { $0.entries[number]?.isEnded ?? true } }

    /// Shuts down those that were too slow, and those whose followers have gone: nothing would be written to them for a while,
    /// and only that would tell.
    func sweep(at now: Uptime) {
        state.withLock { state in
            for number in Self.hungUp(state) { end(number, &state) }
            let late = state.entries.filter { $0.value.deadline < now.milliseconds }
            for number in late.keys { end(number, &state) }
        }
    }

    /// From now on every request gets 503.
    func close() { state.withLock { $0.isClosing = true } }

    // MARK: - Parts

    /// Followers whose side of the connection is closed: one call for all.
    private static func hungUp(_ state: State) -> [UInt64] {
        let following = state.entries.filter { $0.value.phase == .following && !$0.value.isEnded }.map {
            (number: $0.key, socket: $0.value.socket)
        }
        guard !following.isEmpty else { return [] }
        // POLLRDHUP, which the module of the C library does not show.
        let hangUp: Int16 = 0x2000
        var polls = following.map { pollfd(fd: $0.socket, events: hangUp, revents: 0) }
        // A number of no descriptor is passed over.
        guard poll(&polls, nfds_t(polls.count), 0) > 0 else { return [] }
        let gone = hangUp | Int16(POLLHUP) | Int16(POLLERR)
        return zip(following, polls).filter { $0.1.revents & gone != 0 }.map(\.0.number)
    }

    /// Whether one more of this subscriber may sit.
    private func hasSeat(_ client: IPAddress?, _ state: State) -> Bool {
        var (all, own) = (0, 0)
        for entry in state.entries.values where entry.isSeated && !entry.isEnded {
            all += 1
            if entry.client == client { own += 1 }
        }
        // An eighth of the seats is for this machine: its tools work whatever the world does.
        let seats = client?.isLoopback ?? true ? limit : limit - limit / 8
        return all < seats && (client == nil || own < limitPerClient)
    }

    /// Whose seat a newcomer gets: of the subscriber with most, and at least two more than it has itself, the one that
    /// has waited longest for a request.
    ///
    /// Who has next to none gets that of a connection that rests, whoever has it.
    private func victim(for client: IPAddress?, _ state: State) -> UInt64? {
        guard state.entries.values.count(where: \.isEnded) < Self.leaving else { return nil }
        var seats: [IPAddress?: Int] = [:]
        for entry in state.entries.values where entry.isSeated && !entry.isEnded {
            seats[entry.client, default: 0] += 1
        }
        let own = seats[client] ?? 0
        var found: (number: UInt64, seats: Int, deadline: Int64)?
        var resting: (number: UInt64, deadline: Int64)?
        for (number, entry) in state.entries where entry.isSeated && !entry.isEnded && entry.phase == .waiting {
            let count = seats[entry.client] ?? 0
            if entry.isResting, entry.deadline < resting?.deadline ?? .max { resting = (number, entry.deadline) }
            guard count > own + 1 else { continue }
            if let best = found, (best.seats, -best.deadline) >= (count, -entry.deadline) { continue }
            found = (number, count, entry.deadline)
        }
        return found?.number ?? (own < Self.few ? resting?.number : nil)
    }

    private func end(_ number: UInt64, _ state: inout State) {
        guard let entry = state.entries[number] else { return }
        // The descriptor cannot be another's: `closed` comes before it is closed, and waits for this lock.
        shutdown(entry.socket, Int32(SHUT_RDWR))
        state.entries[number]?.deadline = .max
        state.entries[number]?.isEnded = true
    }
}
