// CSVTests.swift — tables as text: what is written is read back, what others wrote is read, what is none is refused.

import TestSupport
import Testing

@testable import Mail

@Suite struct CSVTests {
    private static func cells(_ text: String) throws -> [[String]] {
        try CSV.records(in: Array(text.utf8), atMost: 1000).map(\.cells)
    }

    @Test(arguments: [
        "plain", "a,b", "a \"word\"", "", "=1+1", "+49 30", "-", "@home", "two\nlines", "bücher", "\"", ",", "a;b",
        "\u{FEFF}mark",
    ])
    func whatIsWrittenIsReadBack(_ cell: String) throws {
        let line = CSV.line(["before", cell, "behind"])
        #expect(line.last == UInt8(ascii: "\n"))
        #expect(try Self.cells(String(decoding: line, as: UTF8.self)) == [["before", cell, "behind"]])
        guard !cell.isEmpty else { return }
        #expect(try Self.cells(String(decoding: CSV.line([cell]), as: UTF8.self)) == [[cell]])
    }

    @Test func noCellIsAFormula() {
        for text in ["=cmd|x", "+1", "-1", "@SUM(A1)", "=a,b"] {
            let line = String(decoding: CSV.line([text]), as: UTF8.self)
            #expect(line.hasPrefix(" ") || line.hasPrefix("\" "))
        }
    }

    @Test(arguments: [
        ("a,b\r\nc,d\r\n", [["a", "b"], ["c", "d"]]),
        ("a\rb\r", [["a"], ["b"]]),
        ("\u{FEFF}a,b\nc", [["a", "b"], ["c"]]),
        ("\n\n , \n a \n", [["a"]]),
        ("\"a\nb\",c\n", [["a\nb", "c"]]),
        ("a\"b\"c\n", [["abc"]]),
        ("", []),
    ])
    func readsWhatOthersWrite(_ text: String, _ expected: [[String]]) throws {
        #expect(try Self.cells(text) == expected)
    }

    @Test func namesTheLineAsAnEditorCountsIt() throws {
        let records = try CSV.records(in: Array("a\n\"b\nb\"\r\n\nc\n".utf8), atMost: 3)
        #expect(records.map(\.line) == [1, 2, 5])
    }

    @Test func refusesWhatIsNoTable() {
        #expect(throws: CSV.Fault(line: 2, description: "begins a cell in quotes that has no end")) {
            try CSV.records(in: Array("a\n\"b\nc\n".utf8), atMost: 10)
        }
        #expect(throws: CSV.Fault(line: 1, description: "is no UTF-8")) {
            try CSV.records(in: [0x61, 0xFF, 0x0A], atMost: 10)
        }
        #expect(throws: CSV.Fault(line: 3, description: "is one too many: 2 are taken at once")) {
            try CSV.records(in: Array("a\nb\nc\n".utf8), atMost: 2)
        }
        #expect(throws: CSV.Fault(line: 1, description: "has too many cells")) {
            try CSV.records(in: [UInt8](repeating: UInt8(ascii: ","), count: 1 << 20), atMost: 10)
        }
    }

    @Test func knowsALineThatGoesOn() {
        #expect(CSV.isOpen("a,\"b"))
        #expect(!CSV.isOpen("a,\"b \"\"c\"\"\""))
    }
}
