// SpoolPowerLossTests.swift — the power goes after every single system call of a scenario, and what was not synced is
// found whole, not at all, or by halves. Design §7, G1–G6.

import Files
import Mail
import NIOCore
import TestSupport
import Testing

@testable import Storage

/// What was promised to whom before the power went.
private struct Promises {
    /// Handed to the spool.
    var offered: [UInt64: (size: Int, isLarge: Bool)] = [:]
    /// The client has its 250.
    var accepted: Set<UInt64> = []
    /// The record that a message is finished was handed over, or is known to be synced.
    var settling: Set<UInt64> = []
    var settled: Set<UInt64> = []
    /// Every state since (and with) the last one that is known to be synced.
    var states: [UInt64: [DeliveryState]] = [:]
}

private struct PowerIsGone: Error {}

/// Runs a scenario and writes down what it may rely on.
private struct Driver {
    let crash: CrashDisk
    let harness: SpoolHarness
    var promises: Promises
    var places: [UInt64: Location] = [:]

    init(_ crash: CrashDisk, _ promises: Promises = Promises()) throws {
        self.crash = crash
        self.promises = promises
        harness = try SpoolHarness(crash.disk, options: SpoolHarness.options(segment: 8 << 10))
    }

    private func goOn() throws { if crash.isDown { throw PowerIsGone() } }

    mutating func accept(_ numbers: ClosedRange<UInt64>, size: Int = 300) throws {
        try goOn()
        for number in numbers { promises.offered[number] = (size, false) }
        for number in numbers { harness.spool.append(testMessage(number, body: size)) }
        for number in numbers {
            guard let location = try? harness.result(of: QueueID(rawValue: number)) else { continue }
            places[number] = location
            promises.accepted.insert(number)
        }
        try goOn()
    }

    mutating func acceptLarge(_ number: UInt64, size: Int) throws {
        try goOn()
        promises.offered[number] = (size, true)
        if let location = try? harness.acceptLarge(number, size: size) {
            places[number] = location
            promises.accepted.insert(number)
        }
        try goOn()
    }

    mutating func settle(_ number: UInt64) throws {
        try goOn()
        guard let location = places[number] else { return }
        promises.settling.insert(number)
        harness.spool.appendSettled(QueueID(rawValue: number), at: location)
        harness.spool.sync()
        try goOn()
        promises.settled.insert(number)
    }

    mutating func deferral(_ number: UInt64, _ state: DeliveryState) throws {
        try goOn()
        promises.states[number, default: [DeliveryState()]].append(state)
        harness.spool.append(state, of: QueueID(rawValue: number))
        harness.spool.sync()
        try goOn()
        promises.states[number] = [state]
    }

    mutating func move(_ number: UInt64) throws {
        try goOn()
        guard let location = places[number] else { return }
        let state = promises.states[number]?.last ?? DeliveryState()
        if let target = try? harness.spool.move(QueueID(rawValue: number), from: location, state) {
            places[number] = target
        }
        try goOn()
    }
}

/// Starts a spool on what is left, and holds it against the promises.
private func verify(_ disk: MemoryDisk, _ promises: Promises, _ cut: PowerCut, _ place: Comment) throws {
    var harness = try SpoolHarness(disk, options: SpoolHarness.options(segment: 8 << 10, behind: true))
    for life in 0..<2 {
        #expect(Set(harness.order).count == harness.order.count, place)
        for number in promises.accepted.subtracting(promises.settling) {
            #expect(harness.recovered[QueueID(rawValue: number)] != nil, "accepted \(number) is lost, \(place)")
        }
        for (id, message) in harness.recovered {
            let number = id.rawValue
            let offered = promises.offered[number]
            #expect(offered != nil, "\(number) was never offered, \(place)")
            #expect(!promises.settled.contains(number), "settled \(number) is back, \(place)")
            let original = testMessage(number, body: offered?.size ?? 0)
            #expect(message.envelope == original.envelope, place)
            let content = try? harness.content(id)
            #expect(content == (try? bytes(of: original.content)), "\(number) has other bytes, \(place)")
            let states = promises.states[number] ?? [DeliveryState()]
            #expect(states.contains(message.state), "\(number) has an unknown state, \(place)")
        }
        // Sectors kept by chance leave holes that look like damage; nothing else may.
        if cut == .keepsNothing || cut == .keepsEverything { #expect(harness.count(.damaged) == 0, place) }
        guard life == 0, cut != .keepsEverything else { break }
        // It works on, and what it takes now is there the next time.
        let number: UInt64 = 900_000
        try harness.accept(testMessage(number))
        var known = Set(harness.recovered.keys)
        known.insert(QueueID(rawValue: number))
        harness.spool.close()
        harness = try SpoolHarness(disk.afterKill(), options: SpoolHarness.options(segment: 8 << 10))
        #expect(Set(harness.order) == known, place)
        if let location = harness.recovered[QueueID(rawValue: number)]?.location {
            harness.spool.appendSettled(QueueID(rawValue: number), at: location)
        }
        harness.spool.close()
        return
    }
}

@Suite struct SpoolPowerLossTests {
    fileprivate enum Scenario: String, CaseIterable, Sendable {
        case acceptSmall, acceptLarge, deferral, settle, settleLarge, move, recycle, pinned

        func run(_ driver: inout Driver) throws {
            switch self {
            case .acceptSmall:
                for first in stride(from: 1 as UInt64, through: 30, by: 3) { try driver.accept(first...first + 2) }
            case .acceptLarge:
                for number in 1...4 as ClosedRange<UInt64> {
                    try driver.accept(number * 10...number * 10 + 1)
                    try driver.acceptLarge(number, size: 5_000)
                }
            case .deferral:
                try driver.accept(1...6)
                for round in 1...4 as ClosedRange<UInt16> {
                    for number in 1...6 as ClosedRange<UInt64> {
                        let group = DeliveryState.Group(
                            recipients: [0],
                            failures: round,
                            due: Timestamp(milliseconds: Int64(round)),
                            reply: LastReply("451 no"),
                            attemptedAt: Timestamp(milliseconds: 4)
                        )
                        try driver.deferral(number, DeliveryState(waiting: [group]))
                    }
                }
            case .settle:
                for number in 1...12 as ClosedRange<UInt64> {
                    try driver.accept(number...number)
                    if number > 3 { try driver.settle(number - 3) }
                }
            case .settleLarge:
                for number in 1...4 as ClosedRange<UInt64> {
                    try driver.acceptLarge(number, size: 3_000)
                    if number > 1 { try driver.settle(number - 1) }
                }
            case .move:
                try driver.accept(1...2)
                try driver.deferral(1, DeliveryState(delayReported: true))
                for number in 10...26 as ClosedRange<UInt64> {
                    try driver.accept(number...number, size: 900)
                    try driver.settle(number)
                    for kept in [1, 2] as [UInt64]
                    where driver.places[kept].map({ driver.harness.spool.isBeingEmptied($0) }) ?? false {
                        try driver.move(kept)
                    }
                }
            case .recycle:
                for number in 1...28 as ClosedRange<UInt64> {
                    try driver.accept(number...number, size: 1_000)
                    if number % 5 != 0 || number < 14 { try driver.settle(number) }
                }
            case .pinned:
                // One message stays in the oldest segment; what was settled beside it must stay settled.
                for number in 1...22 as ClosedRange<UInt64> {
                    try driver.accept(number...number, size: 1_000)
                    if number != 2 { try driver.settle(number) }
                }
            }
        }
    }

    /// Everything, nothing, and some by chance; more chances with more effort.
    private static func cuts(_ seed: Int) -> [PowerCut] {
        let chances = Effort.count(1)
        return [.keepsEverything, .keepsNothing] + (0..<chances).map { .keepsSome(seed: UInt64(seed * chances + $0)) }
    }

    @Test(arguments: Scenario.allCases)
    fileprivate func losesNothingWhereverThePowerGoes(scenario: Scenario) throws {
        let whole = CrashDisk(limit: .max)
        var driver = try Driver(whole)
        try scenario.run(&driver)
        driver.harness.spool.close()
        let calls = whole.calls
        #expect(calls > 20)
        for limit in 0...calls {
            let crash = CrashDisk(limit: limit)
            var promises = Promises()
            if var driver = try? Driver(crash) {
                do { try scenario.run(&driver) } catch is PowerIsGone {}
                promises = driver.promises
                driver.harness.spool.close()
            }
            for cut in Self.cuts(limit) {
                try verify(
                    crash.disk.afterPowerCut(cut),
                    promises,
                    cut,
                    "\(scenario.rawValue) after call \(limit), \(cut)"
                )
            }
        }
    }

    /// Whatever is left of a segment that becomes a spare, no message is there without the note beside it that it is
    /// settled (issue 10).
    @Test func whatWasSettledStaysSoWhileItsSegmentBecomesASpare() throws {
        func prepare(_ driver: inout Driver) throws {
            try driver.accept(1...9)
            for number in 2...9 as ClosedRange<UInt64> { try driver.settle(number) }
            // It needs a segment of its own; the first message is all that keeps the one before.
            try driver.accept(10...10, size: 6_000)
        }
        let first = "/data/queue/\(SegmentFile.name(1))"
        let whole = CrashDisk(limit: .max)
        var driver = try Driver(whole)
        try prepare(&driver)
        let before = whole.calls
        #expect(whole.disk.paths.contains(first))
        try driver.settle(1)
        let calls = whole.calls
        #expect(!whole.disk.paths.contains(first))
        driver.harness.spool.close()
        for limit in before...calls {
            let crash = CrashDisk(limit: limit)
            var driver = try Driver(crash)
            do {
                try prepare(&driver)
                try driver.settle(1)
            } catch is PowerIsGone {}
            driver.harness.spool.close()
            for seed in 0..<UInt64(Effort.count(40)) {
                let cut = PowerCut.keepsSome(seed: seed)
                try verify(crash.disk.afterPowerCut(cut), driver.promises, cut, "call \(limit) of \(calls), \(cut)")
            }
        }
    }

    /// A segment that a start removes does not come back when the notes about its messages are gone (issue 10).
    ///
    /// The process was killed when it was about to become a spare, and its headers say so in memory only.
    @Test func whatWasSettledStaysSoWhenThePowerGoesAfterAKill() throws {
        func prepare(_ driver: inout Driver) throws {
            // Spares enough that none is made after the kill.
            for number in 20...23 as ClosedRange<UInt64> { try driver.accept(number...number, size: 6_000) }
            for number in 20...23 as ClosedRange<UInt64> { try driver.settle(number) }
            try driver.accept(1...2)
            // Their notes come into the next segment, beside a message that keeps it.
            try driver.accept(10...10, size: 6_000)
            try driver.settle(2)
        }
        let whole = CrashDisk(limit: .max)
        var driver = try Driver(whole)
        try prepare(&driver)
        let before = whole.calls
        try driver.settle(1)
        let calls = whole.calls
        driver.harness.spool.close()
        for limit in before..<calls {
            let killed = CrashDisk(limit: limit)
            var driver = try Driver(killed)
            do {
                try prepare(&driver)
                try driver.settle(1)
            } catch is PowerIsGone {}
            driver.harness.spool.close()
            /// Starts again, and empties the segment of the notes.
            func goOn(_ crash: CrashDisk) throws -> (start: Int, Promises) {
                var again = try Driver(crash, driver.promises)
                let start = crash.calls
                again.places[10] = again.harness.recovered[QueueID(rawValue: 10)]?.location
                do { try again.settle(10) } catch is PowerIsGone {}
                defer { again.harness.spool.close() }
                return (start, again.promises)
            }
            let counted = CrashDisk(limit: .max, on: killed.disk)
            let start = try goOn(counted).start
            for second in start...counted.calls {
                let crash = CrashDisk(limit: second, on: killed.disk)
                let promises = try goOn(crash).1
                for seed in 0..<UInt64(Effort.count(3)) {
                    let cut = PowerCut.keepsSome(seed: seed)
                    try verify(crash.disk.afterPowerCut(cut), promises, cut, "call \(limit), then \(second), \(cut)")
                }
            }
        }
    }

    /// The power goes again while the spool gets up.
    @Test func losesNothingWhenThePowerGoesDuringRecovery() throws {
        let first = CrashDisk(limit: .max)
        var driver = try Driver(first)
        try Scenario.move.run(&driver)
        try driver.accept(200...210)
        try driver.acceptLarge(300, size: 4_000)
        try driver.settle(205)
        let left = first.disk.afterPowerCut(.keepsEverything)
        driver.harness.spool.close()
        for limit in 0..<200 {
            let second = CrashDisk(limit: limit, on: left)
            let options = SpoolHarness.options(segment: 8 << 10, behind: limit % 2 == 0)
            let harness = try? SpoolHarness(second.disk, options: options)
            harness?.spool.close()
            for cut in Self.cuts(limit) {
                try verify(second.disk.afterPowerCut(cut), driver.promises, cut, "recovery cut at \(limit), \(cut)")
            }
            if !second.isDown { break }
            #expect(limit < 199, "recovery makes more calls than the loop covers")
        }
    }

    @Test func aReplacedFileIsTheOldOneOrTheNewOne() throws {
        let path = "/data/outbound.ini"
        let (old, new) = (Array("old = 1\n".utf8), [UInt8](repeating: 0x6E, count: 3_000))
        let base = MemoryDisk()
        try base.replace(path, with: old)
        for limit in 0..<40 {
            let crash = CrashDisk(limit: limit, on: base.afterPowerCut(.keepsEverything))
            let isDone = (try? crash.disk.replace(path, with: new)) != nil
            for cut in Self.cuts(limit) {
                let after = crash.disk.afterPowerCut(cut)
                let found = after.bytes(path)
                #expect(found == new || (!isDone && found == old), "call \(limit), \(cut)")
                try after.replace(path, with: old)
                #expect(after.bytes(path) == old)
            }
            if !crash.isDown { return }
        }
        Issue.record("replace makes more calls than the loop covers")
    }

    @Test func holdsAreTheOldOnesOrTheNewOnesAndOutliveRecovery() throws {
        let old = [QueueID(rawValue: 1): Hold(since: Timestamp(milliseconds: 5), reason: "old")]
        var new = old
        new[QueueID(rawValue: 2)] = Hold(
            since: Timestamp(milliseconds: 6),
            until: Timestamp(milliseconds: 7),
            reason: "new one"
        )
        let base = MemoryDisk()
        let first = Spool(directory: "/data/queue", disk: base) { _ in }
        try first.recover { _ in }
        try first.start { _ in }
        try first.save(old)
        first.close()
        for limit in 0..<40 {
            let crash = CrashDisk(limit: limit, on: base.afterPowerCut(.keepsEverything))
            let spool = Spool(directory: "/data/queue", disk: crash.disk) { _ in }
            let isDone = (try? spool.save(new)) != nil
            for cut in Self.cuts(limit) {
                let again = Spool(directory: "/data/queue", disk: crash.disk.afterPowerCut(cut)) { problem in
                    Issue.record("\(problem)")
                }
                try again.recover { _ in }
                try again.start { _ in }
                let found = again.savedHolds()
                #expect(found == new || (!isDone && found == old), "call \(limit), \(cut)")
                again.close()
            }
            if !crash.isDown { return }
        }
        Issue.record("saving makes more calls than the loop covers")
    }
}
