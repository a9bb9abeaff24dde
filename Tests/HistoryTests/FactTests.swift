// FactTests.swift — facts come back as they were written, and bytes that are none harm nobody.

import Mail
import TestSupport
import Testing

@testable import History

@Suite struct FactTests {
    private static func attempt() -> AttemptFact {
        var delivered = AttemptFact.Part(.delivered, [0, 2], EventData.Words(code: 250, text: "2.0.0 Ok"))
        delivered.host = EventData.Host(host: "mx.example", ip: IPAddress("2001:db8::1"), port: 25)
        delivered.tls = ChannelSecurity(version: "TLSv1.3", cipher: "X", trust: .dane)
        var bounced = AttemptFact.Part(
            .bounced,
            [1],
            EventData.Words(code: 550, enhanced: EnhancedStatus(5, 1, 1), text: "no", stage: "recipient")
        )
        bounced.reason = .mailboxUnknown
        bounced.mayBeDuplicate = true
        var deferred = AttemptFact.Part(.deferred, [3], EventData.Words(code: 451, text: "", stage: "connect"))
        deferred.reason = .greylisted
        deferred.next = Timestamp(milliseconds: 1_700_000_064_000)
        var fact = AttemptFact(
            at: Timestamp(milliseconds: 1_700_000_000_000),
            attempt: 3,
            lane: LaneName(Lane(.route("*"), from: IPAddress("192.0.2.7").flatMap { Source([$0]) }, tls: .require)),
            parts: [delivered, bounced, deferred]
        )
        fact.source = IPAddress("192.0.2.7")
        fact.stages = [EventData.Stage("queued", 12)]
        fact.reports = [.failure, .delay]
        return fact
    }

    @Test func factsComeBackAsTheyWere() {
        var command = CommandFact(.held, at: Timestamp(milliseconds: 5))
        (command.actor, command.text, command.until) = ("boss", "wait", Timestamp(milliseconds: 9_000))
        let all: [Fact] = [.attempt(Self.attempt()), .command(command), .time(Timestamp(milliseconds: 77))]
        let facts = all.reduce(Facts.none) { $0.followed(by: Facts($1)) }
        #expect(facts.decoded == all)
        #expect(facts.each.count == 3)
        #expect(facts.eventCount == 4 + 2 + 1)
        #expect(facts.each.flatMap(\.decoded) == all)
        #expect(Self.attempt().lane.whole == "[*] from 192.0.2.7 tls require")
        #expect(Self.attempt().lane.route == "*")
    }

    /// Cut off or changed anywhere: nothing traps, and what is not understood is passed over.
    @Test func brokenBytesHarmNobody() {
        let facts = Facts(.attempt(Self.attempt())).followed(by: Facts(.time(Timestamp(milliseconds: 1))))
        for length in 0..<facts.bytes.count {
            let cut = Facts(Array(facts.bytes.prefix(length)))
            _ = (cut.decoded, cut.each, cut.eventCount)
        }
        var random = SeededRandom(seed: 7)
        for _ in 0..<20_000 {
            var bytes = facts.bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            let changed = Facts(bytes)
            #expect(changed.decoded.count <= bytes.count)
            var block = StoryBlock(first: 1)
            block.add(.note(QueueID(rawValue: 3), changed, isEnd: true))
            var body = block.bytes
            body[Int.random(in: 0..<body.count, using: &random)] ^= 1 << UInt8.random(in: 0...7, using: &random)
            var scan = StoryScan(body, first: 1)
            while let item = scan.item() { _ = item.events(epoch: "e", node: "n") }
            scan = StoryScan(body, first: 1)
            while scan.item(of: QueueID(rawValue: 4)) != nil {}
        }
    }

    @Test func aRemoteIsTakenApart() {
        let host = EventData.Host(remote: "mx.example[192.0.2.1]:2525")
        #expect(host == EventData.Host(host: "mx.example", ip: IPAddress("192.0.2.1"), port: 2525))
        #expect(EventData.Host(remote: "a[2001:db8::1]:25").ip == IPAddress("2001:db8::1"))
        for odd in ["", "mx.example", "[192.0.2.1]:25", "a]b[", "a[b]:99999"] {
            #expect(EventData.Host(remote: odd).port == nil)
        }
    }
}
