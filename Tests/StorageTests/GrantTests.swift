// GrantTests.swift — a lane's sessions among nodes: shares, and a simulation in which nodes come, die and stand still.

import Mail
import Testing

@testable import Storage

@Suite struct GrantTests {
    @Test(arguments: [
        (20, [20, 20], [10, 10]), (20, [3, 20], [3, 17]), (2, [5, 5, 5, 5], [1, 1, 0, 0]), (5, [2, 1, 0], [2, 1, 0]),
        (0, [1], [0]), (7, [9, 9, 9], [3, 2, 2]), (10, [], []),
    ])
    func sharesAreEvenAndNoMoreThanWanted(_ limit: Int, _ wanted: [Int], _ shares: [Int]) {
        #expect(Grants.shares(of: limit, wanted) == shares)
    }

    @Test func aloneANodeHasWhatItWantsUpToTheLimit() {
        let own = GrantClaim(node: 1, sessions: 0, wanted: 30)
        #expect(Grants.target(20, own: own, others: []) == 20)
        #expect(Grants.next(20, held: 0, target: 20, others: []) == 20)
    }

    @Test func whatOthersHaveIsNeverGivenTwice() {
        let other = GrantClaim(node: 1, sessions: 20, wanted: 20)
        let own = GrantClaim(node: 2, sessions: 0, wanted: 20)
        #expect(Grants.target(20, own: own, others: [other]) == 10)
        #expect(Grants.next(20, held: 0, target: 10, others: [other]) == 0)
        // The other one goes down to its share, but has more as yet.
        #expect(Grants.target(20, own: other, others: [own]) == 10)
        #expect(Grants.next(20, held: 13, target: 10, others: [own]) == 13)
    }

    @Test func whoIsGoneKeepsWhatItMayStillHave() {
        let gone = GrantClaim(node: 1, sessions: 2, wanted: 2, isAlive: false)
        #expect(Grants.target(2, own: GrantClaim(node: 2, sessions: 0, wanted: 5), others: [gone]) == 0)
        #expect(Grants.heir([gone, GrantClaim(node: 3, sessions: 1, wanted: 1)]) == 3)
        #expect(Grants.heir([gone]) == nil)
    }

    @Test func whoHasMuchGivesHalfOfTheDifferenceAndNothingComesBack() throws {
        let gift = try #require(Balance.gift(own: 1_000, others: [(2, 0), (3, 400)]))
        #expect(gift.node == 2 && gift.count == 500)
        #expect(Balance.gift(own: 500, others: [(2, 500), (3, 400)]) == nil)
        #expect(Balance.gift(own: 150, others: [(2, 0)]) == nil && Balance.gift(own: 5_000, others: []) == nil)
    }

    @Test func mailGoesOnlyToWhoCanHaveAPart() {
        let claims = [GrantClaim(node: 1, sessions: 1, wanted: 5), GrantClaim(node: 2, sessions: 1, wanted: 1)]
        #expect(Balance.mayTake(2, 2, claims) && !Balance.mayTake(3, 2, claims) && Balance.mayTake(3, 3, claims))
        let gone = claims + [GrantClaim(node: 4, sessions: 1, wanted: 1, isAlive: false)]
        #expect(!Balance.mayTake(3, 3, gone) && Balance.mayTake(3, 4, gone))
        // What cannot be divided stays where it is.
        let low = GrantClaim(node: 1, sessions: 0, wanted: 3), high = GrantClaim(node: 9, sessions: 1, wanted: 3)
        #expect(Grants.target(1, own: low, others: [high]) == 0 && Grants.target(1, own: high, others: [low]) == 1)
    }

    /// Six seeds of a cluster whose nodes live by rows alone: what peers see never exceeds the limit.
    @Test(arguments: 1...6)
    func thePeerNeverSeesMoreThanTheLimit(_ seed: UInt64) {
        var simulation = GrantSimulation(seed: seed, nodes: 6, lanes: 5)
        for _ in 0..<2_500 { simulation.step() }
        #expect(simulation.worst <= 0, "so many sessions beyond a limit")
        #expect(simulation.carried > 30)
        // When nobody dies any more every lane is used to its limit by those who want it.
        simulation.isCalm = true
        for _ in 0..<1_500 { simulation.step() }
        #expect(simulation.unused == 0)
    }
}

/// A generator that gives the same numbers for the same seed.
struct Dice {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

    mutating func roll(_ sides: Int) -> Int {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return Int(state % UInt64(max(1, sides)))
    }
}

/// Nodes, lanes with limits, rows of grants, and peers that count.
struct GrantSimulation {
    private struct Node {
        var number: Int64
        var isAlive = true
        /// It does nothing, and its sessions stand.
        var stands = 0
        var grants: [Int]
        var sessions: [Int]
        var wanted: [Int]
    }

    private var dice: Dice
    private var nodes: [Node]
    private let limits: [Int]
    /// By lane and the number of a life.
    private var rows: [[Int64: GrantClaim]]
    private var numbers: Int64
    var isCalm = false
    /// Sessions beyond a limit, at the worst moment.
    private(set) var worst = Int.min
    private(set) var carried = 0

    init(seed: UInt64, nodes count: Int, lanes: Int) {
        dice = Dice(seed)
        limits = (0..<lanes).map { [1, 2, 5, 20, 7][$0 % 5] }
        rows = limits.map { _ in [:] }
        numbers = Int64(count)
        let none = [Int](repeating: 0, count: lanes)
        nodes = (1...count).map { Node(number: Int64($0), grants: none, sessions: none, wanted: none) }
    }

    /// Sessions that could be used and are not.
    var unused: Int {
        limits.indices.reduce(0) { sum, lane in
            let wanted = nodes.reduce(0) { $0 + $1.wanted[lane] }
            return sum + max(0, min(limits[lane], wanted) - nodes.reduce(0) { $0 + $1.sessions[lane] })
        }
    }

    mutating func step() {
        let place = dice.roll(nodes.count)
        if nodes[place].stands > 0 {
            nodes[place].stands -= isCalm ? nodes[place].stands : 1
        } else {
            act(place)
        }
        for lane in limits.indices {
            worst = max(worst, nodes.reduce(0) { $0 + $1.sessions[lane] } - limits[lane])
        }
    }

    private mutating func act(_ place: Int) {
        let lane = dice.roll(limits.count)
        switch isCalm ? 10 + dice.roll(90) : dice.roll(100) {
        case 0: die(place)
        case 1: nodes[place].stands = dice.roll(200)
        case 2..<10: if !isCalm { nodes[place].wanted[lane] = dice.roll(3) * dice.roll(12) }
        case 10..<50: settle(place, lane)
        case 50..<80:
            let most = min(nodes[place].grants[lane], nodes[place].wanted[lane])
            if nodes[place].sessions[lane] < most {
                nodes[place].sessions[lane] = isCalm ? most : nodes[place].sessions[lane] + 1
                carried += 1
            }
        default:
            let isTooMany = nodes[place].sessions[lane] > nodes[place].grants[lane]
            if nodes[place].sessions[lane] > 0, !isCalm || isTooMany {
                nodes[place].sessions[lane] = isCalm ? nodes[place].grants[lane] : nodes[place].sessions[lane] - 1
            }
        }
    }

    /// The process is gone, and its sessions with it; another one takes its place under a new number.
    private mutating func die(_ place: Int) {
        for lane in limits.indices { rows[lane][nodes[place].number] = nil }
        numbers += 1
        nodes[place].number = numbers
        for lane in limits.indices { (nodes[place].sessions[lane], nodes[place].grants[lane]) = (0, 0) }
    }

    /// What `SharedGrants` does behind its lock; the answer to a COMMIT may be lost.
    private mutating func settle(_ place: Int, _ lane: Int) {
        let node = nodes[place]
        var mine = rows[lane][node.number] ?? GrantClaim(node: node.number, sessions: 0, wanted: 0)
        let others = rows[lane].values.filter { $0.node != node.number }
        mine.wanted = node.wanted[lane]
        let target = Grants.target(limits[lane], own: mine, others: others)
        nodes[place].grants[lane] = min(node.grants[lane], target)
        mine.sessions = Grants.next(limits[lane], held: node.sessions[lane], target: target, others: others)
        rows[lane][node.number] = mine
        if isCalm || dice.roll(20) > 0 { nodes[place].grants[lane] = min(mine.sessions, target) }
    }
}
