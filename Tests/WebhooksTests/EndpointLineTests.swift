// EndpointLineTests.swift — how far a receiver is, whatever becomes of its requests; a seeded simulation with crashes.

import JSON
import Mail
import TestSupport
import Testing

@testable import Webhooks

struct EndpointLineTests {
    private static func time(_ seconds: Int64) -> Timestamp { Timestamp(milliseconds: seconds * 1000) }

    @Test func takesEventsInOrderAndMovesItsPlace() throws {
        var line = EndpointLine(cursor: 10)
        let wish = try #require(line.wish(at: Self.time(1), concurrency: 1))
        #expect(wish == .news(after: 10))
        let flight = line.launch(wish, first: 12, last: 14, events: 2, size: 2)
        #expect(line.cursor == 10)
        #expect(line.wish(at: Self.time(1), concurrency: 1) == nil)
        line.land(flight, .taken, error: "", at: Self.time(2), chance: 0)
        #expect(line.cursor == 14)
        #expect(line.lag(newest: 20) == 6)
        #expect(line.wish(at: Self.time(2), concurrency: 1) == .news(after: 14))
    }

    @Test func aFailureHoldsUpWhatComesBehindUntilItsTime() throws {
        var line = EndpointLine(cursor: 0)
        let flight = line.launch(.news(after: 0), first: 1, last: 3, events: 3, size: 3)
        line.land(flight, .waits(5000, .endpoint), error: "answered 500", at: Self.time(10), chance: 1)
        #expect(line.cursor == 3)
        #expect(line.lag(newest: 3) == 3)
        #expect(line.wish(at: Self.time(15), concurrency: 4) == nil)
        #expect(line.nextTime(after: Self.time(15), concurrency: 4) == Self.time(16))
        guard case .stretch(let stretch)? = line.wish(at: Self.time(16), concurrency: 4) else {
            Issue.record("nothing is due")
            return
        }
        #expect((stretch.first, stretch.last, stretch.size, stretch.tries) == (1, 3, 3, 1))
        let again = line.launch(.stretch(stretch), first: 1, last: 3, events: 3, size: 3)
        line.land(again, .taken, error: "", at: Self.time(17), chance: 0)
        #expect(line.stretches.isEmpty && line.lastError == nil && line.taken == 3)
        #expect(line.wish(at: Self.time(17), concurrency: 1) == .news(after: 3))
    }

    @Test func whatFailsAloneLetsOthersPass() throws {
        var line = EndpointLine(cursor: 0)
        let flight = line.launch(.news(after: 0), first: 1, last: 1, events: 1, size: 1)
        line.land(flight, .waits(120_000, .events), error: "answered 422", at: Self.time(1), chance: 0)
        #expect(line.wish(at: Self.time(2), concurrency: 1) == .news(after: 1))
        let next = line.launch(.news(after: 1), first: 2, last: 2, events: 1, size: 1)
        #expect(!line.terms(of: next).hasTakenOthers)
        line.land(next, .taken, error: "", at: Self.time(2), chance: 0)
        #expect(line.terms(of: next).hasTakenOthers)
        #expect(line.lag(newest: 2) == 1)
    }

    @Test func aRefusedBatchIsDividedAndOnlyOneIsDropped() throws {
        var line = EndpointLine(cursor: 0)
        let flight = line.launch(.news(after: 0), first: 1, last: 3, events: 3, size: 100)
        line.land(flight, .divided(into: 1), error: "answered 406", at: Self.time(1), chance: 0)
        var taken: [UInt64] = []
        while case .stretch(let stretch)? = line.wish(at: Self.time(1), concurrency: 1) {
            #expect(stretch.size == 1 && stretch.blocks)
            let flight = line.launch(.stretch(stretch), first: stretch.first, last: stretch.first, events: 1, size: 1)
            taken.append(stretch.first)
            let step: WebhookStep = stretch.first == 2 ? .dropped : .taken
            line.land(flight, step, error: "answered 406", at: Self.time(1), chance: 0)
        }
        #expect(taken == [1, 2, 3] && line.taken == 2 && line.dropped == 1)
        #expect(line.wish(at: Self.time(1), concurrency: 1) == .news(after: 3))
    }

    @Test func goneIsOffUntilItIsSwitchedOn() throws {
        var line = EndpointLine(cursor: 0)
        let flight = line.launch(.news(after: 0), first: 1, last: 1, events: 1, size: 1)
        line.land(flight, .disabled, error: "answered 410", at: Self.time(1), chance: 0)
        #expect(line.disabledReason == "answered 410")
        #expect(line.wish(at: Self.time(9999), concurrency: 1) == nil)
        #expect(line.nextTime(after: Self.time(1), concurrency: 1) == nil)
        let kept = try #require(EndpointLine(kept: JSON(parsing: line.kept.bytes)))
        #expect(kept.disabledReason == "answered 410")
        line.enable(at: Self.time(10))
        guard case .stretch(let stretch)? = line.wish(at: Self.time(10), concurrency: 1) else {
            Issue.record("what was refused is not sent again")
            return
        }
        #expect(stretch.first == 1)
    }

    @Test func anOverloadedReceiverGetsLess() throws {
        var line = EndpointLine(cursor: 0)
        let flight = line.launch(.news(after: 0), first: 1, last: 1, events: 1, size: 1)
        line.land(flight, .waits(5000, .slowed), error: "answered 502", at: Self.time(0), chance: 0)
        guard case .stretch(let stretch)? = line.wish(at: Self.time(5), concurrency: 4) else {
            Issue.record("nothing is due")
            return
        }
        let again = line.launch(.stretch(stretch), first: 1, last: 1, events: 1, size: 1)
        // One at a time now, although four are allowed.
        #expect(line.wish(at: Self.time(5), concurrency: 4) == nil)
        line.land(again, .waits(30_000, .slowed), error: "answered 502", at: Self.time(5), chance: 0)
        let last = line.launch(.stretch(line.stretches[0]), first: 1, last: 1, events: 1, size: 1)
        line.land(last, .taken, error: "", at: Self.time(40), chance: 0)
        // Two seconds halved: the next one may leave a second later.
        #expect(line.nextTime(after: Self.time(40), concurrency: 4) == Self.time(41))
        #expect(line.wish(at: Self.time(41), concurrency: 4) == .news(after: 1))
    }

    @Test func aReplayHoldsUpNothing() throws {
        var line = EndpointLine(cursor: 50)
        let isBegun = line.replay(10...20, size: 5, at: Self.time(1))
        #expect(isBegun)
        #expect(line.lag(newest: 50) == 0)
        guard case .stretch(let stretch)? = line.wish(at: Self.time(1), concurrency: 1) else {
            Issue.record("no replay")
            return
        }
        let flight = line.launch(.stretch(stretch), first: 10, last: 14, events: 5, size: 5)
        line.land(flight, .waits(5000, .endpoint), error: "answered 500", at: Self.time(1), chance: 0)
        #expect(line.wish(at: Self.time(1), concurrency: 1) == .news(after: 50))
    }

    /// Whatever a receiver answers and whenever the relay dies, each event is taken, and twice at most once per crash; in
    /// order while nothing fails.
    @Test(arguments: 0..<200)
    func losesNothing(_ seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let newest: UInt64 = 60
        let concurrency = 1 + Int(random.next() % 3)
        var line = EndpointLine(cursor: 0)
        var kept = line.kept
        var got: [UInt64: Int] = [:]
        var (dropped, crashes): (Set<UInt64>, Int) = ([], 0)
        var now = Self.time(0)
        var out: [EndpointLine.Flight] = []
        for step in 0..<5000 {
            now = now.adding(milliseconds: 200)
            if step < 2000, random.next() % 40 == 0 {
                // Half of what is out has arrived, and nobody here knows.
                for flight in out where random.next() % 2 == 0 {
                    for seq in flight.first...flight.last { got[seq, default: 0] += 1 }
                }
                line = try #require(EndpointLine(kept: JSON(parsing: kept.bytes)))
                (out, crashes) = ([], crashes + 1)
            }
            if let wish = line.wish(at: now, concurrency: concurrency) {
                switch wish {
                case .news(let after) where after < newest:
                    let last = min(newest, after + 1 + random.next() % 3)
                    let count = Int(last - after)
                    out.append(line.launch(wish, first: after + 1, last: last, events: count, size: 3))
                case .news: break
                case .stretch(let stretch):
                    let last = min(stretch.last, stretch.first + UInt64(stretch.size) - 1)
                    let count = Int(last - stretch.first + 1)
                    out.append(
                        line.launch(wish, first: stretch.first, last: last, events: count, size: stretch.size)
                    )
                }
            }
            guard !out.isEmpty, random.next() % 2 == 0 else { continue }
            let flight = out.remove(at: Int(random.next() % UInt64(out.count)))
            var terms = line.terms(of: flight)
            (terms.retryFirst, terms.retryMax) = (1, 5)
            let isCalm = step > 2000
            let answer: WebhookAnswer =
                isCalm ? .status(200, retryAfter: nil) : Self.answer(random.next() % 8, flight, &random)
            let next = webhookStep(after: answer, terms)
            if next == .taken { for seq in flight.first...flight.last { got[seq, default: 0] += 1 } }
            if next == .dropped { dropped.formUnion(flight.first...flight.last) }
            line.land(flight, next, error: "x", at: now, chance: 0.5)
            kept = line.kept
            #expect(line.stretches.count <= EndpointLine.mostStretches)
        }
        #expect(line.lag(newest: newest) == 0 && line.flights.isEmpty)
        for seq in 1...newest where !dropped.contains(seq) {
            let times = got[seq] ?? 0
            #expect(times >= 1, "\(seq) is lost")
            #expect(times <= 1 + crashes, "\(seq) came \(times) times")
        }
    }

    /// Ten minutes without a receiver, second by second, by the ladder as shipped, while events come and the relay dies now and
    /// then: nothing is lost, order is kept, it is asked seldom, and goes on at the next try.
    @Test(arguments: 0..<20)
    func aReceiverThatIsDeadForTenMinutesLosesNothing(_ seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let (dead, quiet, size) = (60..<660, 900, UInt64(5))
        var line = EndpointLine(cursor: 0)
        var (newest, got, crashes, asked): (UInt64, [UInt64], Int, Int) = (0, [], 0, 0)
        var back: Int?
        for second in 0..<2400 {
            let now = Self.time(Int64(second))
            if second < quiet { newest += random.next() % 3 }
            if random.next() % 100 == 0 {
                line = try #require(EndpointLine(kept: JSON(parsing: line.kept.bytes)))
                crashes += 1
            }
            while let wish = line.wish(at: now, concurrency: 1) {
                let first: UInt64
                let last: UInt64
                switch wish {
                case .news(let after): (first, last) = (after + 1, min(newest, after + size))
                case .stretch(let part):
                    (first, last) = (part.first, min(part.last, part.first + UInt64(part.size) - 1))
                }
                guard first <= last else { break }
                let kept = line.kept
                let flight = line.launch(wish, first: first, last: last, events: Int(last - first + 1), size: Int(size))
                let isDead = dead.contains(second)
                if isDead { asked += 1 } else { got += first...last }
                if !isDead, second >= dead.upperBound, back == nil { back = second }
                if random.next() % 100 == 0 {
                    // It dies with the request out.
                    line = try #require(EndpointLine(kept: JSON(parsing: kept.bytes)))
                    crashes += 1
                    continue
                }
                let answer: WebhookAnswer = isDead ? .silence(.connect) : .status(200, retryAfter: nil)
                line.land(flight, webhookStep(after: answer, line.terms(of: flight)), error: "x", at: now, chance: 0.5)
            }
        }
        #expect(newest > 500 && Set(got) == Set(1...newest), "something is lost")
        #expect(got.count <= Int(newest) + Int(size) * crashes, "doubled, and nothing died")
        var (seen, order): (Set<UInt64>, [UInt64]) = ([], [])
        for seq in got where seen.insert(seq).inserted { order.append(seq) }
        #expect(order == Array(1...newest))
        // 5 s, 30 s, 2 min, 10 min, each up to a fifth longer; a relay that died asks once more.
        #expect(asked <= 5 + crashes)
        #expect(try #require(back) <= dead.upperBound + 720)
        #expect(line.lag(newest: newest) == 0)
    }

    private static func answer(
        _ choice: UInt64,
        _ flight: EndpointLine.Flight,
        _ random: inout SeededRandom
    ) -> WebhookAnswer {
        switch choice {
        case 0: .status(500, retryAfter: nil)
        case 1: .status(flight.events == 1 && random.next() % 4 != 0 ? 200 : 406, retryAfter: nil)
        case 2: .status(502, retryAfter: 1)
        case 3: .silence(.timeout)
        case 4: .status(422, retryAfter: nil)
        default: .status(200, retryAfter: nil)
        }
    }
}
