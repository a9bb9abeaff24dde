// INIDocument+Blocks.swift — a document section by section, and what is wrong with a file of sections.

extension INIDocument {
    /// One `[name]` line and the entries below it.
    struct Block {
        let name: String
        /// Of the `[name]` line, counted from 1.
        let line: Int
        let entries: ArraySlice<Entry>
    }

    /// The entries above the first section.
    var preamble: ArraySlice<Entry> {
        let first = headers.first?.line ?? .max
        return entries.prefix { $0.line < first }
    }

    /// The sections in order, also when a name comes twice.
    var blocks: [Block] {
        let (headers, entries) = (headers, entries)
        var next = entries.startIndex
        var blocks: [Block] = []
        blocks.reserveCapacity(headers.count)
        for (index, header) in headers.enumerated() {
            let end = index + 1 < headers.count ? headers[index + 1].line : .max
            while next < entries.endIndex, entries[next].line < header.line { next += 1 }
            let start = next
            while next < entries.endIndex, entries[next].line < end { next += 1 }
            blocks.append(Block(name: header.name, line: header.line, entries: entries[start..<next]))
        }
        return blocks
    }
}

/// Gathers what is wrong with a file whose sections all mean something, and whose every word must be understood.
struct SectionReport {
    private static let most = 50

    private let file: String
    private var errors: [ConfigError]
    private var lines: [String: Int] = [:]

    /// - Parameter expecting: what must stand before any entry, in words.
    init(_ document: INIDocument, file: String, expecting: String) {
        self.file = file
        errors = document.malformedErrors(in: file)
        for entry in document.preamble.prefix(Self.most) {
            fail(entry.line, "\(ValueParsing.shown(entry.key)) stands before any \(expecting)")
        }
    }

    var count: Int { errors.count }

    /// False when so much is wrong that nobody would read more of it.
    var hasRoom: Bool { errors.count < Self.most }

    mutating func fail(_ line: Int, _ reason: String) {
        errors.append(ConfigError(file: file, line: line, reason: reason))
    }

    /// Whether no section of that name came before; says so when one did.
    mutating func isFirst(_ match: String, _ line: Int) -> Bool {
        guard let first = lines.updateValue(line, forKey: match) else { return true }
        fail(line, "[\(match)] began in line \(first) already")
        return false
    }

    /// - Throws: everything that is wrong, in the order of lines.
    func finish() throws(ConfigErrors) {
        guard errors.isEmpty else { throw ConfigErrors(errors.sorted { ($0.line ?? 0) < ($1.line ?? 0) }) }
    }
}
