// HistoryScaleTests.swift — what a search costs does not depend on how much is remembered: counted in blocks that are read;
// and in milliseconds, with TEST_BENCH=1 and a release build (1 000 000 messages; ten times as many with TEST_SOAK=1).

import Database
import Glibc
import Mail
import TestSupport
import Testing

@testable import History

@Suite(.serialized) struct HistoryScaleTests {
    private static let start: Int64 = 1_700_000_000_000
    private static let day: Int64 = 86_400_000

    /// A book of so many messages, each delivered to its one recipient; 2 000 a commit.
    private static func filled(_ count: Int, days: Int64, at path: String) throws -> HistoryBook {
        var options = HistoryOptions()
        options.bytes = 1 << 36
        options.days = 400
        let book = try HistoryBook(path: "\(path)/history.db", options: options) { "e1" }
        for first in stride(from: 0, to: count, by: 2_000) {
            let time = start + Int64(first) * days * day / Int64(count)
            let items = (first..<min(count, first + 2_000)).flatMap { life(of: $0, at: time) }
            try book.commit(items, at: [1], durably: false, now: Timestamp(milliseconds: time))
        }
        return book
    }

    private static func life(of number: Int, at time: Int64) -> [HistoryItem] {
        let id = QueueID(rawValue: UInt64(number) + 1)
        let context = MessageContext(
            id: id,
            acceptedAt: Timestamp(milliseconds: time),
            size: 5_000,
            sender: "sender\(number % 5_000)@from\(number % 500).example",
            recipients: [MessageContext.Recipient(0, "user\(number)@to\(number % 20_000).example")],
            headerMessageID: "<\(number).f00d@from\(number % 500).example>",
            tag: "campaign-\(number % 3_000)"
        )
        var part = AttemptFact.Part(
            .delivered,
            [0],
            EventData.Words(code: 250, text: "2.0.0 Ok: queued as 4F\(number)")
        )
        part.host = EventData.Host(host: "mx.to.example", ip: IPAddress("192.0.2.1"), port: 25)
        let lane = LaneName(.domain(Domain(unchecked: "to\(number % 20_000).example")))
        let at = Timestamp(milliseconds: time + 400)
        let facts = Facts(.attempt(AttemptFact(at: at, attempt: 1, lane: lane, parts: [part])))
        return [.accepted(context), .note(id, facts, isEnd: true, context: context)]
    }

    private static func withPlace<Result>(_ body: (String) throws -> Result) throws -> Result {
        var template = Array("/tmp/history-XXXXXX".utf8CString)
        let path = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) } ?? "/nonexistent"
        }
        defer {
            for suffix in ["", "-wal", "-shm"] { unlink("\(path)/history.db\(suffix)") }
            rmdir(path)
        }
        return try body(path)
    }

    @Test(arguments: [4_000, 16_000]) func aSearchReadsTheBlocksThatItFindsIn(_ count: Int) throws {
        try Self.withPlace { path in
            let book = try Self.filled(count, days: 3, at: path)
            var generator = SeededRandom(seed: 1)
            try book.read { (database) throws(DatabaseError) in
                for _ in 0..<100 {
                    let number = Int.random(in: 0..<count, using: &generator)
                    var filter = EventFilter()
                    filter.recipient = EmailAddress("user\(number)@to\(number % 20_000).example").map { .address($0) }
                    var blocks = 0
                    for part in try HistoryBook.parts(database) {
                        blocks += try HistoryBook.numbers(of: filter.keys, in: part, database).count
                    }
                    #expect(blocks == 1, "\(number)")
                }
            }
        }
    }

    @Test(.enabled(if: getenv("TEST_BENCH") != nil)) func figures() throws {
        try Self.withPlace { path in
            let count = getenv("TEST_SOAK") == nil ? 1_000_000 : 10_000_000
            let began = Uptime.now()
            let book = try Self.filled(count, days: 14, at: path)
            let filled = Double(Uptime.now().milliseconds(since: began)) / 1000
            let bytes = try book.usedBytes()
            print("history of \(count): \(bytes / count) bytes a message, \(filled) s")
            var generator = SeededRandom(seed: 2)
            let kinds: [(String, (inout EventFilter, Int) -> Void)] = [
                (
                    "recipient",
                    { $0.recipient = EmailAddress("user\($1)@to\($1 % 20_000).example").map { .address($0) } }
                ),
                (
                    "sender",
                    { $0.sender = EmailAddress("sender\($1 % 5_000)@from\($1 % 500).example").map { .address($0) } }
                ),
                ("Message-ID", { $0.headerMessageID = "<\($1).f00d@from\($1 % 500).example>" }),
                ("tag", { $0.tag = "campaign-\($1 % 3_000)" }),
            ]
            for (name, set) in kinds {
                let times = try (0..<200).map { _ in
                    var query = HistoryQuery()
                    set(&query.filter, Int.random(in: 0..<count, using: &generator))
                    return try Self.milliseconds {
                        let found = try book.search(query, atMost: 50)
                        #expect(!found.stories.isEmpty)
                    }
                }.sorted()
                print("history of \(count): \(name) p50 \(times[100]) ms, p95 \(times[190]) ms")
                #expect(times[190] <= 50)
            }
            let times = try (0..<200).map { _ in
                let id = QueueID(rawValue: UInt64.random(in: 1...UInt64(count), using: &generator))
                return try Self.milliseconds {
                    let story = try book.story(of: id)
                    #expect(story?.events.count == 3)
                }
            }.sorted()
            print("history of \(count): timeline p50 \(times[100]) ms, p95 \(times[190]) ms")
            #expect(times[190] <= 20)
            let dropped = try Self.milliseconds {
                // The first day of fourteen is over.
                _ = try book.expire(now: Timestamp(milliseconds: Self.start + 401 * Self.day))
            }
            print("history of \(count): a day dropped in \(dropped) ms")
            #expect(dropped <= 1_000)
        }
    }

    private static func milliseconds(_ body: () throws -> Void) rethrows -> Double {
        var (start, end) = (timespec(), timespec())
        clock_gettime(CLOCK_MONOTONIC, &start)
        try body()
        clock_gettime(CLOCK_MONOTONIC, &end)
        return Double(end.tv_sec - start.tv_sec) * 1e3 + Double(end.tv_nsec - start.tv_nsec) / 1e6
    }
}
