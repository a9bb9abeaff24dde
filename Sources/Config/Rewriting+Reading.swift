// Rewriting+Reading.swift — `rewrite.ini` into its tables, and tables into `rewrite.ini`.
//
// As strict as the route table: a line that is half understood would send mail in somebody else's name.

import Mail

extension Rewriting {
    /// The file's name in the configuration directory.
    package static let file = "rewrite.ini"
    private static let options = "options"
    /// The keys of `[options]`.
    static let keys = ["keep_original", "senders_in", "recipients_in"]

    /// Reads the whole file.
    ///
    /// - Throws: all errors of the file (at most 50), each with its line.
    package static func read(_ document: INIDocument) throws(ConfigErrors) -> Rewriting {
        var surroundings = Surroundings.ignored
        return try read(document, in: &surroundings)
    }

    /// Reads the whole file.
    ///
    /// - Throws: all errors of the file (at most 50), each with its line.
    static func read(_ document: INIDocument, in surroundings: inout Surroundings) throws(ConfigErrors) -> Rewriting {
        var rewriting = Rewriting()
        var report = SectionReport(document, file: file, expecting: "[senders] or [recipients]")
        for section in document.blocks where report.hasRoom {
            if section.name.isSame(octets: options) {
                guard report.isFirst(options, section.line) else { continue }
                for entry in section.entries {
                    do throws(ValueError) {
                        try rewriting.take(entry.key, entry.value)
                    } catch {
                        report.fail(entry.line, error.reason)
                    }
                }
                continue
            }
            if section.name.isSame(octets: SRS.section) {
                guard report.isFirst(SRS.section, section.line) else { continue }
                rewriting.srs = SRS.read(section, &report, in: &surroundings)
                continue
            }
            if section.name.isSame(octets: ReturnPaths.section) {
                guard report.isFirst(ReturnPaths.section, section.line) else { continue }
                rewriting.returnPaths = ReturnPaths.read(section, &report, in: &surroundings)
                continue
            }
            if let whose = Staging.whose(section.name) {
                guard report.isFirst("\(Staging.word) \(whose)", section.line) else { continue }
                if let staging = Staging.read(section, whose, &report) { rewriting.staging.append(staging) }
                continue
            }
            guard var table = table(section.name) else {
                report.fail(section.line, unknown(section.name))
                continue
            }
            guard report.isFirst(table.name, section.line) else { continue }
            for entry in section.entries where report.hasRoom {
                do throws(ValueError) {
                    try table.add(entry.key, entry.value, at: "\(file):\(entry.line)")
                } catch {
                    report.fail(entry.line, error.reason)
                }
            }
            if !table.rules.isEmpty { rewriting.tables.append(table) }
        }
        try report.finish()
        return rewriting
    }

    /// The table that a name in brackets means, empty; nil for any other name.
    package static func table(_ name: some StringProtocol) -> Table? {
        let words = name.words
        guard let first = words.first, let direction = Direction(rawValue: String(first)),
            let whose = Whose(words.dropFirst().joined(separator: " "))
        else { return nil }
        return Table(direction, whose)
    }

    private static func unknown(_ name: String) -> String {
        "[\(ValueParsing.shown(name))] is not senders, recipients, options, srs, bounces or staging; a table may be for some mail: "
            + "[senders login app], [senders client 10.0.0.0/8], [recipients listener 127.0.0.1:2525]"
    }

    private mutating func take(_ key: String, _ value: String) throws(ValueError) {
        switch key {
        case "keep_original":
            guard value.isEmpty || value.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x3A }) else {
                throw ValueError("keep_original: \"\(ValueParsing.shown(value))\" is no beginning such as X-Original-")
            }
            guard value.utf8.count <= 40 else { throw ValueError("keep_original: has more than 40 letters") }
            kept = value.isEmpty ? nil : value
        case "senders_in": parts[.senders] = try Self.parts(value, key)
        case "recipients_in": parts[.recipients] = try Self.parts(value, key)
        default:
            throw ValueError(
                "unknown key \(ValueParsing.shown(key))\(NearestName.hint(for: key, among: Self.keys))"
            )
        }
    }

    private static func parts(_ value: String, _ key: String) throws(ValueError) -> Set<Part> {
        var found: Set<Part> = []
        for word in ValueParsing.list(value) {
            guard let part = Part(rawValue: String(word)) else {
                throw ValueError("\(key): \"\(ValueParsing.shown(word))\" is neither envelope nor header")
            }
            found.insert(part)
        }
        guard !found.isEmpty else { throw ValueError("\(key): names neither envelope nor header") }
        return found
    }
}

extension Rewriting.Table {
    /// Adds a line.
    ///
    /// - Throws: what is wrong with it, as a sentence.
    package mutating func add(_ match: String, _ target: String, at origin: String) throws(ValueError) {
        let pattern = try AddressPattern(word: match)
        let replacement = try Self.replacement(target)
        let rule = Rewriting.Rule(match: pattern.word, replacement: replacement, origin: origin)
        guard patterns[pattern] == nil else { throw ValueError("\(rule.match) stands here already") }
        patterns[pattern] = rule
        rules.append(rule)
    }

    private static func replacement(_ text: String) throws(ValueError) -> AddressChange? {
        if text.isSame(octets: Rewriting.stays) { return nil }
        if let name = text.rest(behind: "@"), let domain = Domain(name) { return .domain(domain) }
        if let address = EmailAddress(text), address.isASCII { return .address(address) }
        throw ValueError(
            "\"\(ValueParsing.shown(text))\" is none of ann@example.org in ASCII, @example.org, and keep"
        )
    }
}

// MARK: - Writing

extension Rewriting {
    /// The tables that a file has, in their order; lines that are not understood are left out.
    package static func tables(in document: INIDocument) -> [Table] {
        document.blocks.compactMap { block in
            guard var table = table(block.name) else { return nil }
            for entry in block.entries { try? table.add(entry.key, entry.value, at: "\(file):\(entry.line)") }
            return table
        }
    }

    /// Writes a table, new or changed, instead of whatever its section says.
    ///
    /// - Throws: for what cannot be said in the file.
    package static func put(_ table: Table, in document: inout INIDocument) throws(ConfigError) {
        let section = document.sections.first { self.table($0)?.name == table.name } ?? table.name
        let old = document.entries.filter { $0.section.map { $0.isSame(octets: section) } ?? false }
        for entry in old where !table.rules.contains(where: { $0.match.isSame(octets: entry.key) }) {
            try document.set(entry.key, toAll: [], in: section)
        }
        for rule in table.rules { try document.set(rule.match, toAll: [rule.target], in: section) }
    }

    /// Takes a table away.
    ///
    /// - Returns: false when there is none.
    package static func remove(_ name: String, in document: inout INIDocument) -> Bool {
        guard let section = document.sections.first(where: { self.table($0)?.name == name }) else { return false }
        document.removeSection(section)
        return true
    }
}
