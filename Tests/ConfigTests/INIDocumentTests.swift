// INIDocumentTests.swift — every byte is kept, and an edit touches one line.

import TestSupport
import Testing

@testable import Config

@Suite struct INIDocumentTests {
    private let sample = """
        ; first words
        disabled = false   ; as it was
          concurrency_max=5
        ; always_split = false

        [example.com]
        mx = a.example
        mx = b.example:26 bind=192.0.2.1
        # gone = 1

        [*] ; the rest
        mx=c.example

        """

    @Test func readsValuesSectionsAndComments() {
        let document = INIDocument(parsing: sample)
        #expect(document.value("disabled", in: nil) == "false")
        #expect(document.value("disabled", in: "main") == "false")
        #expect(document.value("concurrency_max", in: nil) == "5")
        #expect(document.value("always_split", in: nil) == nil)
        #expect(document.sections == ["example.com", "*"])
        #expect(document.values("mx", in: "example.com") == ["a.example", "b.example:26 bind=192.0.2.1"])
        #expect(document.values("mx", in: "*") == ["c.example"])
        #expect(document.entries.map(\.line) == [2, 3, 7, 8, 12])
        #expect(document.malformedLines == [])
    }

    @Test(arguments: [
        ("k = a;b", "a;b"), ("k = a ;b", "a"), ("k = a\t; b", "a"), ("k =;b", ";b"), ("k = ;b", ""),
        ("k = a # b", "a # b"),
        ("k=a=b", "a=b"), ("k =", ""), ("\u{FEFF}k = v", "v"), ("k = v\r", "v"), ("  k   =   v w  ", "v w"),
    ])
    func findsTheValue(line: String, value: String) {
        #expect(INIDocument(parsing: line + "\n").value("k", in: nil) == value)
    }

    @Test func readsBracketsInsideSectionNames() {
        let document = INIDocument(parsing: "[[192.0.2.1]]\nmx = a\n[ b ] # c\n[x] y\n[]\n[z\n= v\nword\n")
        #expect(document.sections == ["[192.0.2.1]", "b"])
        #expect(document.malformedLines == [4, 5, 6, 7, 8])
    }

    @Test func mainSectionIsTheLinesBeforeAnySection() {
        let document = INIDocument(parsing: "a = 1\n[x]\na = 2\n[main]\nb = 3\n")
        #expect(document.value("a", in: nil) == "1")
        #expect(document.value("b", in: nil) == "3")
        #expect(document.values("a", in: "x") == ["2"])
    }

    // MARK: - Properties

    /// Texts made of what is dangerous: signs of the grammar, odd line ends, bytes outside ASCII; every other one among
    /// lines as people write them.
    private static func text(_ generator: inout SeededRandom) -> String {
        let pieces = [
            "\n", "\n", "\n", "\r\n", "\r", " ", "\t", ";", "#", "[", "]", "=", "key", "mx", "a", "main", "\u{FEFF}",
            "é",
            "e\u{301}", "\0", "; key = 1", "key = 2 ; x", "[a]", "[main]", "日本",
        ]
        let lines = [
            "; what follows is ours\n", "\n", "[a]\n", "[*.example.com] ; all of it\n", "key = 1\n",
            "  key=2   ; why\n",
            "mx = mx1.example.net:2525 bind=192.0.2.1 priority=10\n", "mx=b.example\r\n", "# mx = c.example\n",
            "auth_pass = @file:secrets/x;y\n", "[sender <>]\n", ";new = 3\n", "listen = 127.0.0.1:25, [::1]:25\n",
        ]
        let isOrderly = Bool.random(using: &generator)
        return (0..<Int.random(in: 0...40, using: &generator)).map { _ in
            let choice = isOrderly && Int.random(in: 0..<20, using: &generator) > 0 ? lines : pieces
            return choice.randomElement(using: &generator) ?? ""
        }
        .joined()
    }

    @Test func tenThousandFilesPrintAsTheyWere() {
        var generator = SeededRandom(seed: 1)
        let wrong = (0..<10_000).filter { _ in
            let text = Self.text(&generator)
            return Array(INIDocument(parsing: text).text.utf8) != Array(text.utf8)
        }
        #expect(wrong == [])
    }

    @Test func anEditOfTenThousandFilesIsOneHunk() throws {
        var generator = SeededRandom(seed: 2)
        for _ in 0..<10_000 {
            let text = Self.text(&generator)
            var document = INIDocument(parsing: text)
            let key = ["key", "mx", "new"].randomElement(using: &generator) ?? "key"
            let section = [nil, "a", "main", "b"].randomElement(using: &generator) ?? nil
            let value = ["", "1", "x y", "a;b", "é"].randomElement(using: &generator) ?? ""
            let before = text.utf8.split(separator: 10, omittingEmptySubsequences: false).map { Array($0) }
            let others = document.entries.filter { !($0.key == key && Self.same($0.section, section)) }
            let hadSection = section.map { $0 == "main" || document.sections.contains($0) } ?? true
            try document.set(key, to: value, in: section)
            let after = document.text.utf8.split(separator: 10, omittingEmptySubsequences: false).map { Array($0) }
            #expect(document.value(key, in: section) == value, "\(text.debugDescription) \(key) \(section ?? "-")")
            let left = document.entries.filter { !($0.key == key && Self.same($0.section, section)) }
            #expect(left.map(\.value) == others.map(\.value), "\(text.debugDescription) \(key) \(section ?? "-")")
            if hadSection {
                #expect(Self.isOneLineEdit(before, after), "\(text.debugDescription) \(key) \(section ?? "-")")
            } else {
                #expect(document.text.utf8.starts(with: text.utf8))
            }
        }
    }

    @Test func removeTakesTheLinesOfTheKeyAway() {
        var generator = SeededRandom(seed: 3)
        for _ in 0..<3000 {
            // A mark in the middle would become one at the start.
            let text = Self.text(&generator).replacing("\u{FEFF}", with: "")
            var document = INIDocument(parsing: text)
            let others = document.entries.filter { $0.key != "key" || !Self.same($0.section, nil) }
            document.remove("key", in: nil)
            #expect(document.value("key", in: nil) == nil, "\(text.debugDescription)")
            #expect(document.entries.map(\.value) == others.map(\.value), "\(text.debugDescription)")
        }
    }

    private static func same(_ a: String?, _ b: String?) -> Bool { (a ?? "main") == (b ?? "main") }

    /// Equal but for one line that is changed or added.
    ///
    /// A byte order mark belongs to no line, and the last line may get the line end it lacked.
    private static func isOneLineEdit(_ before: [[UInt8]], _ after: [[UInt8]]) -> Bool {
        let before = withoutMark(before).map { $0.last == 13 ? Array($0.dropLast()) : $0 }
        let after = withoutMark(after).map { $0.last == 13 ? Array($0.dropLast()) : $0 }
        let head = zip(before, after).prefix { $0 == $1 }.count
        let tail = zip(before.reversed(), after.reversed()).prefix { $0 == $1 }.count
        switch after.count - before.count {
        case 0: return head + tail >= before.count - 1
        case 1: return head + tail >= before.count || before == [[]]
        default: return false
        }
    }

    private static func withoutMark(_ lines: [[UInt8]]) -> [[UInt8]] {
        guard let first = lines.first, first.starts(with: [0xEF, 0xBB, 0xBF]) else { return lines }
        return [Array(first.dropFirst(3))] + lines.dropFirst()
    }

    // MARK: - The four rules

    @Test func setKeepsSpacingAndTrailingComment() throws {
        var document = INIDocument(parsing: sample)
        try document.set("disabled", to: "true", in: nil)
        #expect(document.text == sample.replacing("disabled = false ", with: "disabled = true "))
        try document.set("disabled", to: "false", in: nil)
        #expect(document.text == sample)
    }

    @Test func setPutsALineBelowTheCommentedDefault() throws {
        var document = INIDocument(parsing: sample)
        try document.set("always_split", to: "true", in: nil)
        #expect(document.text == sample.replacing("split = false\n", with: "split = false\nalways_split = true\n"))
    }

    @Test func setAppendsToTheSection() throws {
        var document = INIDocument(parsing: sample)
        try document.set("bind", to: "192.0.2.7", in: "example.com")
        #expect(document.text == sample.replacing("bind=192.0.2.1\n", with: "bind=192.0.2.1\nbind = 192.0.2.7\n"))
    }

    @Test func setAppendsTheSection() throws {
        var document = INIDocument(parsing: sample)
        try document.set("mx", to: "d.example", in: "example.net")
        #expect(document.text == sample + "\n[example.net]\nmx = d.example\n")
    }

    @Test func keepsDOSLineEnds() throws {
        var document = INIDocument(parsing: "a = 1\r\n")
        try document.set("b", to: "2", in: nil)
        try document.set("a", to: "3", in: nil)
        #expect(document.text == "a = 3\r\nb = 2\r\n")
    }

    @Test func addsAndRemovesRepeatedKeys() throws {
        var document = INIDocument(parsing: sample)
        try document.add("mx", "z.example", in: "example.com")
        #expect(document.values("mx", in: "example.com") == ["a.example", "b.example:26 bind=192.0.2.1", "z.example"])
        document.remove("mx", in: "example.com")
        #expect(document.values("mx", in: "example.com") == [])
        #expect(document.values("mx", in: "*") == ["c.example"])
    }

    @Test func removesASectionAndLeavesTheNextOnesComment() {
        var document = INIDocument(parsing: "a = 1\n[x]\nb = 2\n\n; about y\n[y]\nc = 3\n[x]\nd = 4\n")
        document.removeSection("x")
        #expect(document.text == "a = 1\n; about y\n[y]\nc = 3\n")
    }

    @Test(arguments: ["a\nb", "a ; b", " a", "a ", "a\r", "\ta"])
    func refusesValuesThatWouldReadBackDifferently(value: String) {
        var document = INIDocument(parsing: "k = 1\n")
        #expect(throws: ConfigError.self) { try document.set("k", to: value, in: nil) }
        #expect(document.text == "k = 1\n")
    }

    @Test(arguments: ["", "a=b", "[k", ";k", "#k", "k\n"])
    func refusesKeysThatAreNone(key: String) {
        var document = INIDocument(parsing: "")
        #expect(throws: ConfigError.self) { try document.set(key, to: "1", in: nil) }
    }
}
