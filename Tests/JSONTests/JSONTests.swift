// JSONTests.swift — JSON as strict as RFC 8259, within its bounds, and nothing that a client sends gets further than it should.

import Testing

@testable import JSON

@Suite struct JSONTests {
    private static func parse(_ text: String, _ bounds: JSONBounds = .standard) throws(JSONError) -> JSON {
        try JSON(parsing: Array(text.utf8), within: bounds)
    }

    @Test(arguments: [
        "{}", "[]", "null", "true", "-0", "1.25e1", "\"a\\u00e4\\ud83d\\ude00\"", "{\"a\":[1,{\"b\":null}]}",
        " [ 1 , 2 ] ", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\"", "[ ]", "{ }",
    ])
    func readsWhatIsJSON(_ text: String) throws {
        let value = try Self.parse(text)
        #expect(try JSON(parsing: value.bytes) == value)
        #expect(try JSON(parsing: value.lines) == value)
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\":1,}", "01", "1.", "+1", "NaN", "'a'", "{\"a\":1,\"a\":2}", "\"\\ud800\"",
        "\"\\udc00\\ud800\"", "\"\\ud800\\u0041\"", "\"\\ud800\\n\"",
        "\"\u{01}\"", "[1] 2", "tru", "\"\\x\"", "\"abc", "1e999", "\"\\u00g0\"", "\"\\u12\"", "\"\\",
        "{\"\\u0061\":1,\"a\":2}", "[1 2]", "{\"a\" 1}", "{1:2}", "-", "\u{FEFF}1",
    ])
    func refusesWhatIsNone(_ text: String) throws {
        let error = try #require(throws: JSONError.self) { try Self.parse(text) }
        #expect(error.cause == .syntax)
    }

    @Test(arguments: [
        [0x22, 0xFF, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0xFF], [0x22, 0xC3, 0x22],
    ])
    func refusesWhatIsNotUTF8(_ bytes: [UInt8]) {
        #expect(throws: JSONError.self) { try JSON(parsing: bytes) }
    }

    @Test func undoesEscapes() throws {
        let text = #""x\"\\\/\b\f\n\r\t\u00e4\u20AC\ud83d\uDE00\u0000ü""#
        #expect(try Self.parse(text).string == "x\"\\/\u{8}\u{C}\n\r\t\u{E4}\u{20AC}\u{1F600}\u{0}\u{FC}")
    }

    @Test func namesAreComparedAsOctets() throws {
        let value = try Self.parse("{\"\u{E9}\":1,\"e\u{301}\":2,\"\u{212A}\":3}")
        #expect(value.members.count == 3)
        #expect(value["K"] == nil)
        #expect(value["\u{E9}"] == 1)
        // Also where names are found by hash.
        let many = (0..<20).map { "\"n\($0)\":0" }.joined(separator: ",")
        #expect(try Self.parse("{\(many),\"\u{E9}\":1,\"e\u{301}\":2}").members.count == 22)
        #expect(throws: JSONError.self) { try Self.parse("{\(many),\"n3\":1}") }
        #expect(throws: JSONError.self) { try Self.parse("{\(many),\"n19\":1}") }
    }

    @Test func keepsWholeNumbersAndEscapesControls() throws {
        #expect(try Self.parse("9007199254740993") == .integer(9_007_199_254_740_993))
        #expect(JSON.string("a\"\\\n\u{7F}").text == "\"a\\\"\\\\\\n\\u007f\"")
    }

    @Test func writesLinesForPeople() {
        let value: JSON = ["a": [1, []], "b": [:]]
        #expect(String(decoding: value.lines, as: UTF8.self) == "{\n  \"a\": [\n    1,\n    []\n  ],\n  \"b\": {}\n}\n")
    }

    @Test func aMemberIsSetReplacedAndTakenAway() {
        var value: JSON = ["a": 1]
        value["b"] = 2
        value["a"] = 3
        #expect(value == ["a": 3, "b": 2])
        value["a"] = JSON?.none
        #expect(value == ["b": 2])
        #expect(JSON.object(of: [("a", 1), ("b", 2), ("a", 3)]) == ["a": 3, "b": 2])
    }
}

@Suite struct JSONBoundsTests {
    private static func refusal(_ text: String, _ bounds: JSONBounds) -> JSONError? {
        do throws(JSONError) {
            _ = try JSON(parsing: Array(text.utf8), within: bounds)
            return nil
        } catch { return error }
    }

    @Test func levelsAreBounded() throws {
        let error = try #require(Self.refusal(String(repeating: "[", count: 100_000), .standard))
        #expect(error.cause == .bounds && error.offset < 40)
    }

    @Test func valuesAreBounded() throws {
        let bounds = JSONBounds(values: 10, memory: 1 << 20)
        #expect(Self.refusal("[0,0,0,0,0,0,0,0,0]", bounds) == nil)
        let error = try #require(Self.refusal("[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", bounds))
        #expect(error.cause == .bounds && error.offset == 19)
    }

    /// Every shape that is small as text: what the parser says it takes is more than what it holds in the end.
    @Test(arguments: [
        "0", "[]", "{}", "[0]", "{\"a\":0}", "{\"\":\"\"}", "\"0123456789abcdef\"", "[[[0]]]", "\"\\u00e4\"",
    ])
    func memoryIsBoundedBeforeItIsSpent(_ element: String) throws {
        let text = "[" + String(repeating: element + ",", count: 50_000) + "0]"
        let bounds = JSONBounds(values: .max, memory: 1 << 20)
        let error = try #require(Self.refusal(text, bounds))
        #expect(error.cause == .bounds)
        // What was read until then, as a text of its own.
        let count = error.offset / (element.utf8.count + 1)
        let whole = "[" + String(repeating: element + ",", count: max(0, count - 1)) + element + "]"
        let read = try JSON(parsing: Array(whole.utf8), within: JSONBounds(values: .max, memory: .max))
        #expect(count > 1000)
        #expect(Self.size(read) <= 1 << 20)
    }

    @Test func aLongStringCostsItsLength() {
        let text = "\"" + String(repeating: "a", count: 1 << 20) + "\""
        #expect(Self.refusal(text, JSONBounds(values: 1, memory: 1 << 20)) != nil)
        #expect(Self.refusal(text, JSONBounds(values: 1, memory: 1 << 20 + 64)) == nil)
    }

    /// Bytes that a value takes: the storage of arrays and of long texts.
    private static func size(_ value: JSON) -> Int {
        func text(_ text: String) -> Int { text.utf8.count > 15 ? text.utf8.count + 32 : 0 }
        return switch value {
        case .string(let value): text(value)
        case .array(let values):
            32 + values.capacity * MemoryLayout<JSON>.stride + values.reduce(0) { $0 + size($1) }
        case .object(let members):
            32 + members.capacity * MemoryLayout<JSON.Member>.stride
                + members.reduce(0) { $0 + size($1.value) + text($1.name) }
        default: 0
        }
    }
}

/// What the readers of these tests throw.
private struct Refused: JSONRefusal {
    let issues: [JSONIssue]

    init(_ issues: [JSONIssue]) { self.issues = issues }
}

@Suite struct ObjectReaderTests {
    private func reader(_ value: JSON) throws -> ObjectReader<Refused> { try ObjectReader(value, at: "") }

    @Test func refusesWhatNobodyTakes() throws {
        var object = try reader(["a": 1, "b/c~": 2])
        #expect(try object.integer("a", 0...9) == 1)
        let error = try #require(throws: Refused.self) { try object.finish() }
        #expect(error.issues.map(\.pointer) == ["/b~1c~0"])
        #expect(error.issues.map(\.code) == ["unknown"])
    }

    @Test(arguments: ["a\u{0D}\u{0A}b", "a\u{0}b", "a\u{2028}b", "a\u{85}b"])
    func textsHoldNoLineEnds(_ text: String) throws {
        var object = try reader(["a": .string(text)])
        #expect(throws: Refused.self) { try object.string("a") }
    }

    @Test func typesAreNotGuessed() throws {
        let value: JSON = ["text": "1", "number": 1, "truth": true, "half": .number(0.5), "list": [1], "object": [:]]
        for name in ["number", "truth", "list", "object"] {
            var object = try reader(value)
            #expect(throws: Refused.self) { try object.string(name) }
        }
        for name in ["text", "truth", "half", "list", "object"] {
            var object = try reader(value)
            #expect(throws: Refused.self) { try object.integer(name, 0...9) }
        }
        for name in ["text", "number", "list", "object"] {
            var object = try reader(value)
            #expect(throws: Refused.self) { try object.bool(name) }
        }
        for name in ["text", "number", "truth", "object"] {
            var object = try reader(value)
            #expect(throws: Refused.self) { try object.array(name) }
        }
        for name in ["text", "number", "truth", "list"] {
            var object = try reader(value)
            #expect(throws: Refused.self) { try object.object(name) }
        }
        #expect(throws: Refused.self) { try self.reader([1]) }
    }

    @Test func issuesOfListsSayWhere() throws {
        var object = try reader(["to": ["a", 1]])
        let error = try #require(throws: Refused.self) { try object.strings("to") }
        #expect(error.issues.map(\.pointer) == ["/to/1"])
    }

    @Test func aByteOrderMarkIsNamed() {
        #expect(throws: JSONError.self) { try JSON(parsing: [0xEF, 0xBB, 0xBF] + Array("{}".utf8)) }
        do throws(JSONError) {
            _ = try JSON(parsing: [0xEF, 0xBB, 0xBF] + Array("{}".utf8))
        } catch {
            #expect(error.reason.contains("byte order mark") && error.offset == 0)
        }
    }
}
