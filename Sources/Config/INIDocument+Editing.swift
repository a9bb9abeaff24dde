// INIDocument+Editing.swift — edits that touch one line and leave every other byte alone.

extension INIDocument {
    /// Gives a key its value.
    ///
    /// The active line of the key gets the new value, its spacing and trailing comment stay (the last one, when several
    /// have the key); else a line is put below the commented default; else behind the last line of the section that holds
    /// a key; else the section is appended.
    ///
    /// - Throws: ``ConfigError`` (without a file) when such a key, value or section cannot stand in an INI file, because
    ///   reading it back would give something else.
    package mutating func set(_ key: String, to value: String, in section: String?) throws(ConfigError) {
        try Self.check(key, value, section)
        if let index = entryLines(key, in: section).last {
            replaceValue(ofLine: index, with: value)
        } else if let index = commentedLine(key, in: section) {
            insert("\(key) = \(value)", below: index)
        } else if let index = placeToAppend(in: section) {
            insert("\(key) = \(value)", below: index)
        } else if section == nil || section == "main" {
            insertFirst("\(key) = \(value)")
        } else {
            append(section: section ?? "", "\(key) = \(value)")
        }
    }

    /// Adds one more line of a repeated key such as `mx`, below the last line that has it.
    ///
    /// - Throws: as ``set(_:to:in:)``.
    package mutating func add(_ key: String, _ value: String, in section: String?) throws(ConfigError) {
        try Self.check(key, value, section)
        if let index = entryLines(key, in: section).last {
            insert("\(key) = \(value)", below: index)
        } else {
            try set(key, to: value, in: section)
        }
    }

    /// Gives a repeated key exactly these values; lines whose value stays are not touched.
    ///
    /// - Throws: as ``set(_:to:in:)``; then nothing has changed.
    package mutating func set(_ key: String, toAll values: [String], in section: String?) throws(ConfigError) {
        for value in values { try Self.check(key, value, section) }
        let old = self.values(key, in: section)
        guard !old.isEmpty else {
            for value in values { try add(key, value, in: section) }
            return
        }
        let head = zip(old, values).prefix { $0 == $1 }.count
        let most = min(old.count, values.count) - head
        let tail = zip(old.reversed(), values.reversed()).prefix(most).prefix { $0 == $1 }.count
        let found = entryLines(key, in: section)
        let (gone, new) = (found[head..<(old.count - tail)], values[head..<(values.count - tail)])
        // From the bottom up, so that the numbers of the lines above hold.
        let (shared, extra) = (min(gone.count, new.count), new.dropFirst(min(gone.count, new.count)))
        for line in gone.dropFirst(shared).reversed() {
            splice(lines[line].range.lowerBound..<lines[line].end, with: [])
        }
        if !extra.isEmpty {
            let above = head + shared > 0 ? found[head + shared - 1] : nil
            for value in extra.reversed() {
                if let above {
                    insert("\(key) = \(value)", below: above)
                } else if let first = found.first {
                    insert("\(key) = \(value)", below: first - 1)
                }
            }
        }
        for (line, value) in zip(gone, new).reversed() { replaceValue(ofLine: line, with: value) }
    }

    /// Takes the active lines of a key away; a commented default stays.
    package mutating func remove(_ key: String, in section: String?) {
        while let index = entryLines(key, in: section).last {
            splice(lines[index].range.lowerBound..<lines[index].end, with: [])
        }
    }

    /// Takes a section away: its headers and the lines below them.
    ///
    /// A comment that stands right above the next header belongs to that one and stays.
    package mutating func removeSection(_ section: String) {
        let wanted = Array(section.utf8)
        var index = lines.count
        var next = lines.count
        while index > 0 {
            index -= 1
            guard case .header(let name) = lines[index].kind else { continue }
            if bytes[name].elementsEqual(wanted) {
                var stop = next
                while next < lines.count, stop > index + 1, case .comment = lines[stop - 1].kind { stop -= 1 }
                splice(lines[index].range.lowerBound..<lines[stop - 1].end, with: [])
                // The lines above kept their numbers, and what follows the gap begins here now.
            }
            next = index
        }
    }

    private mutating func replaceValue(ofLine index: Int, with value: String) {
        guard case .entry(_, let old) = lines[index].kind else { return }
        if let last = old.last {
            splice(old.lowerBound..<(last + 1), with: Array(value.utf8))
        } else {
            // Right behind the equals sign, so that a comment keeps the white space that makes it one.
            let equals = bytes[..<old.lowerBound].lastIndex(of: UInt8(ascii: "=")) ?? old.lowerBound
            splice((equals + 1)..<(equals + 1), with: Array(" \(value)".utf8))
        }
    }

    /// The last line of a section that holds a key, commented or not, or its header; nil when it has neither.
    private func placeToAppend(in section: String?) -> Int? {
        let inside = lineIndices(of: section)
        let active = inside.last { index in
            guard case .entry = lines[index].kind else { return false }
            return true
        }
        if let active { return active }
        let wanted = section.map { Array($0.utf8) } ?? Self.main
        let header = lines.indices.last { index in
            guard case .header(let name) = lines[index].kind else { return false }
            return bytes[name].elementsEqual(wanted)
        }
        return header
    }

    private mutating func insert(_ text: String, below index: Int) {
        let line = lines[index]
        let hasFeed = line.end > line.range.upperBound
        // The last line may lack its end; then the one above shows the style.
        let model = hasFeed ? line : index > 0 ? lines[index - 1] : nil
        let isDOS = model?.range.last.map { bytes[$0] == UInt8(ascii: "\r") } ?? false
        let endsInReturn = line.range.last.map { bytes[$0] == UInt8(ascii: "\r") } ?? false
        let feed = isDOS && (hasFeed || !endsInReturn) ? "\r\n" : "\n"
        splice(line.end..<line.end, with: Array((hasFeed ? text + feed : feed + text).utf8))
    }

    /// Puts a line above the first header: below the comment that opens the file, or at the very top.
    private mutating func insertFirst(_ text: String) {
        var last: Int?
        for index in lines.indices {
            guard case .comment = lines[index].kind else { break }
            last = index
        }
        if let last {
            insert(text, below: last)
        } else {
            // Behind a byte order mark, if there is one.
            let start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
            splice(start..<start, with: Array((text + "\n").utf8))
        }
    }

    private mutating func append(section: String, _ text: String) {
        let hasFeed = lines.last.map { $0.end > $0.range.upperBound } ?? true
        let gap = bytes.isEmpty ? "" : hasFeed ? "\n" : "\n\n"
        splice(bytes.count..<bytes.count, with: Array("\(gap)[\(section)]\n\(text)\n".utf8))
    }

    /// Whether a value reads back as it was written: no white space at its edge, no line end, no ` ;`.
    package static func canHold(_ value: String) -> Bool {
        do throws(ConfigError) {
            try check("key", value, nil)
            return true
        } catch { return false }
    }

    /// Refuses what would not read back as it was written.
    private static func check(_ key: String, _ value: String, _ section: String?) throws(ConfigError) {
        let header = section.map { "[\($0)]\n" } ?? ""
        let trial = INIDocument(parsing: "\(header)\(key) = \(value)\n")
        let lineCount = section == nil ? 1 : 2
        // Compared as bytes: two strings may be equal to Swift and different on disk.
        guard trial.lines.count == lineCount, let entry = trial.entries.first, trial.entries.count == 1,
            entry.key.utf8.elementsEqual(key.utf8), entry.value.utf8.elementsEqual(value.utf8),
            (entry.section ?? "").utf8.elementsEqual((section ?? "").utf8)
        else {
            throw ConfigError(
                file: "",
                reason:
                    "cannot be written: a key, value or section with white space or brackets at its edge, a line end or ` ;` in it"
            )
        }
    }
}
