// ArrivalsTests.swift — what came from other relays is known, over restarts, for a month.

import Files
import Mail
import TestSupport
import Testing

@testable import Admin

@Suite struct ArrivalsTests {
    private static let now = Timestamp(milliseconds: 1_790_000_000_000)
    private let disk = MemoryDisk()

    private func arrivals(at now: Timestamp = now) -> Arrivals { Arrivals(path: "/d/arrivals", disk: disk, now: now) }

    @Test func whatCameIsKnownOverARestart() throws {
        try disk.makeDirectory("/d", permissions: 0o700)
        let first = arrivals()
        #expect(first["aa"] == nil)
        try first.note("aa", QueueID(rawValue: 7), at: Self.now)
        try first.note("bb", QueueID(rawValue: 8), at: Self.now)
        let second = arrivals()
        #expect(second["aa"] == QueueID(rawValue: 7))
        try second.note("cc", QueueID(rawValue: 9), at: Self.now)
        let third = arrivals()
        #expect(third["bb"] == QueueID(rawValue: 8))
        #expect(third["cc"] == QueueID(rawValue: 9))
        #expect(arrivals(at: Self.now.adding(milliseconds: 31 * 86_400_000))["aa"] == nil)
    }

    @Test func aTornLineHarmsNoOther() throws {
        try disk.makeDirectory("/d", permissions: 0o700)
        let file = try disk.open("/d/arrivals", .create, permissions: 0o600)
        let line = "aa \(QueueID(rawValue: 7)) \(Self.now.milliseconds)\n"
        try file.write(Array("\(line)bb 00000000".utf8), at: 0)
        let found = arrivals()
        #expect(found["aa"] == QueueID(rawValue: 7))
        try found.note("cc", QueueID(rawValue: 9), at: Self.now)
        #expect(arrivals()["cc"] == QueueID(rawValue: 9))
    }

    @Test func oneAtATimeForEachMessage() throws {
        let arrivals = arrivals()
        let inside = try arrivals.alone("aa") { () throws(Problem) -> Int? in
            #expect(try arrivals.alone("bb") { () throws(Problem) in 1 } == 1)
            return try arrivals.alone("aa") { () throws(Problem) in 2 }
        }
        #expect(inside == .some(nil))
        #expect(try arrivals.alone("aa") { () throws(Problem) in 3 } == 3)
    }
}
