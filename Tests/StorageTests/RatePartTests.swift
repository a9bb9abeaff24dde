// RatePartTests.swift — a rate, and a day, over several nodes by the functions that the real ones use: nodes die, stand still, and lose
// the answer to a COMMIT, and what the peer sees is still one rate with one burst.

import Mail
import Testing

@testable import Storage

@Suite struct RatePartTests {
    /// Rates with one event in their burst, with several, and with more than there are buckets.
    private static let rates = [
        (20, 60_000, 1), (600, 60_000, 5), (100, 1_000, 50), (3, 3_600_000, 1), (240, 60_000, 2),
    ]

    @Test(arguments: 0..<5, 1...4)
    func thePeerSeesOneRate(_ which: Int, _ seed: UInt64) throws {
        let (count, period, burst) = Self.rates[which]
        let rate = try #require(Rate(count, per: Int64(period), burst: burst))
        var simulation = RateSimulation(seed: seed, nodes: 5, rate: rate)
        let interval = rate.interval / 1000
        simulation.run(min(6_000_000, max(600_000, 30 * interval)))
        #expect(simulation.tooMany == 0, "events that no single relay would have sent")
        // Who dies takes along what it may have used: of three an hour little is left while somebody dies every minute.
        #expect(simulation.deaths > 3 && (interval > 60_000 || simulation.sent > 10))
        // Calm again, the whole rate is used: what is lost is the second in which something changes hands.
        simulation.isCalm = true
        simulation.run(60_000 + 2 * interval)
        let (start, before) = (simulation.time, simulation.sent)
        simulation.run(max(60_000, (interval > 60_000 ? 5 : 12) * interval))
        let possible = (simulation.time - start) * 1000 / rate.interval
        #expect(simulation.tooMany == 0 && (simulation.sent - before) * 10 >= Int(possible) * 7)
    }

    @Test func aPartIsThatMuchSlowerAndHasThatMuchOfTheBurst() throws {
        let rate = try #require(Rate(600, per: 60_000, burst: 6))
        let part = rate.part(RateParts.whole / 3, of: RateParts.whole)
        #expect(part.interval == 300_000 && part.burst == 2)
        #expect(rate.part(RateParts.whole, of: RateParts.whole).interval == rate.interval)
        #expect(try #require(Rate(1, per: 86_400_000)).part(1, of: RateParts.whole).interval == 62_270_208_000_000_000)
        for burst in 1...40 { #expect(RateParts.whole % RateParts.buckets(burst: burst) == 0) }
    }

    @Test func whatCannotBeDividedGoesRound() {
        let claims = (1...4).map { GrantClaim(node: Int64($0), sessions: 0, wanted: 1) }
        let winners = (0..<4).map { turn in
            claims.filter { own in
                Grants.target(1, own: own, others: claims.filter { $0 != own }, turn: Int64(turn)) == 1
            }.map(\.node)
        }
        #expect(winners == [[1], [2], [3], [4]])
        // Who wants nothing keeps what nobody else wants.
        let idle = GrantClaim(node: 1, sessions: 1, wanted: 0)
        #expect(Grants.target(1, own: idle, others: [], kept: 1) == 1)
        #expect(Grants.target(1, own: idle, others: [claims[1]], kept: 1) == 0)
        #expect(Grants.target(1, own: idle, others: []) == 0)
    }

    @Test(arguments: 1...6)
    func noDayHasMoreThanItMay(_ seed: UInt64) {
        var simulation = DaySimulation(seed: seed, nodes: 4, limit: [3, 40, 2_000][Int(seed) % 3])
        for _ in 0..<30_000 { simulation.step() }
        #expect(simulation.worst <= simulation.limit, "messages of 24 hours")
        #expect(simulation.worst * 10 >= simulation.limit * 6)
    }

    @Test(arguments: [
        (5, 100, 0, 5), (500, 10_000, 0, 100), (5, 10, 10, 0), (5, 10, 9, 1), (50, 100, 20, 10), (0, 9, 0, 0),
    ])
    func aBatchLeavesSomethingForOthers(_ wanted: Int, _ limit: Int, _ used: Int, _ batch: Int) {
        #expect(DayShares.batch(wanted: wanted, limit: limit, used: used) == batch)
    }
}

/// Nodes with clocks of their own, rows, leases, and a peer that counts as one relay would.
struct RateSimulation {
    private struct Node {
        var number: Int64
        /// Milliseconds that its clock is ahead.
        let offset: Int64
        var parts = 0
        var pace = Pace()
        /// By its own clock.
        var leaseEnd: Int64
        var standsUntil: Int64 = 0
        var hasMail = true
        var beatAt: Int64 = 0
    }

    private struct Row {
        var claim: GrantClaim
        var leaseUntil: Int64
    }

    private var dice: Dice
    private let rate: Rate
    private let buckets: Int
    private var unit: Int { RateParts.whole / buckets }
    private var fill: Int64 { Int64(rate.burst) * rate.interval }
    private var nodes: [Node]
    private var rows: [Int64: Row] = [:]
    /// What those who gave back left behind; the server's clock, microseconds.
    private var left: Int64 = 0
    private var next: Int64
    /// The server's clock, milliseconds.
    private(set) var time: Int64 = 1_000_000
    private let start: Int64 = 1_000_000
    private var peer = Pace()
    var isCalm = false
    private(set) var tooMany = 0
    private(set) var sent = 0
    private(set) var deaths = 0

    init(seed: UInt64, nodes count: Int, rate: Rate) {
        dice = Dice(seed)
        self.rate = rate
        buckets = RateParts.buckets(burst: rate.burst)
        next = Int64(count) + 1
        let until = time + 9_000
        nodes = (1...count).map {
            Node(number: Int64($0), offset: Int64($0) * 77_777, leaseEnd: until + Int64($0) * 77_777)
        }
        for node in nodes {
            rows[node.number] = Row(
                claim: GrantClaim(node: node.number, sessions: 0, wanted: 0),
                leaseUntil: time + 10_000
            )
        }
    }

    /// - Parameter milliseconds: of the server's clock.
    mutating func run(_ milliseconds: Int64) {
        let end = time + milliseconds
        while time < end { step() }
    }

    private mutating func step() {
        time += Int64(dice.roll(100))
        let place = dice.roll(nodes.count)
        for other in nodes.indices where nodes[other].standsUntil <= time {
            if time >= nodes[other].beatAt { beat(other) }
            // Whoever may send sends when its time has come.
            if isCalm { send(other) }
        }
        guard nodes[place].standsUntil <= time else { return }
        switch dice.roll(isCalm ? 96 : 100) {
        case 96 where dice.roll(6) == 0: die(place)
        case 97 where dice.roll(6) == 0: nodes[place].standsUntil = time + Int64(dice.roll(40_000))
        case 98: nodes[place].hasMail.toggle()
        case 0..<40: settle(place)
        default: send(place)
        }
        if isCalm { for node in nodes.indices { nodes[node].hasMail = true } }
    }

    private func local(_ place: Int) -> Uptime { Uptime(milliseconds: time + nodes[place].offset) }

    private mutating func send(_ place: Int) {
        guard nodes[place].hasMail, local(place).milliseconds <= nodes[place].leaseEnd, nodes[place].parts > 0 else {
            return
        }
        let own = rate.part(nodes[place].parts, of: RateParts.whole)
        while nodes[place].pace.opens(own, at: local(place)) == nil {
            nodes[place].pace.take(own, at: local(place))
            sent += 1
            if peer.opens(rate, at: Uptime(milliseconds: time)) != nil { tooMany += 1 }
            peer.take(rate, at: Uptime(milliseconds: time))
        }
    }

    /// A new process under a new number; its row stands until its lease is over.
    private mutating func die(_ place: Int) {
        deaths += 1
        let offset = nodes[place].offset
        nodes[place] = Node(number: next, offset: offset, leaseEnd: 0)
        rows[next] = Row(claim: GrantClaim(node: next, sessions: 0, wanted: 0), leaseUntil: time + 10_000)
        nodes[place].leaseEnd = time + offset + 9_000
        next += 1
    }

    private mutating func beat(_ place: Int) {
        nodes[place].beatAt = time + 2_000
        // Those whose lease ran out leave behind what they may have used.
        for (number, row) in rows where row.leaseUntil < time {
            if row.claim.sessions > 0 { left = max(left, time * 1000 + fill) }
            rows[number] = nil
        }
        if rows[nodes[place].number] == nil {
            nodes[place].parts = 0
            nodes[place].number = next
            rows[next] = Row(claim: GrantClaim(node: next, sessions: 0, wanted: 0), leaseUntil: 0)
            next += 1
        }
        rows[nodes[place].number]?.leaseUntil = time + 10_000
        nodes[place].leaseEnd = time + nodes[place].offset + 9_000
    }

    /// What `SharedGrants` does behind its lock.
    private mutating func settle(_ place: Int) {
        let node = nodes[place]
        guard let row = rows[node.number], row.leaseUntil > time else { return }
        var mine = row.claim
        let before = mine.sessions
        let others = rows.values.map(\.claim).filter { $0.node != node.number }
        mine.wanted = node.hasMail ? buckets : 0
        let turn = time / RateParts.turn(fill: fill)
        let target = Grants.target(buckets, own: mine, others: others, turn: turn, kept: dice.roll(2) * buckets)
        let usable = min(node.parts, target * unit)
        nodes[place].parts = usable
        mine.sessions = Grants.next(buckets, held: 0, target: target, others: others)
        rows[node.number]?.claim = mine
        if mine.sessions < before {
            left = max(left, time * 1000 + max(0, node.pace.arrival - local(place).milliseconds * 1000))
        }
        let ahead = max(0, left - time * 1000)
        // The answer comes later, or never.
        guard isCalm || dice.roll(20) > 0 else { return }
        time += Int64(dice.roll(20))
        if mine.sessions * unit > usable {
            nodes[place].pace.arrival = RateParts.joined(node.pace.arrival, local(place).milliseconds * 1000 + ahead)
        }
        nodes[place].parts = min(mine.sessions, target) * unit
    }
}

/// Nodes that take messages of a day in batches.
struct DaySimulation {
    private struct Node {
        var count = 0
        var slice: Int64 = 0
    }

    private static let hour: Int64 = 3_600_000

    private var dice: Dice
    private var nodes: [Node]
    let limit: Int
    private var taken: [Int64: Int] = [:]
    private var time: Int64 = 500 * hour
    private var sent: [Int64] = []
    private(set) var worst = 0

    init(seed: UInt64, nodes count: Int, limit: Int) {
        dice = Dice(seed)
        nodes = Array(repeating: Node(), count: count)
        self.limit = limit
    }

    mutating func step() {
        time += Int64(dice.roll(24_000))
        let slice = time / Self.hour
        let place = dice.roll(nodes.count)
        let isOver = nodes[place].slice != slice
        switch dice.roll(500) {
        // It dies with what it has taken.
        case 0: nodes[place] = Node()
        default:
            if isOver || nodes[place].count == 0 {
                // What is left of an earlier hour is that hour's.
                if isOver, nodes[place].count > 0 {
                    taken[nodes[place].slice, default: 0] -= nodes[place].count
                }
                let now = Timestamp(milliseconds: time)
                let counts = WindowCount((slice - 24...slice).map { taken[$0] ?? 0 }, newest: slice)
                let used = counts.total(at: now)
                let count = DayShares.batch(wanted: 1 + dice.roll(50), limit: limit, used: used)
                nodes[place] = Node(count: count, slice: slice)
                taken[slice, default: 0] += count
            }
            guard nodes[place].count > 0 else { return }
            nodes[place].count -= 1
            sent.append(time)
            sent.removeFirst(sent.prefix { $0 < time - 24 * Self.hour }.count)
            worst = max(worst, sent.count)
        }
    }
}
