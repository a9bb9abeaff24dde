// EventFeedTests.swift — events for many followers: read once, bounded, nothing missed.

import Glibc
import History
import Mail
import Synchronization
import Testing

@testable import Admin

@Suite struct EventFeedTests {
    /// Events in memory that count how often they are read.
    private final class Source: EventReader {
        let count: Atomic<Int>
        let reads = Atomic(0)
        let oldest: UInt64

        init(_ count: Int, oldest: UInt64 = 1) {
            self.count = Atomic(count)
            self.oldest = oldest
        }

        var span: EventSpan { EventSpan(oldest: oldest, newest: UInt64(count.load(ordering: .relaxed))) }

        func events(
            after seq: UInt64,
            matching filter: EventFilter,
            atMost limit: Int
        ) throws(HistoryError) -> EventPage {
            reads.add(1, ordering: .relaxed)
            guard seq == 0 || seq + 1 >= oldest else { throw .tooOld(oldest: oldest) }
            let newest = span.newest
            let first = max(seq + 1, oldest)
            let last = min(newest, first + UInt64(limit) - 1)
            let events = first <= last ? (first...last).map(Self.event) : []
            return EventPage(events: events, last: max(seq, last), isAtEnd: last >= newest)
        }

        static func event(_ seq: UInt64) -> Event {
            var data = EventData()
            data.recipient = "b\(seq)@b.test"
            return Event(
                seq: seq,
                epoch: "e",
                type: seq % 10 == 0 ? .bounced : .delivered,
                time: Timestamp(milliseconds: 0),
                node: "n",
                data: data
            )
        }

        func wait(behind seq: UInt64, atMost milliseconds: Int) -> Bool { span.newest > seq }
        func onNews(_ body: @escaping @Sendable () -> Void) -> NewsToken { NewsToken {} }
        func cursor(_ name: String) throws(HistoryError) -> EventCursor? { nil }
        func cursors(named prefix: String) throws(HistoryError) -> [EventCursor] { [] }
        func keep(_ cursor: EventCursor) throws(HistoryError) {}
        func forgetCursor(_ name: String) throws(HistoryError) {}
        func add(_ type: EventType, _ data: EventData, at time: Timestamp) throws(HistoryError) {}
    }

    private static let plenty = Ration(most: .max / 1_000_000)

    private static func follow(
        _ feed: EventFeed,
        after seq: UInt64,
        _ filter: EventFilter = EventFilter()
    ) throws -> [UInt64] {
        var (seq, seen): (UInt64, [UInt64]) = (seq, [])
        while true {
            let piece = try feed.piece(after: seq, filter)
            let text = String(decoding: piece.bytes, as: UTF8.self)
            seen += text.split(separator: "\n").filter { $0.hasPrefix("id: evt_e_") }.compactMap {
                UInt64($0.dropFirst(10))
            }
            guard piece.isCut || piece.last > seq else { return seen }
            seq = piece.last
        }
    }

    @Test func manyFollowersReadTheHistoryOnce() throws {
        let source = Source(100)
        let feed = EventFeed(source, Self.plenty)
        for _ in 0..<50 {
            feed.enter()
            #expect(try Self.follow(feed, after: 40) == Array(41...100))
        }
        #expect(source.reads.load(ordering: .relaxed) == 1)
        source.count.store(110, ordering: .relaxed)
        for _ in 0..<50 { #expect(try Self.follow(feed, after: 100) == Array(101...110)) }
        #expect(source.reads.load(ordering: .relaxed) == 2)
        #expect(feed.count == 50)
    }

    /// What two hundred cost the history does not depend on how many they are: each event is read, and so encoded, once.
    @Test(arguments: [1, 200])
    func whatIsNewIsReadAndEncodedOnceForAll(_ followers: Int) throws {
        let source = Source(0)
        let feed = EventFeed(source, Self.plenty)
        for _ in 0..<followers { feed.enter() }
        var seqs = [UInt64](repeating: 0, count: followers)
        for round in 1...20 {
            source.count.store(round * 10, ordering: .relaxed)
            for index in seqs.indices {
                let piece = try feed.piece(after: seqs[index], EventFilter())
                #expect(!piece.isCut && piece.last == UInt64(round * 10))
                seqs[index] = piece.last
            }
            #expect(source.reads.load(ordering: .relaxed) == round)
        }
    }

    /// Followers that are behind make the relay read what they have room for, and not what else there is.
    @Test func whoIsBehindDoesNotMakeTheRelayReadWhatNobodyTakes() throws {
        let source = Source(100_000)
        let feed = EventFeed(source, Self.plenty)
        for _ in 0..<200 { feed.enter() }
        var seqs = [UInt64](repeating: 0, count: 200)
        for _ in 0..<20 {
            for index in seqs.indices { seqs[index] = try feed.piece(after: seqs[index], EventFilter()).last }
        }
        let taken = try #require(seqs.max())
        #expect(Set(seqs) == [taken] && taken > 20)
        // Each group that somebody wants, once.
        #expect(source.reads.load(ordering: .relaxed) == Int(EventGroup.number(of: taken)) + 1)
    }

    /// What must be read has a share of a processor; who comes when it is used up comes again, and misses nothing.
    @Test func readingForFollowersWaitsForItsShare() throws {
        var ration = Ration(most: 1_000_000, at: Uptime(milliseconds: 0))
        func allows(_ milliseconds: Int64) -> Bool { ration.allows(at: Uptime(milliseconds: milliseconds)) }
        #expect(allows(0))
        ration.spend(21_000_000)
        #expect(!allows(999))
        #expect(allows(1001))
        // A calm saves up no more than its most.
        #expect(allows(.max / 2))
        ration.spend(1_000_001)
        #expect(!allows(.max / 2))

        let spent = EventFeed(Source(100), Ration(most: 0))
        let piece = try spent.piece(after: 7, EventFilter())
        #expect(piece.bytes.isEmpty && piece.last == 7 && piece.isCut)
    }

    @Test func piecesAreRarerTheMoreFollow() {
        let feed = EventFeed(Source(0), Self.plenty)
        var (gaps, pieces): ([Int64], [Double]) = ([], [])
        for followers in 1...256 {
            feed.enter()
            gaps.append(feed.gap)
            pieces.append(Double(followers) * 1000 / Double(feed.gap))
        }
        #expect(gaps.first == 250 && gaps.last == 1280)
        #expect(pieces.allSatisfy { $0 <= 200 })
    }

    /// People are told some of the newest, and how many there were besides.
    @Test func whoLooksOnIsToldTheNewestAndHowManyWereLeftOut() throws {
        let source = Source(10_000)
        let feed = EventFeed(source, Self.plenty)
        let news = try feed.newest(after: 9_000, EventFilter(), atMost: 50, looking: 2)
        let seqs = news.events.compactMap {
            String(decoding: $0, as: UTF8.self).firstMatch(of: /"seq":(\d+),/).flatMap { UInt64($0.1) }
        }
        #expect(seqs == Array(9_951...10_000))
        #expect(news.last == 10_000 && news.leftOut == 950)
        #expect(source.reads.load(ordering: .relaxed) == 2)
        var filter = EventFilter()
        filter.types = [.bounced]
        let some = try feed.newest(after: 9_990, filter, atMost: 50, looking: 2)
        #expect(some.events.count == 1 && some.leftOut == 0 && some.last == 10_000)
        let none = try feed.newest(after: 10_000, filter, atMost: 50, looking: 2)
        #expect(none.events.isEmpty && none.leftOut == 0 && none.last == 10_000)
    }

    @Test func aPieceIsSmallerTheMoreFollow() throws {
        let feed = EventFeed(Source(2000), Self.plenty)
        let isAllAtOnce = try !feed.piece(after: 0, EventFilter()).isCut
        #expect(isAllAtOnce)
        for _ in 0..<200 { feed.enter() }
        let among = try feed.piece(after: 0, EventFilter())
        let (isCut, size) = (among.isCut, among.bytes.count)
        #expect(isCut && size < 24 << 10)
        #expect(try Self.follow(feed, after: 0).count == 2000)
    }

    @Test func whoIsFarBehindReadsTheHistoryAndMissesNothing() throws {
        let feed = EventFeed(Source(6_000), Self.plenty)
        #expect(try Self.follow(feed, after: 1) == Array(2...6_000))
        #expect(try Self.follow(feed, after: 5_990) == Array(5_991...6_000))
        #expect(throws: HistoryError.tooOld(oldest: 50)) {
            _ = try EventFeed(Source(6_000, oldest: 50), Self.plenty).piece(after: 3, EventFilter())
        }
    }

    @Test func kindsAreChosenFromMemory() throws {
        let source = Source(100)
        let feed = EventFeed(source, Self.plenty)
        var filter = EventFilter()
        filter.types = [.bounced]
        #expect(try Self.follow(feed, after: 0, filter) == Array(stride(from: 10, through: 100, by: 10)))
        #expect(source.reads.load(ordering: .relaxed) == 1)
    }

    @Test func anEventIsThreeLines() {
        var bytes: [UInt8] = []
        EventGroup.encode(Source.event(7), to: &bytes)
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(
            text == "id: evt_e_7\nevent: delivery.delivered\n"
                + #"data: {"id":"evt_e_7","seq":7,"type":"delivery.delivered","time":"1970-01-01T00:00:00.000Z","node":"n","#
                + #""data":{"recipient":"b7@b.test"}}"# + "\n\n"
        )
    }

    @Test func whoFollowsTakesNoSeat() {
        let connections = AdminConnections(limit: 32, perClient: 16, timeout: 10)
        let now = Uptime(milliseconds: 0)
        func connect(_ address: String) -> UInt64? {
            let client = IPAddress(address)
            return connections.admits(client) ? connections.opened(-1, from: client, at: now) : nil
        }
        var (followers, numbers) = (0, [UInt64]())
        for _ in 0..<300 {
            guard let number = connect("127.0.0.1"), connections.place(of: number) == .seat else { break }
            if connections.follows(number, at: now) { followers += 1 } else { connections.closed(number) }
            numbers.append(number)
        }
        #expect(followers == 256)
        // The API's own seats are all free.
        #expect((0..<16).allSatisfy { _ in connect("192.0.2.1").map { connections.place(of: $0) == .seat } ?? false })
    }

    /// Who hung up is seen by that, and not only by what is written to them in vain a while later.
    @Test func whoHungUpIsSeenAtOnce() throws {
        var pair: [Int32] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
        defer { close(pair[0]) }
        let connections = AdminConnections(limit: 32, perClient: 16, timeout: 10)
        let now = Uptime(milliseconds: 0)
        let number = connections.opened(pair[0], from: IPAddress("127.0.0.1"), at: now)
        let isFollowing = connections.follows(number, at: now)
        connections.sweep(at: now)
        #expect(isFollowing && !connections.isGone(number))
        close(pair[1])
        connections.sweep(at: now)
        #expect(connections.isGone(number) && connections.ended == [number])
        connections.closed(number)
        #expect(connections.isGone(number))
    }

    @Test func oneSubscriberIsNotEverybody() {
        let connections = AdminConnections(limit: 32, perClient: 16, timeout: 10)
        let now = Uptime(milliseconds: 0)
        var followers: [String: Int] = [:]
        for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "127.0.0.1"] {
            for _ in 0..<70 {
                let client = IPAddress(address)
                guard connections.admits(client) else { break }
                let number = connections.opened(-1, from: client, at: now)
                if connections.follows(number, at: now) {
                    followers[address, default: 0] += 1
                } else {
                    connections.closed(number)
                }
            }
        }
        #expect(followers == ["192.0.2.1": 64, "192.0.2.2": 64, "192.0.2.3": 64, "192.0.2.4": 32, "127.0.0.1": 32])
        // Who takes nothing is sent away, and those who do stay.
        connections.sweep(at: Uptime(milliseconds: 40_000))
        #expect(connections.ended.isEmpty)
        connections.goesOn(1, at: Uptime(milliseconds: 40_000))
        connections.sweep(at: Uptime(milliseconds: 50_000))
        #expect(connections.ended.count == 255)
    }
}
