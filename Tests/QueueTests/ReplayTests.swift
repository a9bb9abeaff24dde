// ReplayTests.swift — a replay of a run under the limits that it had gives the same times to the millisecond; under others it
// says when it would have slowed, and what would have left when.

import History
import Mail
import TestSupport
import Testing

@testable import Queue

@Suite struct ReplayTests {
    private let start = Timestamp(milliseconds: 1_900_000_000_000)
    private let limits = Scheduler.Limits(total: 100, perLane: 20, longestRest: 60_000)

    private func attempt(
        _ number: Int,
        _ domain: String,
        due: Int64,
        answered: Int64? = nil,
        _ code: UInt16? = nil
    ) -> ReplayAttempt {
        let sender = EmailAddress("x@s\(number % 3).test").map(ReversePath.address) ?? .null
        let recipient = EmailAddress("r\(number)@\(domain)").map { [Recipient($0)] } ?? []
        var attempt = ReplayAttempt(
            QueueID(rawValue: UInt64(number + 1)),
            .domain(Domain(unchecked: domain)),
            Envelope(sender: sender, recipients: recipient),
            due: start.adding(milliseconds: due),
            answered: start.adding(milliseconds: answered ?? due)
        )
        (attempt.service, attempt.opening, attempt.isDelivered) = (50, 150, code == nil)
        attempt.hosts = ["mx.\(domain)"]
        if let code { attempt.failures = [Failure(.recipient, at: .recipient, Reply(code, nil, "slow down"))] }
        return attempt
    }

    private func run(_ attempts: [ReplayAttempt], _ rules: LimitRules, _ pauses: [ReplayPause] = []) -> ReplayReport {
        var replay = Replay(attempts, pauses, under: rules, limits) { [FailureReason($0).name] }
        return replay.run(until: start.adding(milliseconds: 86_400_000))
    }

    private func busy(_ deed: Deed, _ count: Int = 1) -> LimitRules {
        var rules = LimitRules()
        rules.add(
            Reaction(
                name: "busy",
                when: [.code([4, 5, 1])],
                count: count,
                window: 3_600_000,
                deed: deed,
                origin: "limits.ini:1"
            )
        )
        return rules
    }

    /// The times that a replay gives are those of the run: recorded so, and replayed, they come out again to the message.
    @Test(arguments: [1, 2, 3]) func aRecordedRunIsReproducedToTheMessage(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var rules = busy(.slow(Slope(left: 50, floor: 60, step: 20, every: 60_000)), 2)
        for (scope, rate) in [(LimitScope.lane("a.test"), 40), (.sender("s1.test"), 30)] {
            var terms = LimitTerms()
            (terms.rate, terms.origins[.rate]) = (Rate(rate, per: 60_000), "limits.ini:9")
            rules.add(terms, for: scope)
        }
        var attempts = (0..<600).map { number in
            let code: UInt16? = Int.random(in: 0..<40, using: &random) == 0 ? 451 : nil
            let domain = ["a.test", "b.test", "c.test"][number % 3]
            return attempt(number, domain, due: Int64.random(in: 0..<300_000, using: &random), code)
        }
        attempts.sort { $0.due < $1.due }
        let recorded = run(attempts, rules)
        #expect(recorded.times.count == 600)
        #expect(recorded.hops.contains { $0.notes.contains { $0.kind == .slowed } })
        for (index, time) in recorded.times { attempts[index].answered = time }
        attempts.sort { ($0.answered, $0.message) < ($1.answered, $1.message) }
        let again = run(attempts, rules)
        for (index, attempt) in attempts.enumerated() { #expect(again.times[index] == attempt.answered) }
        #expect(again.hops.flatMap(\.notes) == recorded.hops.flatMap(\.notes))
        #expect(again.hops.allSatisfy { $0.later == 0 && $0.sooner == 0 && $0.waiting == 0 && $0.longest == 0 })
    }

    @Test func saysWhatARateWouldHaveDone() throws {
        var rules = LimitRules()
        var terms = LimitTerms()
        (terms.rate, terms.origins[.rate]) = (Rate(60, per: 60_000, burst: 1), "limits.ini:1")
        rules.add(terms, for: .lane("a.test"))
        let attempts = (0..<20).map { attempt($0, $0 < 10 ? "a.test" : "b.test", due: 0, answered: 300) }
        let report = run(attempts, rules)
        let hop = try #require(report.hops.first { $0.lane.name == "a.test" })
        #expect(hop.attempts == 10 && hop.delivered == 10 && hop.later == 8 || hop.later == 9)
        #expect((8500...9500).contains(hop.longest))
        #expect(report.hops.first { $0.lane.name == "b.test" }?.later == 0)
    }

    @Test func saysWhenItWouldHaveSlowedAndPaused() throws {
        let codes: [Int: UInt16] = [5: 451, 7: 451]
        let attempts = (0..<40).map {
            attempt($0, "a.test", due: Int64($0) * 1000, answered: Int64($0) * 1000 + 50, codes[$0])
        }
        let slowed = try #require(run(attempts, busy(.slow(Slope()), 2)).hops.first)
        #expect(slowed.notes.first?.kind == .slowed && slowed.failed == 2 && slowed.later > 20)
        #expect(slowed.notes.first.map { $0.at.milliseconds(since: start) / 1000 } == 7)
        let paused = try #require(run(attempts, busy(.pause(600_000), 2)).hops.first)
        #expect(paused.notes.map(\.kind) == [.paused] && paused.longest > 560_000)
        let others = try #require(run(attempts, busy(.bounce, 2)).hops.first)
        #expect(others.changed == 1 && others.later == 0)
    }

    @Test func aRetryComesAsLongAfterItsAnswerAsItDid() throws {
        var first = attempt(1, "a.test", due: 0, answered: 50, 451)
        first.opening = 0
        let second = attempt(1, "a.test", due: 60_050, answered: 60_100)
        let pause = Pause(.all, since: start, reason: "", by: "anna")
        let report = run(
            [first, second],
            LimitRules(),
            [ReplayPause(.all, at: start, pause), ReplayPause(.all, at: start.adding(milliseconds: 10_000), nil)]
        )
        let times = [0, 1].map { report.times[$0].map { $0.milliseconds(since: start) } }
        #expect(times[0] == 10_050 || times[0] == 10_051)
        #expect((times[1] ?? 0) - (times[0] ?? 0) == 60_050 || (times[1] ?? 0) - (times[0] ?? 0) == 60_051)
    }

    @Test func eventsBecomeAttempts() throws {
        var reader = ReplayReader()
        func event(_ type: EventType, _ at: Int64, _ change: (inout EventData) -> Void) -> Event {
            var data = EventData()
            (data.message, data.sender, data.route, data.lane) = (
                QueueID(rawValue: 7), "s@s.test", "b.test", "b.test from 192.0.2.1"
            )
            change(&data)
            return Event(seq: 1, epoch: "e", type: type, time: start.adding(milliseconds: at), node: "n", data: data)
        }
        reader.take(event(.accepted, 0) { $0.user = "app" })
        for name in ["one@b.test", "two@b.test"] {
            reader.take(
                event(name == "one@b.test" ? .deferred : .delivered, 1000) {
                    ($0.recipient, $0.attempt, $0.age) = (name, 1, 1000)
                    $0.stages = [
                        EventData.Stage("session", 300), EventData.Stage("envelope", 20), EventData.Stage("data", 30),
                    ]
                    $0.smtp = EventData.Words(code: 451, text: "no", stage: "recipient")
                    $0.nextAttempt = start.adding(milliseconds: 61_000)
                    $0.mx = EventData.Host(host: "MX.b.test")
                }
            )
        }
        reader.take(event(.delivered, 62_000) { ($0.recipient, $0.attempt) = ("one@b.test", 2) })
        reader.take(
            event(.destinationPaused, 63_000) { ($0.message, $0.subject, $0.actor) = (nil, "lane b.test", "anna") }
        )
        reader.take(
            event(.destinationPaused, 63_000) {
                ($0.message, $0.subject, $0.actor) = (nil, "lane b.test", "reaction x")
            }
        )
        #expect(reader.attempts.count == 2 && reader.pauses.map(\.scope) == [.lane("b.test")])
        let first = try #require(reader.attempts.first)
        #expect(first.lane.source?.addresses.map(\.description) == ["192.0.2.1"] && first.envelope.user == "app")
        #expect(first.due == start && first.service == 50 && first.opening == 300 && first.hosts == ["mx.b.test"])
        #expect(
            first.failures.map(\.stage) == [.recipient] && first.isDelivered && first.envelope.recipients.count == 2
        )
        #expect(reader.attempts.last?.due == start.adding(milliseconds: 61_000))
    }
}
