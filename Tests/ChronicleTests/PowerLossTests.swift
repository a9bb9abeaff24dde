// PowerLossTests.swift — the power goes after every system call of a scenario that accepts, defers, delivers, bounces, holds and
// removes: history is what happened, no event is missing or doubled, and none that was shown is undone (G7).

import Files
import History
import Mail
import NIOCore
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Chronicle

/// What was told to the spool before the power went.
private struct Told {
    /// Handed to it.
    var offered: Set<UInt64> = []
    /// The client has its 250.
    var accepted: Set<UInt64> = []
    var facts: [(number: UInt64, facts: Facts, isEnd: Bool, isSynced: Bool)] = []

    mutating func add(_ number: UInt64, _ facts: Facts, isEnd: Bool) {
        self.facts.append((number, facts, isEnd, false))
    }

    mutating func allSynced() { for index in facts.indices { facts[index].isSynced = true } }
}

private struct PowerIsGone: Error {}

private func message(_ number: UInt64, body: Int) -> NewMessage {
    let text =
        "Message-ID: <\(number)@from.example>\r\nX-Tag: t\(number % 3)\r\n\r\n"
        + String(repeating: "a\r\n", count: body / 3)
    let recipients = (0..<2).map { place in
        Recipient(EmailAddress(local: "user\(place)", domain: Domain(unchecked: "to\(number).example")))
    }
    return NewMessage(
        id: QueueID(rawValue: number),
        acceptedAt: Timestamp(milliseconds: 1_700_000_000_000 + Int64(number)),
        envelope: Envelope(
            sender: .address(EmailAddress(local: "sender", domain: Domain(unchecked: "from.example"))),
            recipients: recipients
        ),
        content: Content(
            prologue: ByteBuffer(string: "Received: \(number)\r\n"),
            body: .memory(ByteBuffer(string: text)),
            hasLeadingDots: false,
            isEightBit: false
        )
    )
}

/// A spool that is followed, on a disk whose power goes.
private final class Machine {
    let crash: CrashDisk
    let spool: Spool
    let history: ModelHistory
    var reader: LogReader
    var recovered: [UInt64: DeliveryState] = [:]
    var holds: [QueueID: Hold]
    var places: [UInt64: Location] = [:]
    var told: Told
    private let results: Results
    private var clock: Int64 = 1_700_000_000_000

    private final class Results: Sendable {
        let all = Mutex<[QueueID: Result<Location, QueueError>]>([:])
    }

    static func options(_ bytes: Int) -> Spool.Options {
        var options = Spool.Options()
        options.segmentSize = 8 << 10
        options.worksInBackground = false
        options.retryDelay = 0
        options.readPause = 0
        options.isFollowed = true
        options.journalBytes = bytes
        return options
    }

    init(_ crash: CrashDisk, _ history: ModelHistory, _ told: Told = Told(), journalBytes: Int = 1 << 30) throws {
        (self.crash, self.history, self.told) = (crash, history, told)
        let results = Results()
        self.results = results
        spool = Spool(directory: "/data/queue", disk: crash.disk, options: Self.options(journalBytes)) { _ in }
        var found: [UInt64: DeliveryState] = [:]
        var places: [UInt64: Location] = [:]
        try spool.recover { message in
            found[message.id.rawValue] = message.state
            places[message.id.rawValue] = message.location
        }
        holds = spool.savedHolds()
        try spool.start { batch in
            results.all.withLock { all in for entry in batch { all[entry.id] = entry.result } }
        }
        recovered = found
        self.places = places
        reader = LogReader(
            spool,
            history,
            names: PrivateNames(nil),
            tagHeader: "x-tag",
            now: Timestamp(milliseconds: 1_700_000_000_000)
        )
        // As the queue does: the list of holds may know of one that history was not told of.
        for (id, hold) in holds { spool.append(Self.fact(hold).again, of: id) }
    }

    static func fact(_ hold: Hold) -> Facts {
        var fact = CommandFact(.held, at: hold.since)
        fact.text = hold.reason
        return Facts(.command(fact))
    }

    private func goOn() throws { if crash.isDown { throw PowerIsGone() } }

    func follow() throws {
        clock += 3_000
        history.breakDown(crash.isDown)
        while true {
            guard let step = try? reader.step(now: Timestamp(milliseconds: clock)), !step.isAtEnd else { break }
        }
        try goOn()
    }

    func sync() throws {
        spool.sync()
        try goOn()
        told.allSynced()
    }

    func accept(_ number: UInt64, size: Int = 300) throws {
        try goOn()
        told.offered.insert(number)
        spool.append(message(number, body: size))
        spool.sync()
        while true {
            guard let result = results.all.withLock({ $0[QueueID(rawValue: number)] }) else { continue }
            if case .success(let place) = result {
                places[number] = place
                told.accepted.insert(number)
                // Its sync covered every note before it.
                if !crash.isDown { told.allSynced() }
            }
            break
        }
        try goOn()
    }

    func attempt(_ number: UInt64, _ result: AttemptFact.Part.Result, _ recipients: [UInt32], round: Int) -> Facts {
        var part = AttemptFact.Part(result, recipients, EventData.Words(code: 250, text: "said \(round)"))
        part.host = EventData.Host(host: "mx.example", ip: nil, port: 25)
        if result != .delivered { part.reason = .greylisted }
        return Facts(
            .attempt(
                AttemptFact(
                    at: Timestamp(milliseconds: 1_700_000_000_000 + Int64(round)),
                    attempt: round,
                    lane: LaneName(.domain(Domain(unchecked: "to\(number).example"))),
                    parts: [part]
                )
            )
        )
    }

    func deferral(_ number: UInt64, round: Int) throws {
        try goOn()
        let facts = attempt(number, .deferred, [1], round: round)
        told.add(number, facts, isEnd: false)
        let group = DeliveryState.Group(
            recipients: [0, 1],
            failures: UInt16(round),
            due: Timestamp(milliseconds: 5),
            reply: nil,
            attemptedAt: Timestamp(milliseconds: 4)
        )
        spool.append(DeliveryState(waiting: [group]), of: QueueID(rawValue: number), facts)
        try sync()
    }

    func settle(_ number: UInt64, _ facts: Facts) throws {
        try goOn()
        guard let place = places[number] else { return }
        told.add(number, facts, isEnd: true)
        spool.appendSettled(QueueID(rawValue: number), at: place, facts)
        try goOn()
    }

    func hold(_ number: UInt64) throws {
        try goOn()
        let hold = Hold(since: Timestamp(milliseconds: 77 + Int64(number)), reason: "why")
        holds[QueueID(rawValue: number)] = hold
        guard (try? spool.save(holds)) != nil else { throw PowerIsGone() }
        let facts = Self.fact(hold)
        told.add(number, facts, isEnd: false)
        spool.append(facts, of: QueueID(rawValue: number))
        try sync()
    }
}

@Suite struct PowerLossTests {
    private static func run(_ machine: Machine) throws {
        for number in 1...3 as ClosedRange<UInt64> { try machine.accept(number) }
        try machine.follow()
        try machine.deferral(1, round: 1)
        try machine.settle(2, machine.attempt(2, .delivered, [0, 1], round: 2))
        try machine.follow()
        try machine.hold(1)
        for number in 10...24 as ClosedRange<UInt64> {
            try machine.accept(number, size: 900)
            try machine.settle(number, machine.attempt(number, .delivered, [0, 1], round: Int(number)))
            if number % 4 == 0 { try machine.follow() }
            if number == 14 { try machine.deferral(3, round: 3) }
        }
        try machine.settle(3, machine.attempt(3, .bounced, [0, 1], round: 4))
        try machine.accept(30)
        var removed = CommandFact(.removed, at: Timestamp(milliseconds: 9))
        removed.text = "away with it"
        try machine.settle(30, Facts(.command(removed)))
        try machine.accept(31)
        try machine.follow()
        try machine.settle(1, machine.attempt(1, .delivered, [0, 1], round: 6))
        try machine.sync()
        try machine.follow()
    }

    private func verify(_ before: Machine, _ cut: PowerCut, _ seed: UInt64, _ place: Comment) throws {
        let shown = before.history.items
        let told = before.told
        let disk = CrashDisk(limit: .max, on: before.crash.disk.afterPowerCut(cut))
        let after = try Machine(disk, before.history.afterPowerCut(cut, seed), told)
        after.spool.sync()
        try after.follow()
        let history = after.history
        // What was shown stays, at the same place.
        #expect(history.items.count >= shown.count, "events are gone, \(place)")
        for (a, b) in zip(shown, history.items) where !isSame(a, b) { Issue.record("\(a) became \(b), \(place)") }
        for number in told.offered {
            let count = history.acceptedCount(number)
            if told.accepted.contains(number) { #expect(count == 1, "accepted \(number), \(place)") }
            if after.recovered[number] != nil { #expect(count == 1, "\(number) is in the queue, \(place)") }
            #expect(count <= 1, "accepted \(number), \(place)")
        }
        for entry in told.facts {
            let count = history.count(entry.facts, of: entry.number)
            #expect(count <= 1, "\(entry.number) twice, \(place)")
            if entry.isSynced { #expect(count == 1, "\(entry.number) lacks a fact, \(place)") }
            if entry.isEnd {
                // A message is gone if, and only if, history knows how it ended.
                let isGone = after.recovered[entry.number] == nil
                #expect(isGone == (count == 1), "\(entry.number) is gone: \(isGone), \(place)")
                #expect(history.endCount(entry.number) == count, place)
            }
        }
        for id in after.holds.keys {
            let held = history.items.count { item in
                guard case .note(id, let facts, _, _) = item else { return false }
                return facts.decoded.contains { if case .command(let fact) = $0 { fact.type == .held } else { false } }
            }
            #expect(held == 1, "\(id) is held, \(place)")
        }
        after.spool.close()
    }

    /// Contexts are looked up, so they may come from elsewhere.
    private func isSame(_ a: HistoryItem, _ b: HistoryItem) -> Bool {
        switch (a, b) {
        case (.note(let idA, let factsA, let endA, _), .note(let idB, let factsB, let endB, _)):
            idA == idB && factsA.bytes == factsB.bytes && endA == endB
        default: a == b
        }
    }

    @Test func historyIsWhatHappenedWhereverThePowerGoes() throws {
        let whole = try Machine(CrashDisk(limit: .max), ModelHistory())
        try Self.run(whole)
        whole.spool.close()
        let calls = whole.crash.calls
        #expect(calls > 60)
        #expect(whole.history.items.count > 40)
        // The segments of mail that is gone and read were given back.
        #expect(
            whole.crash.disk.paths.count { $0.utf8.elementsEqual("/data/queue/00000000000000000001.seg".utf8) } == 0
        )
        for limit in 0...calls {
            let crash = CrashDisk(limit: limit)
            guard let machine = try? Machine(crash, ModelHistory()) else { continue }
            do { try Self.run(machine) } catch is PowerIsGone {}
            machine.history.breakDown(true)
            machine.spool.close()
            let cuts: [PowerCut] = [.keepsEverything, .keepsNothing, .keepsSome(seed: UInt64(limit))]
            for (index, cut) in cuts.enumerated() {
                try verify(machine, cut, UInt64(limit * 3 + index), "after call \(limit) of \(calls), \(cut)")
            }
        }
    }

    /// A follower that never comes keeps what is promised and no more, and the gap is an event.
    @Test func aSegmentWaitsWithinItsBoundAndTheGapIsTold() throws {
        let machine = try Machine(CrashDisk(limit: .max), ModelHistory(), journalBytes: 24 << 10)
        try machine.accept(1)
        try machine.follow()
        try machine.settle(1, machine.attempt(1, .delivered, [0, 1], round: 1))
        for number in 2...60 as ClosedRange<UInt64> {
            try machine.accept(number, size: 1_500)
            try machine.settle(number, machine.attempt(number, .delivered, [0, 1], round: 2))
        }
        let segments = machine.crash.disk.paths.count {
            $0.utf8.elementsEqual("/data/queue/00000000000000000001.seg".utf8)
        }
        #expect(segments == 0)
        try machine.follow()
        let gaps = machine.history.items.compactMap { item -> Int? in
            guard case .event(let fact) = item, fact.type == .journalTruncated else { return nil }
            return fact.count
        }
        #expect(gaps.count == 1 && (gaps.first ?? 0) > 1)
        // The newest are all there.
        #expect(machine.history.acceptedCount(60) == 1)
        machine.spool.close()
    }

    @Test func aCommitThatFailsIsMadeAgain() throws {
        let machine = try Machine(CrashDisk(limit: .max), ModelHistory())
        try machine.accept(1)
        machine.history.breakDown(true)
        #expect(throws: HistoryError.self) { try machine.reader.step(now: Timestamp(milliseconds: 0)) }
        machine.history.breakDown(false)
        try machine.settle(1, machine.attempt(1, .delivered, [0, 1], round: 1))
        try machine.sync()
        try machine.follow()
        #expect(machine.history.acceptedCount(1) == 1)
        #expect(machine.history.endCount(1) == 1)
        machine.spool.close()
    }
}
