// JSONTests.swift — JSON as strict as RFC 8259, and nothing that a client sends gets further than it should.

import Testing

@testable import Admin

@Suite struct JSONTests {
    private static func parse(_ text: String) throws -> JSON { try JSON(parsing: Array(text.utf8)) }

    @Test(arguments: [
        "{}", "[]", "null", "true", "-0", "1.5e3", "\"a\\u00e4\\ud83d\\ude00\"", "{\"a\":[1,{\"b\":null}]}",
        " [ 1 , 2 ] ",
    ])
    func readsWhatIsJSON(_ text: String) throws {
        let value = try Self.parse(text)
        #expect(try JSON(parsing: value.bytes) == value)
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\":1,}", "01", "1.", "+1", "NaN", "'a'", "{\"a\":1,\"a\":2}", "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\u{01}\"", "[1] 2", "tru", "\"\\x\"", "\"abc", "1e999",
    ])
    func refusesWhatIsNone(_ text: String) {
        #expect(throws: JSONError.self) { try Self.parse(text) }
    }

    @Test func refusesDeepNestingAndBrokenUTF8() {
        #expect(throws: JSONError.self) { try Self.parse(String(repeating: "[", count: 100_000)) }
        #expect(throws: JSONError.self) { try JSON(parsing: [0x22, 0xFF, 0x22]) }
    }

    @Test func keepsWholeNumbersAndEscapesControls() throws {
        #expect(try Self.parse("9007199254740993") == .integer(9_007_199_254_740_993))
        #expect(String(decoding: JSON.string("a\"\\\n\u{7F}").bytes, as: UTF8.self) == "\"a\\\"\\\\\\n\\u007f\"")
    }

    @Test func anObjectRefusesWhatNobodyTakes() throws {
        var object = try JSONObject(try Self.parse("{\"a\":1,\"b/c\":2}"), at: "")
        #expect(try object.integer("a", 0...9) == 1)
        #expect(throws: Problem.self) { try object.finish() }
        #expect(object.pointer("b/c") == "/b~1c")
    }

    @Test(arguments: ["a\u{0D}\u{0A}b", "a\u{0}b", "a\u{2028}b", "a\u{85}b"])
    func textsHoldNoLineEnds(_ text: String) {
        var object = JSONObject([JSON.Member("a", .string(text))], at: "")
        #expect(throws: Problem.self) { try object.string("a") }
    }
}
