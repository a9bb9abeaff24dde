// DeliveryTests.swift — from the queue to a next hop on the loopback, and back as settlement, deferral or report.

import Config
import Mail
import NIOCore
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Delivery
@testable import Queue

@Suite(.timeLimit(.minutes(1))) struct DeliveryTests {
    @Test func deliversThroughARoute() async throws {
        let peer = try await LoopbackPeer()
        let house = try House(routes: ["*": [peer.mx]])
        let id = try await house.accept(to: ["b@y.test", "c@y.test"], body: "Subject: x\r\n\r\n.dot\r\n")
        await house.settled(id)
        #expect(peer.messages.map(\.body) == ["Received: test\r\nSubject: x\r\n\r\n.dot\r\n"])
        #expect(peer.messages.first?.to == ["b@y.test", "c@y.test"])
        let lines = house.logLines.filter { $0.contains(id.description) }
        #expect(lines.count { $0.contains(" delivered ") } == 2)
        #expect(lines.count { $0.contains(" message finished ") } == 1)
        #expect(lines.first?.contains("mx=127.0.0.1[127.0.0.1]:\(peer.port)") == true)
        await house.stop()
    }

    @Test func reusesOneSession() async throws {
        let peer = try await LoopbackPeer()
        var options = MailQueue.Options()
        options.concurrencyPerLane = 1
        let house = try House(routes: ["*": [peer.mx]], queueOptions: options)
        var ids: [QueueID] = []
        for number in 0..<200 { ids.append(try await house.accept(to: ["b@y.test"], body: "n: \(number)\r\n\r\n")) }
        for id in ids { await house.settled(id) }
        #expect(peer.messages.count == 200)
        #expect(peer.connections == 1)
        await house.stop()
    }

    @Test func keepsToMessagesPerSession() async throws {
        let peer = try await LoopbackPeer()
        var options = MailQueue.Options()
        options.concurrencyPerLane = 1
        let house = try House(routes: ["*": [peer.mx]], queueOptions: options) { $0.outbound.messagesPerSession = 5 }
        var ids: [QueueID] = []
        for _ in 0..<20 { ids.append(try await house.accept(to: ["b@y.test"])) }
        for id in ids { await house.settled(id) }
        #expect(peer.messages.count == 20)
        let perConnection = Dictionary(grouping: peer.messages, by: \.connection).mapValues(\.count)
        #expect(perConnection.values.allSatisfy { $0 <= 5 })
        await house.stop()
    }

    @Test func bouncesARefusedRecipientWithAReport() async throws {
        let peer = try await LoopbackPeer { line, _ in line.hasPrefix("RCPT TO:<no@") ? "550 5.1.1 no such user" : nil }
        let house = try House(routes: ["*": [peer.mx]])
        let id = try await house.accept(to: ["yes@y.test", "no@y.test"])
        await house.settled(id)
        let report = try #require(house.reports.first)
        #expect(report.contains("no@y.test") && !report.contains("yes@y.test"))
        #expect(report.contains("Status: 5.1.1"))
        // The report was stored before the mark (G2).
        let records = house.store.records
        let stored = try #require(records.lastIndex { if case .message(let other) = $0 { other != id } else { false } })
        let marked = try #require(records.firstIndex(of: .settled(id)))
        #expect(stored < marked)
        // It travels by the same queue.
        await house.store.wait { records in records.count { if case .settled = $0 { true } else { false } } == 2 }
        #expect(peer.messages.contains { $0.from == "" && $0.to == ["a@x.test"] })
        await house.stop()
    }

    @Test func reportsNothingToTheNullSender() async throws {
        let peer = try await LoopbackPeer { line, _ in line.hasPrefix("RCPT") ? "550 5.1.1 no" : nil }
        let house = try House(routes: ["*": [peer.mx]])
        let id = try await house.accept(from: "", to: ["no@y.test"])
        await house.settled(id)
        #expect(house.reports.isEmpty)
        #expect(house.logLines.contains { $0.contains(" bounced ") && $0.contains("none, null sender") })
        await house.stop()
    }

    @Test(arguments: [Notify.never, .failure, [.success, .delay]])
    func obeysNotifyOnFailure(_ notify: Notify) async throws {
        let peer = try await LoopbackPeer { line, _ in line.hasPrefix("RCPT TO:<no@") ? "550 5.1.1 no" : nil }
        let house = try House(routes: ["*": [peer.mx]])
        let id = try await house.accept(to: ["no@y.test"], notify: notify)
        await house.settled(id)
        #expect(house.reports.count == (notify == .failure ? 1 : 0))
        await house.stop()
    }

    @Test func reportsSuccessWhenTheNextHopDoesNot() async throws {
        let peer = try await LoopbackPeer()
        let house = try House(routes: ["*": [peer.mx]])
        let id = try await house.accept(to: ["b@y.test"], notify: .success)
        await house.settled(id)
        #expect(house.reports.first?.contains("Action: relayed") == true)
        await house.stop()
    }

    @Test func leavesSuccessReportsToANextHopWithDSN() async throws {
        let peer = try await LoopbackPeer { line, _ in line.hasPrefix("EHLO") ? "250-peer\r\n250 DSN" : nil }
        let house = try House(routes: ["*": [peer.mx]])
        let id = try await house.accept(to: ["b@y.test"], notify: .success)
        await house.settled(id)
        #expect(house.reports.isEmpty)
        #expect(peer.lines.contains("RCPT TO:<b@y.test> NOTIFY=SUCCESS"))
        await house.stop()
    }

    @Test func reportsADelayOnce() async throws {
        let peer = try await LoopbackPeer { line, _ in line.hasPrefix("RCPT TO:<b@") ? "450 4.2.0 later" : nil }
        let house = try House(routes: ["*": [peer.mx]])
        let old = Timestamp.now().adding(milliseconds: -20_000_000)
        let id = try await house.accept(to: ["b@y.test"], notify: .delay, acceptedAt: old)
        let state = await house.deferred(id)
        #expect(state?.delayReported == true)
        house.queue.flush(nil, at: .now())
        await house.store.wait { records in records.count { $0.isState(of: id) } == 2 }
        #expect(house.reports.count == 1)
        #expect(house.reports.first?.contains("Action: delayed") == true)
        await house.stop()
    }

    @Test func keepsABounceWhoseReportCannotBeStored() async throws {
        let peer = try await LoopbackPeer { line, _ in line.hasPrefix("RCPT") ? "550 5.1.1 no" : nil }
        let house = try House(routes: ["*": [peer.mx]], change: { $0.outbound.isDisabled = false })
        let id = try await house.accept(to: ["no@y.test"])
        house.store.fail()
        let state = await house.deferred(id)
        #expect(state?.waiting.first?.recipients == [0])
        #expect(state?.done == [])
        await house.stop()
    }

    @Test func triesTheNextHostAfterARefusedGreeting() async throws {
        let first = try await LoopbackPeer { line, _ in line.isEmpty ? "554 5.7.1 not today!" : nil }
        let second = try await LoopbackPeer()
        let house = try House(routes: ["*": [first.mx, second.mx]])
        let id = try await house.accept(to: ["b@y.test"])
        await house.settled(id)
        #expect(second.messages.count == 1)
        await house.stop()
    }

    @Test func triesTheNextHostAfterARefusedConnection() async throws {
        let gone = try await LoopbackPeer()
        await gone.close()
        let second = try await LoopbackPeer()
        let house = try House(routes: ["*": [gone.mx, second.mx]])
        let id = try await house.accept(to: ["b@y.test"])
        await house.settled(id)
        #expect(second.messages.count == 1)
        await house.stop()
    }

    @Test(arguments: ["MAIL", "DATA", "."])
    func triesTheNextHostAfterATemporaryRefusal(_ command: String) async throws {
        let first = try await LoopbackPeer { line, _ in
            line.hasPrefix(command) && (command != "." || line == ".") ? "451 4.3.0 later" : nil
        }
        let second = try await LoopbackPeer()
        let house = try House(routes: ["*": [first.mx, second.mx]])
        let id = try await house.accept(to: ["b@y.test"])
        await house.settled(id)
        #expect(second.messages.count == 1)
        #expect(first.messages.isEmpty)
        await house.stop()
    }

    @Test func asksTheNextHostOnlyForThoseStillOpen() async throws {
        let first = try await LoopbackPeer { line, _ in
            if line.hasPrefix("RCPT TO:<no@") { return "550 5.1.1 no" }
            return line == "." ? "451 4.3.0 later" : nil
        }
        let second = try await LoopbackPeer()
        let house = try House(routes: ["y.test": [first.mx, second.mx], "*": [second.mx]])
        let id = try await house.accept(to: ["no@y.test", "yes@y.test"])
        await house.settled(id)
        #expect(second.messages.contains { $0.to == ["yes@y.test"] })
        #expect(house.reports.count == 1)
        await house.stop()
    }

    @Test func defersWhenAllHostsRefuse() async throws {
        let first = try await LoopbackPeer { line, _ in line.hasPrefix("MAIL") ? "451 4.3.0 later" : nil }
        let second = try await LoopbackPeer { line, _ in line.hasPrefix("MAIL") ? "451 4.3.5 later too" : nil }
        let house = try House(routes: ["*": [first.mx, second.mx]])
        let id = try await house.accept(to: ["b@y.test"])
        let state = await house.deferred(id)
        #expect(state?.waiting.first?.failures == 1)
        #expect(state?.waiting.first?.reply?.text.contains("4.3.5") == true)
        await house.stop()
    }

    @Test func defersWhenNobodyAnswers() async throws {
        let gone = try await LoopbackPeer()
        await gone.close()
        let house = try House(routes: ["*": [gone.mx]])
        let id = try await house.accept(to: ["b@y.test"])
        let state = await house.deferred(id)
        #expect(state?.waiting.first?.reply?.text.contains("connect") == true)
        await house.stop()
    }

    @Test func aDeadDestinationHoldsUpNobody() async throws {
        // Connects and never greets.
        let dead = try await LoopbackPeer { line, _ in line.isEmpty ? "" : nil }
        let alive = try await LoopbackPeer()
        let house = try House(routes: ["dead.test": [dead.mx], "*": [alive.mx]])
        for _ in 0..<100 { try await house.accept(to: ["b@dead.test"]) }
        var ids: [QueueID] = []
        for _ in 0..<50 { ids.append(try await house.accept(to: ["b@y.test"])) }
        for id in ids { await house.settled(id) }
        #expect(alive.messages.count == 50)
        await house.stop()
    }

    @Test func bouncesAtTheLastFailure() async throws {
        let peer = try await LoopbackPeer { line, _ in line.hasPrefix("RCPT TO:<b@") ? "450 4.2.0 later" : nil }
        let house = try House(routes: ["*": [peer.mx]]) { $0.outbound.maxTempFailures = 1 }
        let id = try await house.accept(to: ["b@y.test"])
        await house.settled(id)
        #expect(house.reports.first?.contains("Status: 4.4.7") == true)
        await house.stop()
    }

    @Test func bouncesAnUnknownDomain() async throws {
        let peer = try await LoopbackPeer()
        let house = try House(routes: ["x.test": [peer.mx]])
        let id = try await house.accept(to: ["b@nowhere.test"])
        await house.settled(id)
        #expect(house.reports.first?.contains("Status: 5.1.2") == true)
        await house.stop()
    }

    @Test func marksALostReceiptAsPossiblyTwice() async throws {
        let peer = try await LoopbackPeer { line, _ in line == "." ? "!" : nil }
        let house = try House(routes: ["*": [peer.mx]])
        let id = try await house.accept(to: ["b@y.test"])
        _ = await house.deferred(id)
        #expect(house.logLines.contains { $0.contains(id.description) && $0.contains("may be delivered twice") })
        await house.stop()
    }

    @Test func givesASessionThatWasClosedBehindItsBackNoFault() async throws {
        // Takes one message per connection and then goes without a word.
        let peer = try await LoopbackPeer { line, _ in line == "." ? "250 2.0.0 taken!" : nil }
        var options = MailQueue.Options()
        options.concurrencyPerLane = 1
        let house = try House(routes: ["*": [peer.mx]], queueOptions: options)
        var ids: [QueueID] = []
        for _ in 0..<10 { ids.append(try await house.accept(to: ["b@y.test"])) }
        for id in ids { await house.settled(id) }
        #expect(!house.logLines.contains { $0.contains("deferred") })
        await house.stop()
    }

    @Test func deliversByLMTPAndSettlesEachRecipient() async throws {
        let peer = try await LoopbackPeer { line, _ in line == "." ? "250 2.1.5 b\r\n452 4.2.2 c is full" : nil }
        var mx = peer.mx
        mx.usingLMTP = true
        let house = try House(routes: ["*": [mx]])
        let id = try await house.accept(to: ["b@y.test", "c@y.test"])
        let state = await house.deferred(id)
        #expect(state?.done == [0])
        #expect(state?.waiting.first?.recipients == [1])
        await house.stop()
    }

    @Test func streamsALargeBody() async throws {
        let peer = try await LoopbackPeer()
        let house = try House(routes: ["*": [peer.mx]])
        let line = String(repeating: ".x", count: 38) + "\r\n"
        let text = "Subject: large\r\n\r\n" + String(repeating: line, count: 20_000)
        let content = Content(
            prologue: ByteBuffer(string: "Received: test\r\n"),
            body: .file(FakeBody(text)),
            hasLeadingDots: true,
            isEightBit: false
        )
        let id = try await house.accept(to: ["b@y.test"], content: content)
        await house.settled(id)
        #expect(peer.messages.first?.body == "Received: test\r\n" + text)
        await house.stop()
    }

    @Test func defersWhenALargeBodyCannotBeRead() async throws {
        let peer = try await LoopbackPeer()
        let house = try House(routes: ["*": [peer.mx]])
        let body = FakeBody(String(repeating: "x\r\n", count: 300_000))
        body.breaksAt = 300_000
        let content = Content(prologue: ByteBuffer(), body: .file(body), hasLeadingDots: false, isEightBit: false)
        let id = try await house.accept(to: ["b@y.test"], content: content)
        let state = await house.deferred(id)
        #expect(state?.waiting.first?.failures == 1)
        #expect(peer.messages.isEmpty)
        await house.stop()
    }

    @Test func drainFinishesWhatHasItsDot() async throws {
        let seen = AsyncStream<Void>.makeStream()
        // Answers everything but the dot; that answer comes after the drain has begun.
        let peer = try await LoopbackPeer { line, _ in
            if line == "." { seen.continuation.yield() }
            return nil
        }
        let house = try House(routes: ["*": [peer.mx]])
        let id = try await house.accept(to: ["b@y.test"])
        for await _ in seen.stream { break }
        await house.stop()
        #expect(house.store.records.contains(.settled(id)))
        #expect(house.queue.counts.inProgress == 0)
    }

    @Test func drainBeginsNothing() async throws {
        let connected = AsyncStream<Void>.makeStream()
        let peer = try await LoopbackPeer { line, _ in
            if line.hasPrefix("MAIL") { connected.continuation.yield() }
            return line == "DATA" ? "" : nil
        }
        let house = try House(routes: ["*": [peer.mx]])
        let id = try await house.accept(to: ["b@y.test"])
        for await _ in connected.stream { break }
        await house.stop()
        #expect(!house.store.records.contains(.settled(id)))
        #expect(!house.store.records.contains { $0.isState(of: id) })
        #expect(peer.messages.isEmpty)
    }

    @Test func timesOutOnASilentPeer() async throws {
        let peer = try await LoopbackPeer { line, _ in line.isEmpty || line.hasPrefix("EHLO") ? nil : "" }
        let house = try House(routes: ["*": [peer.mx]]) { $0.outbound.mailTimeout = 1 }
        let id = try await house.accept(to: ["b@y.test"])
        let state = await house.deferred(id)
        #expect(state?.waiting.first?.reply?.text.contains("MAIL") == true)
        await house.stop()
    }
}

/// A body that only pretends to be in a file.
final class FakeBody: LargeBody {
    private let bytes: ByteBuffer
    private let limit = Mutex(Int.max)

    init(_ text: String) { bytes = ByteBuffer(string: text) }

    /// Reading from here on fails.
    var breaksAt: Int {
        get { limit.withLock { $0 } }
        set { limit.withLock { $0 = newValue } }
    }

    var size: Int { bytes.readableBytes }
    func write(_ bytes: ByteBuffer) throws(QueueError) { throw .broken("read only") }
    func finish() throws(QueueError) {}
    func discard() {}
    func read(at offset: Int, count: Int) throws(QueueError) -> ByteBuffer {
        if offset + count > breaksAt { throw .broken("test") }
        return bytes.getSlice(at: offset, length: min(count, size - offset)) ?? ByteBuffer()
    }
}
