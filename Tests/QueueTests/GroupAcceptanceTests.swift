// GroupAcceptanceTests.swift — messages that are accepted together or not at all.

import Mail
import NIOCore
import NIOPosix
import Storage
import TestSupport
import Testing

@testable import Queue

struct GroupAcceptanceTests {
    private let store = MemoryStore()
    private let queue: MailQueue
    private let loop = MultiThreadedEventLoopGroup.singleton.any()

    init() throws {
        queue = MailQueue(
            store: store,
            disk: NIOThreadPool(numberOfThreads: 1),
            memory: MemoryBudget(limit: 1 << 20),
            options: MailQueue.Options()
        ) { address, _ in .domain(address.domain) }
        _ = try queue.recover(at: .now(), wall: .now())
    }

    private func messages(_ numbers: ClosedRange<UInt64>) throws -> [NewMessage] {
        try numbers.map { number in
            NewMessage(
                id: QueueID(rawValue: number),
                acceptedAt: .now(),
                envelope: Envelope(
                    sender: .null,
                    recipients: [Recipient(try #require(EmailAddress("u\(number)@a.test")))]
                ),
                content: Content(
                    prologue: ByteBuffer(),
                    body: .memory(ByteBuffer(string: "x: y\r\n\r\nhello\r\n")),
                    hasLeadingDots: false,
                    isEightBit: false
                )
            )
        }
    }

    /// Hands them in; the future has the one answer.
    private func accept(_ messages: [NewMessage], firstLeads: Bool = false) -> EventLoopFuture<QueueError?> {
        for message in messages { queue.memory.force(message.residentBytes) }
        let answered = loop.makePromise(of: QueueError?.self)
        queue.accept(messages, firstLeads: firstLeads, by: .smtp, on: loop) { answered.succeed($0) }
        return answered.futureResult
    }

    @Test func nothingIsThereBeforeTheLastIsDurable() async throws {
        let answer = accept(try messages(1...3))
        store.commit(atMost: 2)
        #expect(queue.counts.messages == 0)
        // Others do not wait for them.
        let single = accept(try messages(9...9))
        store.commit()
        #expect(try await answer.get() == nil)
        #expect(try await single.get() == nil)
        #expect(queue.counts.messages == 4 && queue.counts.waiting == 4)
    }

    @Test(arguments: [0, 1, 2])
    func oneThatIsNotDurableTakesTheOthersWithIt(good: Int) async throws {
        let answer = accept(try messages(1...3))
        if good > 0 { store.commit(atMost: good) }
        store.commit(.full("no room"), atMost: 1)
        store.commit()
        guard case .full? = try await answer.get() else {
            Issue.record("no error")
            return
        }
        #expect(queue.counts.messages == 0 && queue.memory.used == 0)
        // What is on disk is marked as done with, so that no restart delivers it.
        let settled = store.records.filter { if case .settled = $0 { true } else { false } }
        #expect(settled.count == 2)
    }

    @Test func whatFollowsIsWrittenWhenTheFirstIsDurable() async throws {
        let answer = accept(try messages(1...3), firstLeads: true)
        #expect(store.records == [.message(QueueID(rawValue: 1))])
        store.commit()
        #expect(store.records.count == 3 && queue.counts.messages == 0)
        store.commit()
        #expect(try await answer.get() == nil)
        #expect(queue.counts.messages == 3)
    }

    @Test(arguments: [0, 1, 2])
    func withoutOneOfThemThereIsNone(good: Int) async throws {
        let answer = accept(try messages(1...3), firstLeads: true)
        for _ in 0..<good { store.commit(atMost: 1) }
        store.commit(.full("no room"), atMost: 1)
        store.commit()
        guard case .full? = try await answer.get() else {
            Issue.record("no error")
            return
        }
        #expect(queue.counts.messages == 0 && queue.memory.used == 0)
        let settled = store.records.filter { if case .settled = $0 { true } else { false } }
        #expect(settled.count == (good == 0 ? 0 : 2), "those that are durable are done with")
    }
}
