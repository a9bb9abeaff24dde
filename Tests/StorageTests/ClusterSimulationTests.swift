// ClusterSimulationTests.swift — a hundred nodes and ten thousand lanes over the functions that the real ones use: what becomes of
// sessions, grants and mail when nodes die. The long form runs with TEST_SOAK=1; its figures stand in Cluster.md.

import Glibc
import Mail
import Testing

@testable import Storage

@Suite struct ClusterSimulationTests {
    @Test func manyNodesManyLanesAndFailures() {
        let isLong = getenv("TEST_SOAK").map { $0.pointee == UInt8(ascii: "1") } ?? false
        var cluster = ClusterSimulation(seed: 7, nodes: isLong ? 100 : 12, lanes: isLong ? 10_000 : 150)
        let rounds = 60
        for _ in 0..<rounds { cluster.round() }
        print("\(rounds) rounds of two seconds: \(cluster.figures)")
        #expect(cluster.worst <= 0)
        cluster.isCalm = true
        var calm = 0
        while cluster.waiting > 0, calm < 400 {
            cluster.round()
            calm += 1
        }
        print("empty after \(calm) calm rounds: \(cluster.figures)")
        #expect(cluster.worst <= 0 && cluster.accepted == cluster.delivered + cluster.waiting)
        #expect(cluster.waiting == 0)
    }

    /// Lanes of two sessions among many nodes: their mail goes to who has one of them, and stays there.
    @Test func mailOfLowLimitsDoesNotGoToAndFro() {
        var cluster = ClusterSimulation(seed: 3, nodes: 40, lanes: 60, limits: [2])
        for _ in 0..<30 { cluster.round() }
        cluster.isCalm = true
        var calm = 0
        while cluster.waiting > 0, calm < 400 {
            cluster.round()
            calm += 1
        }
        print("empty after \(calm) calm rounds: \(cluster.figures)")
        #expect(cluster.worst <= 0 && cluster.waiting == 0)
        // Each message changes hands once to come to a node that may send it, and now and then for balance or a death.
        #expect(cluster.given <= 2 * cluster.accepted)
    }
}

/// Nodes with mail for lanes, rows of grants, leases, adoption, gifts; two seconds a round.
struct ClusterSimulation {
    private struct Node {
        let number: Int64
        var isDead = false
        /// The round in which its lease ends.
        var leaseEnd = 0
        var mail: [Int: Int] = [:]
        var sessions: [Int: Int] = [:]
        /// Lanes of which it has a row.
        var known: Set<Int> = []
        var due: Int { mail.values.reduce(0, +) }
    }

    /// Messages of one session in a round.
    private static let pace = 20
    /// Rounds of a lease.
    private static let lease = 5

    private var dice: Dice
    private var nodes: [Node]
    private let limits: [Int]
    private var rows: [[Int64: GrantClaim]]
    private var time = 0
    private var nextNumber: Int64
    var isCalm = false
    private(set) var worst = Int.min
    private(set) var accepted = 0
    private(set) var delivered = 0
    private var writes = 0
    private var adopted = 0
    private(set) var given = 0
    private var deaths = 0
    private var longestTakeover = 0
    /// As heartbeats tell them.
    private var dues: [Int] = []
    private var orphans: [(mail: [Int: Int], since: Int)] = []

    init(seed: UInt64, nodes count: Int, lanes: Int, limits kinds: [Int] = [2, 5, 20, 20]) {
        dice = Dice(seed)
        limits = (0..<lanes).map { kinds[$0 % kinds.count] }
        rows = limits.map { _ in [:] }
        nextNumber = Int64(count) + 1
        nodes = (1...count).map { Node(number: Int64($0), leaseEnd: Self.lease) }
    }

    var waiting: Int { nodes.reduce(0) { $0 + $1.due } + orphans.reduce(0) { $0 + $1.mail.values.reduce(0, +) } }

    var figures: String {
        """
        \(nodes.count) nodes, \(limits.count) lanes, \(accepted) accepted, \(delivered) delivered, \(waiting) waiting, \(deaths) deaths, \
        \(adopted) adopted, \(given) given away, \(longestTakeover * 2) s until the last takeover began, \
        \(writes / max(1, time)) rows of grants written a round, \(worst) sessions beyond a limit at the worst
        """
    }

    mutating func round() {
        time += 1
        dues = nodes.map(\.due)
        for place in nodes.indices { step(place) }
        var open = [Int](repeating: 0, count: limits.count)
        for node in nodes where !node.isDead { for (lane, count) in node.sessions { open[lane] += count } }
        for lane in limits.indices where open[lane] > 0 { worst = max(worst, open[lane] - limits[lane]) }
    }

    private mutating func step(_ place: Int) {
        guard !nodes[place].isDead else { return bury(place) }
        nodes[place].leaseEnd = time + Self.lease
        if !isCalm {
            if dice.roll(150) == 0 { return die(place) }
            accept(place)
        }
        adopt(place)
        let lanes = Set(nodes[place].mail.keys).union(nodes[place].sessions.keys).union(nodes[place].known)
        for lane in lanes.sorted() { settle(place, lane) }
        balance(place)
        for (lane, count) in nodes[place].sessions where count > 0 {
            let sent = min(nodes[place].mail[lane] ?? 0, count * Self.pace)
            delivered += sent
            nodes[place].mail[lane] = (nodes[place].mail[lane] ?? 0) - sent
            if nodes[place].mail[lane] == 0 { nodes[place].mail[lane] = nil }
        }
    }

    private mutating func accept(_ place: Int) {
        for _ in 0..<8 {
            // A few lanes get most of it.
            let lane = dice.roll(4) == 0 ? dice.roll(4) : dice.roll(limits.count)
            let count = 1 + dice.roll(12)
            nodes[place].mail[lane % limits.count, default: 0] += count
            accepted += count
        }
    }

    private mutating func die(_ place: Int) {
        deaths += 1
        nodes[place].isDead = true
        nodes[place].sessions = [:]
    }

    /// Its lease is over: what it had is whoever's takes it, and another process comes in its place.
    private mutating func bury(_ place: Int) {
        guard time > nodes[place].leaseEnd else { return }
        orphans.append((nodes[place].mail, nodes[place].leaseEnd - Self.lease))
        for lane in limits.indices { rows[lane][nodes[place].number] = nil }
        nodes[place] = Node(number: nextNumber, leaseEnd: time + Self.lease)
        nextNumber += 1
    }

    private mutating func adopt(_ place: Int) {
        guard let orphan = orphans.popLast() else { return }
        longestTakeover = max(longestTakeover, time - orphan.since)
        for (lane, count) in orphan.mail { nodes[place].mail[lane, default: 0] += count }
        adopted += orphan.mail.values.reduce(0, +)
    }

    private mutating func settle(_ place: Int, _ lane: Int) {
        let node = nodes[place]
        let others = rows[lane].values.filter { $0.node != node.number }
        let mail = node.mail[lane] ?? 0
        let before = rows[lane][node.number]
        var mine = before ?? GrantClaim(node: node.number, sessions: 0, wanted: 0)
        mine.wanted = min(limits[lane], (mail + Self.pace - 1) / Self.pace)
        let target = Grants.target(limits[lane], own: mine, others: others)
        let held = min(node.sessions[lane] ?? 0, target)
        mine.sessions = Grants.next(limits[lane], held: held, target: target, others: others)
        let usable = min(mine.sessions, target, mine.wanted)
        nodes[place].sessions[lane] = usable > 0 ? usable : nil
        rows[lane][node.number] = mine.sessions > 0 || mine.wanted > 0 ? mine : nil
        if rows[lane][node.number] != before { writes += 1 }
        if rows[lane][node.number] == nil { nodes[place].known.remove(lane) } else { nodes[place].known.insert(lane) }
        guard mine.sessions == 0, mail > 0, let heir = Grants.heir(Array(others)),
            let other = nodes.firstIndex(where: { $0.number == heir && !$0.isDead })
        else { return }
        nodes[place].mail[lane] = nil
        nodes[other].mail[lane, default: 0] += mail
        given += mail
    }

    private mutating func balance(_ place: Int) {
        let others = nodes.indices.filter { $0 != place && !nodes[$0].isDead }
        guard let (lane, count) = nodes[place].mail.max(by: { ($0.value, $1.key) < ($1.value, $0.key) }) else { return }
        let claims = Array(rows[lane].values)
        let told = others.map { (node: nodes[$0].number, due: dues[$0]) }
            .filter { Balance.mayTake($0.node, limits[lane], claims) }
        guard let gift = Balance.gift(own: dues[place], others: told),
            let other = nodes.firstIndex(where: { $0.number == gift.node })
        else { return }
        let moved = min(count, gift.count)
        nodes[place].mail[lane] = count - moved
        nodes[other].mail[lane, default: 0] += moved
        dues[other] += moved
        given += moved
    }
}
