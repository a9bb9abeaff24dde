// ValueParsingTests.swift — words, units and marks in values are ASCII; what only looks like them is not.

import Testing

@testable import Config

@Suite struct ValueParsingTests {
    @Test func theSignOfKelvinIsNoUnitAndNoLetter() throws {
        #expect(try ValueParsing.byteSize("64K", 0...Int.max) == 65_536)
        #expect(throws: ValueError.self) { try ValueParsing.byteSize("64\u{212A}", 0...Int.max) }
        #expect(try ValueParsing.boolean("OK"))
        #expect(throws: ValueError.self) { try ValueParsing.boolean("o\u{212A}") }
    }

    @Test func aCombiningMarkHidesNoComma() {
        #expect(ValueParsing.list("a,\u{301}b,, c\t,d").map { $0.utf8.count } == [1, 3, 1, 1])
    }

    @Test func aCombiningMarkMakesNoHashPlain() {
        #expect(StoredPassword("$\u{301}6$salt$" + String(repeating: "a", count: 40)) == nil)
        #expect(StoredPassword("SCRAM-SHA-256$\u{301}4096:a$b:c") == nil)
    }
}
