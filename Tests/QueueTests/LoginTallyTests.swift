// LoginTallyTests.swift — what waits of whom: always what the index holds, whatever comes and goes.

import Mail
import NIOCore
import NIOPosix
import Storage
import TestSupport
import Testing

@testable import Queue

@Suite struct LoginTallyTests {
    private let wall = Timestamp(milliseconds: 1_800_000_000_000)

    private func make(_ store: MemoryStore) throws -> MailQueue {
        let queue = MailQueue(
            store: store,
            disk: NIOThreadPool(numberOfThreads: 1),
            memory: MemoryBudget(limit: 1 << 24),
            options: MailQueue.Options()
        ) { address, _ in .domain(address.domain) }
        _ = try queue.recover(at: .now(), wall: wall)
        return queue
    }

    private func message(
        _ number: UInt64,
        of user: String?,
        caller: String? = nil,
        to count: Int,
        size: Int
    ) -> NewMessage {
        let recipients = (0..<count).compactMap { EmailAddress("\($0)@a.test") }.map { Recipient($0) }
        var envelope = Envelope(sender: .null, recipients: recipients, user: user)
        envelope.notes.caller = caller
        let body = Content.Body.memory(ByteBuffer(repeating: 0x20, count: size))
        let content = Content(prologue: ByteBuffer(), body: body, hasLeadingDots: false, isEightBit: false)
        return NewMessage(id: QueueID(rawValue: number), acceptedAt: wall, envelope: envelope, content: content)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func isWhatTheIndexHolds(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let store = MemoryStore()
        let queue = try make(store)
        var model: [QueueID: (name: String?, size: Int, left: Int)] = [:]
        var results: [String: MailResults] = [:]
        for number in 1...600 as ClosedRange<UInt64> {
            let name = [nil, "app", "token:shop", "c"].randomElement(using: &random) ?? nil
            let (count, size) = (Int.random(in: 1...4, using: &random), Int.random(in: 1...900, using: &random))
            let isToken = name == "token:shop"
            let new = message(number, of: isToken ? nil : name, caller: isToken ? name : nil, to: count, size: size)
            queue.memory.force(new.residentBytes)
            queue.accept(new, by: .smtp, on: MultiThreadedEventLoopGroup.singleton.any()) { _ in }
            let fails = Int.random(in: 0..<9, using: &random) == 0
            store.commit(fails ? .full("no space") : nil)
            if !fails { model[new.id] = (name, size, count) }
            if Bool.random(using: &random),
                case .carry(let work) = queue.next(for: .domain(Domain(unchecked: "a.test")), at: .now())
            {
                let parcel = work.parcel
                let done = parcel.recipients.filter { _ in Bool.random(using: &random) }
                let bounced = done.filter { _ in Bool.random(using: &random) }
                let isDiscarded = Int.random(in: 0..<5, using: &random) == 0
                queue.settle(
                    parcel,
                    done: done,
                    bounced: bounced,
                    isDiscarded: isDiscarded,
                    deferred: nil,
                    at: .now(),
                    wall: wall
                )
                let known = try #require(model[parcel.id.message])
                if let name = known.name {
                    results[name, default: MailResults()].delivered += done.count - bounced.count
                    results[name, default: MailResults()].bounced += isDiscarded ? 0 : bounced.count
                }
                model[parcel.id.message] =
                    known.left == done.count ? nil : (known.name, known.size, known.left - done.count)
            }
            var waiting: [String: WaitingMail] = [:]
            for case (let name?, let size, _) in model.values {
                waiting[name] = (waiting[name] ?? WaitingMail()) + WaitingMail(messages: 1, bytes: size)
            }
            let seen = queue.waitingByLogin.filter { $0.value != WaitingMail() }
            #expect(seen == waiting)
            #expect(queue.waiting(of: "app") == waiting["app"] ?? WaitingMail())
            guard Int.random(in: 0..<40, using: &random) == 0 else { continue }
            let taken = Dictionary(uniqueKeysWithValues: queue.takeResults().map { ($0.name, $0.results) })
            #expect(taken == results.filter { $0.value != MailResults() })
            results = [:]
            #expect(queue.waitingByLogin == waiting, "whom nothing waits of is forgotten")
        }
    }

    @Test func isThereAfterARestart() throws {
        let recovered = (1...5 as ClosedRange<UInt64>).map { number in
            let message = message(number, of: number == 3 ? nil : "app", to: 1, size: 10)
            return RecoveredMessage(
                id: message.id,
                acceptedAt: wall,
                location: MemoryStore.place(1, UInt32(number)),
                envelope: message.envelope,
                size: message.content.size,
                state: DeliveryState()
            )
        }
        let queue = try make(MemoryStore(recovered: recovered))
        #expect(queue.waitingByLogin == ["app": WaitingMail(messages: 4, bytes: 40)])
    }

    @Test func numbersAreBounded() {
        var tally = LoginTally()
        for number in 0..<70_000 { _ = tally.enter("user\(number)", bytes: 1) }
        #expect(tally.waiting.count == Int(UInt16.max))
        #expect(tally.enter("one more", bytes: 1) == 0)
        tally.leave(1, bytes: 1)
        #expect(tally.enter("one more", bytes: 1) == 1 && tally.waiting(of: "one more").messages == 1)
    }
}
