// PrintoutTests.swift — answers for people: columns, spans, and no control characters.

import JSON
import Testing

@testable import Operator

@Suite struct PrintoutTests {
    @Test func columnsAreAsWideAsTheyNeedToBeAndEmptyOnesAreLeftOut() {
        let text = Printout.table(["id", "note", "to"], [["1", "", "a@example.com"], ["22", "", "b"]])
        #expect(text == "ID  TO\n1   a@example.com\n22  b")
    }

    @Test func objectsAreShownWithoutKnowingTheirShape() {
        let value = JSON(Array(#"{"z": 1, "id": "x", "list": [{"b": true, "id": 2}], "none": null}"#.utf8))
        #expect(
            value.map { Printout.object($0) }
                == "id:   x\nlist:\n  ID  B\n  2   yes\nnone: -\nz:    1"
        )
    }

    @Test func nothingReachesTheTerminalThatItWouldObey() {
        #expect(Printout.word(.string("a\u{1B}[2Jb\nc\u{9B}d")) == "a?[2Jb?c?d")
    }

    @Test(arguments: [(0, "0s"), (59, "59s"), (61, "1m 1s"), (3600, "1h"), (93_784, "1d 2h")])
    func spansHaveTheirTwoLargestUnits(_ seconds: Int, _ text: String) {
        #expect(Printout.span(seconds: seconds) == text)
    }

    @Test func numbersStayNumbers() {
        #expect(
            JSON(Array(#"{"a": 1, "b": true, "c": 1.5, "d": null}"#.utf8))?.text
                == #"{"a":1,"b":true,"c":1.5,"d":null}"#
        )
        #expect(JSON(word: "12") == .integer(12))
        #expect(JSON(word: "1m, 5m") == .string("1m, 5m"))
    }

    @Test func brokenAnswersAreNoJSON() {
        #expect(JSON([]) == nil)
        #expect(JSON(Array("{".utf8)) == nil)
    }

    @Test func whatPeopleCopyIsNeverShortened() {
        let row: JSON = [
            "id": "1m8nc4aaz0000", "state": "temp_failed", "from": .string(String(repeating: "f", count: 60)),
            "to": .string(String(repeating: "t", count: 60)),
        ]
        let lines = Printout.table([row], width: 60).split(separator: "\n")
        #expect(lines.allSatisfy { $0.count <= 60 })
        #expect(lines.last?.hasPrefix("1m8nc4aaz0000  ") == true)
    }

    @Test func aTableThatDoesNotFitBecomesAList() {
        let host: JSON = ["exchange": "smtp.provider.example", "problem": .string(String(repeating: "x", count: 40))]
        let way: JSON = ["mx": [host, host]]
        #expect(Printout.object(way, width: 100).split(separator: "\n").count == 4)
        let lines = Printout.object(way, width: 60).split(separator: "\n")
        #expect(lines.count == 5 && lines.allSatisfy { $0.count <= 60 })
        #expect(lines[1] == "  - exchange: smtp.provider.example" && lines[2].hasPrefix("    problem:  xxx"))
        #expect(Printout.object(way).split(separator: "\n").count == 4)
    }
}
