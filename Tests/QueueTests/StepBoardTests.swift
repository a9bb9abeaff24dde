// StepBoardTests.swift — steps of sessions are kept while somebody looks on, so many and no more.

import Mail
import Testing

@testable import Queue

@Suite struct StepBoardTests {
    private let lane = Lane.route("a.test")

    @Test func nothingIsKeptAndNothingMadeWhileNobodyLooks() throws {
        let board = StepBoard()
        board.note(
            .session,
            of: lane,
            text: {
                Issue.record("words were made for nobody"); return ""
            }()
        )
        #expect(board.steps(after: 0).isEmpty)
        let start = try #require(board.watch())
        board.note(.session, of: lane, peer: "a[192.0.2.1]:25")
        #expect(board.steps(after: start).map(\.peer) == ["a[192.0.2.1]:25"])
        board.leave()
        #expect(!board.isWatched && board.steps(after: start).isEmpty)
    }

    @Test func whoLooksSeesWhatComesFromThenOnInItsOrder() throws {
        let board = StepBoard()
        let first = try #require(board.watch())
        for number in 1...3 { board.note(.trouble, of: lane, text: "\(number)") }
        let second = try #require(board.watch())
        board.note(.trouble, of: lane, text: "4")
        #expect(board.steps(after: first).map(\.text) == ["1", "2", "3", "4"])
        #expect(board.steps(after: second).map(\.text) == ["4"])
        board.leave()
        #expect(board.steps(after: first).count == 4, "another still looks")
    }

    @Test func aThousandAreKeptAndEachIsShort() throws {
        let board = StepBoard()
        let start = try #require(board.watch())
        let long = String(repeating: "x", count: 5000)
        for number in 1...3000 { board.note(.answered, of: lane, peer: "\(number)", text: long) }
        let steps = board.steps(after: start)
        #expect(steps.count == StepBoard.most)
        #expect(steps.map(\.peer) == (3001 - StepBoard.most...3000).map(String.init))
        #expect(steps.allSatisfy { $0.text.utf8.count == 1000 })
    }

    @Test func soManyLookAtOnceAndNoMore() {
        let board = StepBoard()
        for _ in 0..<StepBoard.mostWatchers { #expect(board.watch() != nil) }
        #expect(board.watch() == nil)
        board.leave()
        #expect(board.watch() != nil)
    }
}
