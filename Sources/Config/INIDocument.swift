// INIDocument.swift — an INI file that remembers every byte.
//
// `INIDocument(parsing: text).text` is `text`, whatever it holds: nothing is refused here, lines that are neither
// blank, comment, section nor `key = value` are kept and reported by ``malformedLines``. Keys and sections are
// case-sensitive, as Haraka's are. `[main]` and the lines before any section are one section.

/// A lossless INI document: sections, `key = value`, repeated keys, comments.
///
/// A comment begins with `;` or `#` at the start of a line, or with `;` after white space behind a value.
package struct INIDocument: Sendable {
    /// An active `key = value` line.
    package struct Entry: Hashable, Sendable {
        /// Counted from 1.
        package let line: Int
        /// nil for lines before any section.
        package let section: String?
        package let key: String
        /// Without surrounding white space and trailing comment.
        package let value: String
        /// What was left out around the value; nil when nobody could miss it.
        package let cut: Cut?
    }

    /// What a value could have lost that was meant to be a part of it.
    package enum Cut: Hashable, Sendable {
        /// `;` behind white space, and what follows.
        case comment
        /// White space behind it, a line end of DOS not counted.
        case blanksBehind
        /// More white space before it than the one blank that people write.
        case blanksBefore
    }

    /// A `[name]` line.
    package struct Header: Hashable, Sendable {
        /// Counted from 1.
        package let line: Int
        package let name: String
    }

    enum Kind {
        case blank, malformed
        /// With the key of a commented default such as `; disabled = true`.
        case comment(key: Range<Int>?)
        case header(name: Range<Int>)
        case entry(key: Range<Int>, value: Range<Int>)
    }

    /// A line as offsets into ``bytes``.
    struct Line {
        /// Without the line feed and a byte order mark.
        let range: Range<Int>
        /// Behind the line feed, or the end of the text.
        let end: Int
        let kind: Kind
    }

    private(set) var bytes: [UInt8]
    private(set) var lines: [Line]

    package init(parsing text: String) {
        self.init(bytes: Array(text.utf8))
    }

    private init(bytes: [UInt8]) {
        self.bytes = bytes
        self.lines = Self.split(bytes)
    }

    /// The document as it was parsed, with the edits made since.
    package var text: String { string(0..<bytes.count) }

    /// Names of the sections in order of first appearance, without the lines before any section.
    package var sections: [String] {
        var seen: Set<String> = []
        return headers.map(\.name).filter { seen.insert($0).inserted }
    }

    /// Every `[name]` line in order, also when a name comes twice.
    package var headers: [Header] {
        lines.indices.compactMap { index in
            guard case .header(let name) = lines[index].kind else { return nil }
            return Header(line: index + 1, name: string(name))
        }
    }

    /// Every active `key = value` line in order.
    package var entries: [Entry] {
        var section: String?
        return lines.indices.compactMap { index in
            switch lines[index].kind {
            case .header(let name):
                section = string(name)
                return nil
            case .entry(let key, let value):
                return Entry(
                    line: index + 1,
                    section: section,
                    key: string(key),
                    value: string(value),
                    cut: cut(lines[index], key, value)
                )
            case .blank, .comment, .malformed:
                return nil
            }
        }
    }

    private func cut(_ line: Line, _ key: Range<Int>, _ value: Range<Int>) -> Cut? {
        var behind = bytes[value.upperBound..<line.range.upperBound]
        if behind.last == UInt8(ascii: "\r") { behind.removeLast() }
        if !behind.isEmpty { return behind.contains(UInt8(ascii: ";")) ? .comment : .blanksBehind }
        let equals = bytes[key.upperBound..<value.lowerBound].firstIndex(of: UInt8(ascii: "=")) ?? key.upperBound
        return value.lowerBound - equals > 2 ? .blanksBefore : nil
    }

    /// Numbers of the lines that are nothing we know, counted from 1.
    package var malformedLines: [Int] {
        lines.indices.compactMap { index in
            guard case .malformed = lines[index].kind else { return nil }
            return index + 1
        }
    }

    /// The value of a key, or nil when no active line has it; the last one when several have.
    ///
    /// - Parameter section: nil and `main` are the same.
    package func value(_ key: String, in section: String?) -> String? { values(key, in: section).last }

    /// The values of a repeated key in the order of their lines.
    package func values(_ key: String, in section: String?) -> [String] {
        entryLines(key, in: section).compactMap { index in
            guard case .entry(_, let value) = lines[index].kind else { return nil }
            return string(value)
        }
    }

    // MARK: - Lines, for the editing extension

    /// Indices of the active lines of a key.
    func entryLines(_ key: String, in section: String?) -> [Int] {
        let wanted = Array(key.utf8)
        return lineIndices(of: section).filter { index in
            guard case .entry(let range, _) = lines[index].kind else { return false }
            return bytes[range].elementsEqual(wanted)
        }
    }

    /// The first commented default of a key.
    func commentedLine(_ key: String, in section: String?) -> Int? {
        let wanted = Array(key.utf8)
        return lineIndices(of: section).first { index in
            guard case .comment(let range?) = lines[index].kind else { return false }
            return bytes[range].elementsEqual(wanted)
        }
    }

    /// Indices of the lines that belong to a section, its headers left out.
    func lineIndices(of section: String?) -> [Int] {
        let wanted = section.map { Array($0.utf8) } ?? Self.main
        var isInside = wanted == Self.main
        var found: [Int] = []
        for index in lines.indices {
            if case .header(let name) = lines[index].kind {
                isInside = bytes[name].elementsEqual(wanted)
            } else if isInside {
                found.append(index)
            }
        }
        return found
    }

    /// Replaces bytes and reads the document anew.
    ///
    /// Edits are rare and a document is small.
    mutating func splice(_ range: Range<Int>, with replacement: [UInt8]) {
        bytes.replaceSubrange(range, with: replacement)
        lines = Self.split(bytes)
    }

    func string(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

    static let main = Array("main".utf8)

    // MARK: - Parsing

    private static func split(_ bytes: [UInt8]) -> [Line] {
        var lines: [Line] = []
        bytes.withUnsafeBufferPointer { text in
            var start = 0
            while start < text.count {
                let feed = text[start...].firstIndex(of: UInt8(ascii: "\n"))
                let stop = feed ?? text.count
                // A byte order mark is an editor's habit, not part of the first key.
                let first = start == 0 && text.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : start
                lines.append(
                    Line(range: first..<stop, end: feed.map { $0 + 1 } ?? stop, kind: kind(of: first..<stop, in: text))
                )
                start = stop + 1
            }
        }
        return lines
    }

    private static func kind(of range: Range<Int>, in text: UnsafeBufferPointer<UInt8>) -> Kind {
        let line = trimmed(range, in: text)
        guard let first = line.first else { return .blank }
        switch text[first] {
        case UInt8(ascii: ";"), UInt8(ascii: "#"):
            return .comment(key: commentedKey(line, in: text))
        case UInt8(ascii: "["):
            return header(line, in: text)
        default:
            guard let equals = line.first(where: { text[$0] == UInt8(ascii: "=") }) else { return .malformed }
            let key = trimmed(line.lowerBound..<equals, in: text)
            guard !key.isEmpty else { return .malformed }
            return .entry(key: key, value: value(in: text, (equals + 1)..<range.upperBound))
        }
    }

    /// `[name]`, brackets inside it paired (`[[192.0.2.1]]`), and nothing but a comment behind it.
    private static func header(_ line: Range<Int>, in text: UnsafeBufferPointer<UInt8>) -> Kind {
        var depth = 0
        for index in line {
            if text[index] == UInt8(ascii: "[") { depth += 1 }
            if text[index] == UInt8(ascii: "]") { depth -= 1 }
            guard depth == 0 else { continue }
            let name = trimmed((line.lowerBound + 1)..<index, in: text)
            let rest = trimmed((index + 1)..<line.upperBound, in: text)
            let isClean = rest.first.map { text[$0] == UInt8(ascii: ";") || text[$0] == UInt8(ascii: "#") } ?? true
            return isClean && !name.isEmpty ? .header(name: name) : .malformed
        }
        return .malformed
    }

    /// The key of `; key = value`; prose that happens to hold an equals sign has blanks before it and is no key.
    private static func commentedKey(_ line: Range<Int>, in text: UnsafeBufferPointer<UInt8>) -> Range<Int>? {
        var start = line.lowerBound
        while start < line.upperBound, text[start] == UInt8(ascii: ";") || text[start] == UInt8(ascii: "#") {
            start += 1
        }
        guard let equals = (start..<line.upperBound).first(where: { text[$0] == UInt8(ascii: "=") }) else { return nil }
        let key = trimmed(start..<equals, in: text)
        return key.isEmpty || key.contains(where: { isWhite(text[$0]) }) ? nil : key
    }

    /// What stands behind the equals sign, without white space around it and without a trailing comment.
    private static func value(in text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> Range<Int> {
        var stop = range.upperBound
        for index in range.dropFirst()
        where text[index] == UInt8(ascii: ";") && isWhite(text[index - 1]) {
            stop = index
            break
        }
        return trimmed(range.lowerBound..<stop, in: text)
    }

    private static func trimmed(_ range: Range<Int>, in text: UnsafeBufferPointer<UInt8>) -> Range<Int> {
        var start = range.lowerBound
        var stop = range.upperBound
        while start < stop, isWhite(text[start]) { start += 1 }
        while stop > start, isWhite(text[stop - 1]) { stop -= 1 }
        return start..<stop
    }

    private static func isWhite(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
    }
}

extension INIDocument: Hashable {
    package static func == (a: INIDocument, b: INIDocument) -> Bool { a.bytes == b.bytes }

    package func hash(into hasher: inout Hasher) { hasher.combine(bytes) }
}
