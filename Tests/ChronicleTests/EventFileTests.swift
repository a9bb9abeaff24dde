// EventFileTests.swift — events in a file: each once and in order, whatever a crash cut off, rotated, and nobody else's file.

import Files
import Glibc
import History
import JSON
import Log
import Mail
import NIOPosix
import TestSupport
import Testing

@testable import Chronicle

@Suite struct EventFileTests {
    private let disk = MemoryDisk()
    private let place = Place()
    private let events: HistoryBook

    init() throws { events = try HistoryBook(path: place.path, options: HistoryOptions()) { "e1" } }

    /// A database that is removed at the end.
    private final class Place {
        let path = "/tmp/martlet-event-file-\(UInt64.random(in: 0 ... .max)).db"

        deinit { for suffix in ["", "-wal", "-shm"] { unlink(path + suffix) } }
    }

    /// More events, of no message.
    private func add(_ count: Int, at time: Int64 = 1_700_000_000_000) throws {
        for _ in 0..<count { try events.add(.webhookDisabled, EventData(), at: Timestamp(milliseconds: time)) }
    }

    private func file(bytes: Int = 1 << 20, count: Int = 2) throws -> EventFile {
        try disk.makeDirectory("/data", permissions: 0o700)
        let options = EventFile.Options(path: "/data/events.jsonl", bytes: bytes, count: count)
        return EventFile(
            options,
            of: events,
            on: disk,
            thread: NIOThreadPool(numberOfThreads: 1),
            log: try LogFile().sink
        )
    }

    private func text(_ path: String = "/data/events.jsonl") throws -> String {
        String(decoding: try disk.contents(of: path, limit: 1 << 30), as: UTF8.self)
    }

    private func numbers(_ path: String = "/data/events.jsonl") throws -> [Int] {
        try text(path).split(separator: "\n").map { try #require(JSON(parsing: Array($0.utf8))["seq"]?.integer) }
    }

    @Test func whatIsNewIsWrittenOnceOverRestarts() throws {
        try add(5)
        let first = try file()
        first.stop()
        #expect(try disk.status("/data/events.jsonl", following: false) == nil, "what was before is not told")
        try add(3)
        let second = try file()
        second.stop()
        #expect(try numbers() == [6, 7, 8])
        try add(1200)
        try file().stop()
        #expect(try numbers() == Array(6...1208))
        #expect(try text().hasSuffix("}\n"))
    }

    /// Wherever a line was cut off.
    @Test func aLineThatWasCutOffIsWrittenAnew() throws {
        try file().stop()
        try add(3)
        try file().stop()
        let whole = try disk.contents(of: "/data/events.jsonl", limit: 1 << 20)
        for size in 0..<whole.count {
            try disk.open("/data/events.jsonl", .update, permissions: 0).truncate(to: size)
            // Cut to nothing, the place that was kept is all that is known.
            try events.keep(EventCursor(name: EventFile.cursor, seq: 0))
            try file().stop()
            #expect(try disk.contents(of: "/data/events.jsonl", limit: 1 << 20) == whole, "\(size)")
        }
    }

    @Test func fullFilesMoveUp() throws {
        try file().stop()
        try add(10)
        try file().stop()
        let size = try text().utf8.count
        for _ in 0..<4 {
            try add(10)
            try file(bytes: size + 20).stop()
        }
        #expect(try numbers() == Array(41...50))
        #expect(try numbers("/data/events.jsonl.1") == Array(31...40))
        #expect(try numbers("/data/events.jsonl.2") == Array(21...30))
        #expect(try disk.status("/data/events.jsonl.3", following: false) == nil)
        // Killed behind the move and before the next line.
        try disk.unlink("/data/events.jsonl")
        try file().stop()
        try add(1)
        try file().stop()
        #expect(try numbers().last == 51)
    }

    @Test(arguments: ["root:x:0:0:root:/root:/bin/sh\n", "no line end", "{\"seq\":1}\nand more\n"])
    func aFileOfSomebodyElseIsLeftAlone(_ text: String) throws {
        try file().stop()
        let other = try disk.open("/data/events.jsonl", .create, permissions: 0o600)
        try other.write(Array(text.utf8), at: 0)
        try add(3)
        try file().stop()
        #expect(try self.text() == text)
    }

    @Test func aFileThatIsGoneIsBegunAnewWhereItStopped() throws {
        try file().stop()
        try add(200)
        try file().stop()
        try disk.unlink("/data/events.jsonl")
        try add(2)
        try file().stop()
        #expect(try numbers() == [201, 202])
    }

    @Test func whatTheHistoryHasDroppedIsPassedOver() throws {
        try file().stop()
        try add(10)
        try events.commit([], at: nil, durably: false, now: Timestamp(milliseconds: 1_700_000_000_000))
        try add(3, at: 1_700_000_000_000 + 30 * 86_400_000)
        let gone = try events.expire(now: Timestamp(milliseconds: 1_700_000_000_000 + 31 * 86_400_000))
        try #require(gone > 0 && events.span.oldest > 1)
        try file().stop()
        #expect(try numbers() == Array(Int(events.span.oldest)...13))
    }
}
