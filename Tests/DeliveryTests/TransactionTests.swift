// TransactionTests.swift — several recipients against servers that count: every round makes progress, nobody is asked about for
// ever, what is learnt makes the next rounds whole, and real answers about a recipient stay with it.

import Departure
import Mail
import NIOCore
import SMTP
import Storage
import Testing

@testable import Delivery
@testable import Queue

struct TransactionTests {
    private static let lane = Lane.route("*")
    private let now = Timestamp(milliseconds: 1_800_000_000_000)

    /// What a server says to the recipients of one transaction; nil takes one.
    typealias Server = ([EmailAddress]) -> [Reply?]

    /// Attempts until everyone is delivered or refused, as the queue makes them: what is untried at once, deferred ones later.
    private struct Course {
        var rounds = 0
        var commands = 0
        var delivered: [String: Int] = [:]
        var bounced: [String] = []
        var failures = 0
        /// Rounds that waited for a timer.
        var waits = 0
    }

    private func run(_ addresses: [String], memory: PeerMemory = PeerMemory(), _ server: Server) throws -> Course {
        var course = Course()
        let envelope = Envelope(
            sender: .null,
            recipients: try addresses.map { Recipient(try #require(EmailAddress($0))) }
        )
        var open = Array(0..<UInt32(addresses.count))
        while !open.isEmpty, course.rounds < 200 {
            course.rounds += 1
            var attempt = Attempt(
                assignment(envelope, open, course.failures),
                terms: TransactionTerms(memory, of: Self.lane.description, at: now)
            )
            let asked = attempt.transaction().recipients.map { envelope.recipients[Int($0)].address }
            course.commands += asked.count
            let (next, lesson) = attempt.take(Self.outcomes(server(asked)), hostsLeft: 0, lacksTLS: false)
            #expect(next == nil)
            if let lesson { memory.learn(lesson, about: Self.lane.description, at: now) }
            let parcel = attempt.parcel
            let verdicts = Verdicts(parcel, attempt.outcomes, patience: Patience())
            for taken in verdicts.delivered { course.delivered[addresses[Int(taken.recipient)], default: 0] += 1 }
            course.bounced += verdicts.bounced.map { addresses[Int($0.recipient)] }
            if verdicts.delivered.count + verdicts.bounced.count == 0 || !verdicts.deferred.isEmpty {
                course.waits += 1
            }
            if !verdicts.deferred.isEmpty, verdicts.kind == .failure { course.failures += 1 }
            let settled = Set((verdicts.delivered.map(\.recipient)) + verdicts.bounced.map(\.recipient))
            open.removeAll { settled.contains($0) }
        }
        return course
    }

    private func assignment(_ envelope: Envelope, _ recipients: [UInt32], _ failures: Int) -> Assignment {
        let id = Parcel.ID(message: QueueID(rawValue: 1), ticket: Ticket(1))
        return Assignment(
            parcel: Parcel(id: id, lane: Self.lane, recipients: recipients, failures: failures, acceptedAt: now),
            envelope: envelope,
            content: Content(
                prologue: ByteBuffer(),
                body: .memory(ByteBuffer(string: "x\r\n")),
                hasLeadingDots: false,
                isEightBit: false
            )
        )
    }

    /// As the machine reports them: the dot is taken when somebody was.
    private static func outcomes(_ replies: [Reply?]) -> [Outcome?] {
        let receipt = Receipt(reply: Reply(250, nil, "ok"), host: "h", ip: nil, port: 25)
        return replies.map { reply in
            guard let reply else { return .delivered(receipt) }
            let failure = Failure(.recipient, at: .recipient, reply)
            return reply.severity == .permanent ? .bounced(failure) : .deferred(failure)
        }
    }

    private static func sixty(_ domain: (Int) -> String = { _ in "y.test" }) -> [String] {
        (0..<60).map { "u\($0)@\(domain($0))" }
    }

    private static func taking(_ count: Int, then reply: Reply) -> Server {
        { asked in asked.indices.map { $0 < count ? nil : reply } }
    }

    // MARK: servers that count

    @Test(
        arguments: [
            Reply(452, EnhancedStatus(4, 5, 3), "too many"), Reply(452, nil, "too many recipients"),
            Reply(452, nil, "#4.5.3 too many"), Reply(450, EnhancedStatus(4, 5, 3), "x"),
            Reply(451, EnhancedStatus(4, 5, 3), "x"), Reply(552, EnhancedStatus(5, 5, 3), "x"),
            Reply(552, nil, "too many recipients"), Reply(550, EnhancedStatus(5, 5, 3), "x"),
            Reply(451, nil, "sorry (#4.5.3)"),
        ],
        [1, 5, 7, 59]
    )
    func allSixtyAtOnce(_ reply: Reply, _ limit: Int) throws {
        let course = try run(Self.sixty(), Self.taking(limit, then: reply))
        #expect(course.delivered.count == 60 && course.delivered.values.allSatisfy { $0 == 1 })
        #expect(course.failures == 0 && course.waits == 0 && course.bounced.isEmpty)
        #expect(course.rounds == (60 + limit - 1) / limit)
        // The number is learnt in the first round: no RCPT is wasted behind it.
        #expect(course.commands == 60 + (60 - limit))
    }

    @Test func theNumberIsRememberedForTheNextMessage() throws {
        let memory = PeerMemory()
        let server = Self.taking(5, then: Reply(452, nil, "too many"))
        _ = try run(Self.sixty(), memory: memory, server)
        #expect(try run(Self.sixty(), memory: memory, server).commands == 60)
    }

    @Test(arguments: [
        Reply(451, EnhancedStatus(4, 3, 0), "Multiple destination domains per transaction is unsupported"),
        Reply(451, nil, "one domain"), Reply(452, nil, "one domain"), Reply(450, EnhancedStatus(4, 5, 1), "one domain"),
    ])
    func oneDomainInATransaction(_ reply: Reply) throws {
        let course = try run(Self.sixty { "d\($0 % 6).test" }) { asked in
            asked.map { $0.domain == asked[0].domain ? nil : reply }
        }
        #expect(course.delivered.count == 60 && course.failures == 0 && course.waits == 0)
        #expect(course.rounds == 6 && course.commands == 60 + 50)
    }

    @Test func aCountIsNoMatterOfDomains() throws {
        let memory = PeerMemory()
        let course = try run(Self.sixty { "d\($0).test" }, memory: memory, Self.taking(5, then: Reply(452, nil, "no")))
        #expect(course.delivered.count == 60 && course.rounds == 12)
        #expect(memory.value(of: .recipients, of: Self.lane.description, at: now) == 5)
        #expect(!memory.knows(.oneDomain, of: Self.lane.description, at: now))
    }

    @Test func aServerThatSaysNothingOfACountGetsThemAllWithoutAFailure() throws {
        let course = try run(Self.sixty(), Self.taking(5, then: Reply(451, nil, "later")))
        #expect(course.delivered.count == 60 && course.failures == 0 && course.bounced.isEmpty)
        #expect(course.rounds == 12)
    }

    @Test func tooManyForTheWholeMessageHalvesIt() throws {
        let memory = PeerMemory()
        let reply = Reply(550, EnhancedStatus(5, 5, 3), "too many recipients")
        var offered: [Int] = []
        for _ in 0..<4 {
            let addresses = try Self.sixty().map { Recipient(try #require(EmailAddress($0))) }
            var attempt = Attempt(
                assignment(Envelope(sender: .null, recipients: addresses), Array(0..<60), 0),
                terms: TransactionTerms(memory, of: Self.lane.description, at: now)
            )
            let asked = attempt.transaction().recipients.count
            offered.append(asked)
            let failure = Failure(.message, at: .endOfData, reply)
            let (_, lesson) = attempt.take(
                Array(repeating: .bounced(failure), count: asked),
                hostsLeft: 0,
                lacksTLS: false
            )
            #expect(Verdicts(attempt.parcel, attempt.outcomes, patience: Patience()).bounced.isEmpty)
            memory.learn(try #require(lesson), about: Self.lane.description, at: now)
        }
        #expect(offered == [60, 30, 15, 7])
    }

    // MARK: answers that are about the recipient

    @Test(arguments: [
        Reply(451, EnhancedStatus(4, 7, 1), "greylisted"), Reply(450, EnhancedStatus(4, 2, 0), "greylisted"),
        Reply(452, EnhancedStatus(4, 2, 2), "mailbox full"), Reply(451, nil, "greylisted"),
    ])
    func oneThatIsPutOffWaitsAndFailsByItself(_ reply: Reply) throws {
        let memory = PeerMemory()
        let course = try run(["a@y.test", "later@y.test", "c@y.test"], memory: memory) { asked in
            asked.map { $0.local == "later" ? reply : nil }
        }
        #expect(course.delivered == ["a@y.test": 1, "c@y.test": 1])
        // The attempt that delivered to the others is none of its failures; the 13 of its own are.
        #expect(course.rounds == 14 && course.failures == 12 && course.bounced == ["later@y.test"])
        #expect(memory.everything(of: Self.lane.description, at: now).isEmpty)
    }

    @Test func allRefusedIsAFailureLikeAnyOther() throws {
        let course = try run(Self.sixty(), Self.taking(0, then: Reply(452, EnhancedStatus(4, 5, 3), "too many")))
        #expect(course.rounds == 13 && course.bounced.count == 60 && course.delivered.isEmpty)
    }

    @Test func withoutDelaysTheRestGoesAtOnceAndFailsAlone() throws {
        let parcel = assignment(Envelope(sender: .null, recipients: []), [0, 1], 0).parcel
        let outcomes = Self.outcomes([nil, Reply(450, nil, "later")])
        var none = Patience()
        none.retries = RetrySchedule(intervals: [])
        let verdicts = Verdicts(parcel, outcomes, patience: none)
        #expect(verdicts.bounced.isEmpty && verdicts.deferred.count == 1 && verdicts.delay == 0)
        #expect(Verdicts(parcel, [outcomes[1], outcomes[1]], patience: none).bounced.count == 2)
    }

    // MARK: copies

    @Test func oneThatIsGivenFiveTimesIsSaidOnce() throws {
        let addresses = ["b@y.test", "b@Y.TEST", "c@y.test", "b@y.test", "B@y.test", "b@y.test", "b@y.test"]
        var asked: [[String]] = []
        let course = try run(addresses) { said in
            asked.append(said.map(\.local))
            return said.map { _ in nil }
        }
        #expect(asked == [["b", "c", "B"]])
        // Each copy has its outcome.
        #expect(course.delivered.values.reduce(0, +) == 7 && course.rounds == 1)
    }

    @Test func copiesShareEveryOutcome() throws {
        let course = try run(["b@y.test", "a@y.test", "b@y.test"]) { said in
            said.map { $0.local == "b" ? Reply(550, EnhancedStatus(5, 1, 1), "no") : nil }
        }
        #expect(course.bounced == ["b@y.test", "b@y.test"] && course.delivered == ["a@y.test": 1])
    }

    @Test func copiesOfThoseWhoWaitForTheNextTransactionWaitToo() throws {
        let addresses = (0..<6).flatMap { ["u\($0)@y.test", "u\($0)@y.test"] }
        let course = try run(addresses, Self.taking(2, then: Reply(452, nil, "too many")))
        #expect(course.delivered.values.allSatisfy { $0 == 2 } && course.delivered.count == 6)
        #expect(course.rounds == 3 && course.failures == 0)
    }
}
