// LiveBoardTests.swift — what changes by itself is made once for all who look on, told when it is another, and bounded.

import History
import Mail
import Synchronization
import Testing

@testable import Admin

@Suite struct LiveBoardTests {
    private static func at(_ milliseconds: Int64) -> Uptime { Uptime(milliseconds: milliseconds) }

    /// Fifty who look on for a minute, each once a second at a moment of its own: as many sheets as for one.
    @Test func aSheetIsMadeOnceForAll() {
        let board = LiveBoard()
        var (made, told) = (0, 0)
        var seen = [UInt64](repeating: 0, count: 50)
        for second in 0..<60 as Range<Int64> {
            for index in seen.indices {
                let now = Self.at(second * 1000 + Int64(index) * 20)
                let sheet = board.sheet(.stats, at: now) {
                    made += 1
                    return Array("{\"n\":\(made)}".utf8)
                }
                guard let sheet, sheet.version != seen[index] else { continue }
                seen[index] = sheet.version
                told += 1
            }
        }
        #expect(made == 30)
        #expect(told == 30 * 50)
    }

    @Test func whatIsTheSameIsNotToldAgain() {
        let board = LiveBoard()
        let first = board.sheet(.ready, at: Self.at(0)) { Array("{}".utf8) }
        let second = board.sheet(.ready, at: Self.at(20_000)) { Array("{}".utf8) }
        let third = board.sheet(.ready, at: Self.at(40_000)) { Array("[]".utf8) }
        #expect(first == second && second?.version == 1 && third?.version == 2)
        #expect(first.map { String(decoding: $0.bytes, as: UTF8.self) } == "event: ready\ndata: {}\n\n")
        // What cannot be known leaves the last one.
        #expect(board.sheet(.ready, at: Self.at(60_000)) { nil } == third)
    }

    /// Whoever comes while a sheet is made does not wait for it; after a change the next look makes another.
    @Test func nobodyWaitsForAnother() {
        let board = LiveBoard()
        let first = board.sheet(.waiting, at: Self.at(0)) {
            #expect(board.sheet(.waiting, at: Self.at(1)) { Array("2".utf8) } == nil)
            return Array("1".utf8)
        }
        let next = board.sheet(.waiting, at: Self.at(5000)) {
            #expect(board.sheet(.waiting, at: Self.at(5001)) { Array("3".utf8) } == first)
            return Array("4".utf8)
        }
        #expect(next?.version == 2)
        board.hurry()
        #expect(board.sheet(.waiting, at: Self.at(5499)) { Array("5".utf8) }?.version == 2)
        #expect(board.sheet(.waiting, at: Self.at(5500)) { Array("5".utf8) }?.version == 3)
    }

    @Test func filtersThatAreFollowedAreBounded() {
        let board = LiveBoard()
        for number in 0..<LiveBoard.mostFilters { #expect(board.enter(["to:a\(number)@b.test"], newest: 0)) }
        #expect(!board.enter(["domain:b.test"], newest: 0))
        // Those that somebody follows already cost nothing more.
        #expect(board.enter(["to:a1@b.test", "to:a2@b.test"], newest: 0))
        board.leave(["to:a1@b.test"])
        #expect(!board.enter(["domain:b.test"], newest: 0))
        board.leave(["to:a1@b.test", "to:a2@b.test"])
        #expect(board.enter(["domain:b.test"], newest: 0))
        #expect(board.count == LiveBoard.mostFilters)
    }
}
