// HoldsLogTests.swift — the list of held messages as a file and a log of changes: what was saved is there, at a cost that does not grow.

import Files
import Mail
import TestSupport
import Testing

@testable import Storage

@Suite struct HoldsLogTests {
    private static func hold(_ number: Int64, until: Int64? = nil) -> Hold {
        Hold(
            since: Timestamp(milliseconds: number),
            until: until.map { Timestamp(milliseconds: $0) },
            reason: "reason \(number)"
        )
    }

    private static func id(_ number: UInt64) -> QueueID { QueueID(rawValue: number) }

    private static func spool(_ disk: any Disk) -> Spool {
        Spool(directory: "/data/queue", disk: disk) { Issue.record("\($0)") }
    }

    private static func opened(_ disk: any Disk) throws -> Spool {
        let spool = spool(disk)
        try spool.recover { _ in }
        return spool
    }

    @Test func theLastWordCounts() throws {
        let disk = MemoryDisk()
        let spool = try Self.opened(disk)
        _ = spool.savedHolds()
        let (one, two) = (Self.id(1), Self.id(2))
        try spool.save([HoldChange(one, Self.hold(1)), HoldChange(two, Self.hold(2, until: 9))]) { [:] }
        try spool.save([HoldChange(one, nil)]) { [:] }
        try spool.save([HoldChange(two, Self.hold(2, until: 11))]) { [:] }
        #expect(Self.spool(disk).savedHolds() == [two: Self.hold(2, until: 11)])
        try spool.save([HoldChange(one, Self.hold(3))]) { [:] }
        #expect(Self.spool(disk).savedHolds() == [two: Self.hold(2, until: 11), one: Self.hold(3)])
        spool.close()
    }

    /// What is to bounce is told from what is held, in the log and in the list.
    @Test(arguments: Hold.Kind.allCases)
    func whatDiesIsNoHoldAfterAStart(_ kind: Hold.Kind) throws {
        let disk = MemoryDisk()
        let spool = try Self.opened(disk)
        _ = spool.savedHolds()
        let end = Timestamp(milliseconds: 9)
        let hold = Hold(since: Timestamp(milliseconds: 1), until: end, reason: "wrong list", kind)
        let silent = Hold(since: Timestamp(milliseconds: 1), until: end, reason: "", kind)
        try spool.save([HoldChange(Self.id(1), hold), HoldChange(Self.id(2), silent)]) { [:] }
        #expect(Self.spool(disk).savedHolds() == [Self.id(1): hold, Self.id(2): silent])
        let list = HoldsFile.decoded(HoldsFile.encoded([Self.id(1): hold, Self.id(2): silent]))
        #expect(list.holds == [Self.id(1): hold, Self.id(2): silent] && list.damaged.isEmpty)
        // Nobody writes such a reason from outside.
        #expect(!Hold(since: end, reason: "\u{1}held").isDying)
        spool.close()
    }

    /// The list of an earlier version, and changes behind it.
    @Test func readsAListWithoutALog() throws {
        let disk = MemoryDisk()
        let spool = try Self.opened(disk)
        disk.plant("/data/queue/holds", .file, HoldsFile.encoded([Self.id(1): Self.hold(1), Self.id(2): Self.hold(2)]))
        #expect(spool.savedHolds().count == 2)
        let before = disk.bytes("/data/queue/holds")
        try spool.save([HoldChange(Self.id(1), nil)]) { [:] }
        #expect(disk.bytes("/data/queue/holds") == before, "the list is left alone")
        #expect(Self.spool(disk).savedHolds() == [Self.id(2): Self.hold(2)])
        spool.close()
    }

    /// The hundred thousandth costs what the first does, and the log does not grow for ever.
    @Test func costsTheSameHoweverManyAreHeld() throws {
        let disk = MemoryDisk()
        let spool = try Self.opened(disk)
        var held: [QueueID: Hold] = [:]
        for number in 1...20_000 as ClosedRange<UInt64> { held[Self.id(number)] = Self.hold(Int64(number)) }
        try spool.save(held)
        let list = try #require(disk.bytes("/data/queue/holds")).count
        var wasAsked = 0
        var last = 0
        for number in 30_000..<40_000 as Range<UInt64> {
            let change = HoldChange(Self.id(number), Self.hold(Int64(number)))
            held[change.id] = change.hold
            try spool.save([change]) {
                wasAsked += 1
                return held
            }
            let now = disk.bytes("/data/queue/holds.log")?.count ?? 0
            #expect(now - last < 100)
            last = now
        }
        // Written anew when the log has become as long as the list, not before.
        #expect(wasAsked <= 1)
        #expect(last <= 2 * list)
        #expect(Self.spool(disk).savedHolds() == held)
        spool.close()
    }

    @Test func aCutOffChangeIsNoneAndTheNextOneCounts() throws {
        let disk = MemoryDisk()
        let spool = try Self.opened(disk)
        _ = spool.savedHolds()
        try spool.save([HoldChange(Self.id(1), Self.hold(1))]) { [:] }
        let whole = try #require(disk.bytes("/data/queue/holds.log"))
        let more = HoldsLog.encoded([HoldChange(Self.id(1), nil), HoldChange(Self.id(2), Self.hold(2))])
        for cut in 0..<more.count {
            var left = [Self.id(1): Self.hold(1)]
            _ = HoldsLog.apply(Array(whole[whole.count...]) + more.prefix(cut), to: &left)
            #expect(left == [Self.id(1): Self.hold(1)], "cut at \(cut)")
        }
        disk.plant("/data/queue/holds.log", .file, whole + more.dropLast(3))
        let again = Self.spool(disk)
        var known = again.savedHolds()
        #expect(known == [Self.id(1): Self.hold(1)])
        known[Self.id(3)] = Self.hold(3)
        try again.save([HoldChange(Self.id(3), Self.hold(3))]) { known }
        #expect(Self.spool(disk).savedHolds() == known, "it does not stand behind what was cut off")
        spool.close()
    }

    /// In the middle of the log something is wrong: kept for a human, and what it names stays held.
    @Test func damageInTheMiddleReleasesNobody() throws {
        var bytes = HoldsLog.encoded([HoldChange(Self.id(1), Self.hold(1))])
        bytes[bytes.count - 2] ^= 1
        bytes += HoldsLog.encoded([HoldChange(Self.id(2), Self.hold(2))])
        var holds: [QueueID: Hold] = [:]
        let applied = HoldsLog.apply(bytes, to: &holds)
        #expect(!applied.damaged.isEmpty)
        #expect(!applied.isCutOff)
        #expect(Set(holds.keys) == [Self.id(1), Self.id(2)])
    }

    @Test func aFailedWriteIsFollowedByTheWholeList() throws {
        let faulty = FaultyDisk()
        let spool = Spool(directory: "/data/queue", disk: faulty.disk) { _ in }
        try spool.recover { _ in }
        _ = spool.savedHolds()
        try spool.save([HoldChange(Self.id(1), Self.hold(1))]) { [:] }
        faulty.fail("pwrite", "holds.log", code: 5)
        faulty.fail("pwritev", "holds.log", code: 5)
        #expect(throws: QueueError.self) { try spool.save([HoldChange(Self.id(2), Self.hold(2))]) { [:] } }
        faulty.heal()
        let all = [Self.id(1): Self.hold(1), Self.id(3): Self.hold(3)]
        try spool.save([HoldChange(Self.id(3), Self.hold(3))]) { all }
        #expect(Self.spool(faulty.disk).savedHolds() == all)
        spool.close()
    }

    /// The power goes after every call of a change, and of the one that makes the list anew.
    @Test(arguments: [false, true])
    func aChangeIsThereWholeOrNotAtAll(anew: Bool) throws {
        let base = MemoryDisk()
        let first = try Self.opened(base)
        _ = first.savedHolds()
        var old: [QueueID: Hold] = [:]
        for number in 1...(anew ? 2_100 : 3) as ClosedRange<UInt64> {
            old[Self.id(number)] = Self.hold(Int64(number))
        }
        try first.save(old.sorted { $0.key < $1.key }.map { HoldChange($0.key, $0.value) }) { old }
        if anew { #expect((base.bytes("/data/queue/holds.log")?.count ?? 0) > HoldsLog.short - 4_000) }
        first.close()
        let changes =
            [HoldChange(Self.id(1), nil)]
            + (3_000..<3_200).map { HoldChange(Self.id(UInt64($0)), Self.hold(Int64($0))) }
        var new = old
        for change in changes { new[change.id] = change.hold }
        for limit in 0..<60 {
            let crash = CrashDisk(limit: limit, on: base.afterPowerCut(.keepsEverything))
            let spool = Spool(directory: "/data/queue", disk: crash.disk) { _ in }
            _ = spool.savedHolds()
            let isDone = (try? spool.save(changes) { new }) != nil
            let cuts: [PowerCut] = [.keepsEverything, .keepsNothing] + (0..<6).map { .keepsSome(seed: UInt64($0)) }
            for cut in cuts {
                let found = Spool(directory: "/data/queue", disk: crash.disk.afterPowerCut(cut)) { _ in }.savedHolds()
                #expect(found == new || (!isDone && found == old), "call \(limit), \(cut)")
            }
            if !crash.isDown { return }
        }
        Issue.record("saving makes more calls than the loop covers")
    }
}
